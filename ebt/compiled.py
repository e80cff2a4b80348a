"""One step of descent as one compiled function.

torch.compile cannot differentiate its own backward pass, and that is what the parameters' gradient of a
step asks for where autograd.grad(create_graph=True) made the step. With torch.func.grad the inner
gradient is part of the function that is compiled, which is then differentiated once, as any other.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from ebt.energy import Context, EnergyModel
from ebt.think import clamped


def descend(
    model: EnergyModel,
    y_BMV: Tensor,
    context: Context,
    step: int,
    alpha: Tensor,
    parametrisation: str,
    *,
    graph: str = "step",
    max_update: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What ebt.think.descend gives for graph=step and graph=all, in a form that can be compiled."""
    y = y_BMV if graph == "all" else y_BMV.detach()
    point = y if parametrisation == "logits" else y.softmax(-1)

    def total(point: Tensor) -> tuple[Tensor, Tensor]:
        energy = model(point.softmax(-1) if parametrisation == "logits" else point, context, step)
        return energy.sum(), energy

    gradient, energy = torch.func.grad(total, has_aux=True)(point)
    gradient = clamped(gradient, alpha, max_update)
    return (y if parametrisation == "mirror" else point) - alpha * gradient, energy, gradient


@functools.cache
def compiled(backend: str = "inductor") -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """The compiled `descend`, once per step of thinking; inductor needs a C++ compiler on the CPU."""
    return torch.compile(descend, backend=backend, fullgraph=True)
