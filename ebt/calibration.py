"""Calibration: the step size at which the first update has a root mean square of arm.alpha_target.

The gradient's scale follows from the vocabulary, the width and the initialisation. Measuring it on one small
batch spares a user from tuning alpha for every combination of them (docs/step-size.md).

Shapes as in ebt.energy.
"""

import torch
from torch import Tensor

from arena.config import Cell
from arena.data import Batch, collate
from arena.tasks.base import Task
from ebt.cost import calibration_problems
from ebt.energy import Context, EnergyModel
from ebt.think import descend


def calibration_batch(cell: Cell, task: Task) -> Batch:
    """The first training problems."""
    problems = [task.problem("train", cell.seed, i) for i in range(calibration_problems(cell))]
    return collate(problems, task.pad)


@torch.no_grad()
def gradient_scale(
    model: EnergyModel,
    y_BMV: Tensor,
    context: Context,
    supervised_BM: Tensor,
    parametrisation: str,
    generator: torch.Generator,
) -> Tensor:
    """Root mean square, over supervised positions and the vocabulary, of the first step's gradient.

    A head that starts at zero (adaln_zero) has no gradient; it is measured at the scale of any other head.

    Args:
        generator: of the weights that stand in for a head of zeros.
    """
    weight = model.head.weight
    kept = weight.detach().clone()
    if not weight.any():
        weight.normal_(std=weight.shape[1] ** -0.5, generator=generator)
    one = torch.ones((), device=y_BMV.device)
    _, _, gradient_BMV = descend(model, y_BMV, context, 0, one, parametrisation)
    weight.copy_(kept)
    return gradient_BMV[supervised_BM].square().mean().sqrt()
