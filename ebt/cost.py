"""What an energy-based arm costs, before anything is trained. No torch here."""

from arena import flops
from arena.config import Cell
from arena.tasks.base import Task
from ebt.config import EBTArm


def minimum_flops(cell: Cell, task: Task) -> float:
    """One training step at the longest prompt and completion, and the calibration before it."""
    assert isinstance(cell.arm, EBTArm)
    prompt, completion = task.longest()
    observed = prompt + completion - 1
    total = 0.0
    if cell.arm.alpha is None:
        batch = min(CALIBRATION_PROBLEMS, cell.task.batch)
        total += flops.ebt_think(cell.size, task.vocabulary, steps=1, **_shape(batch, observed, completion))
    batch = cell.task.batch
    return total + flops.ebt_train(
        cell.size, task.vocabulary, steps=cell.arm.steps, **_shape(batch, observed, completion)
    )


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all and without the vocabulary maps."""
    assert isinstance(cell.arm, EBTArm)
    own = cell.size.width * (1 + (cell.arm.steps if cell.arm.step_embedding else 0)) + 1
    inner = flops.backbone_parameters(cell.size) + own
    return inner + 2 * task.vocabulary * cell.size.width, inner


def _shape(batch: int, observed: int, predicted: int) -> dict[str, float]:
    return {
        "tokens": batch * observed,
        "context_pairs": batch * observed**2,
        "candidates": batch * predicted,
        "pairs": batch * predicted * observed,
    }


CALIBRATION_PROBLEMS = 16
"""Problems on which the step size is calibrated."""
