"""What the refined bigram model costs, before anything is trained. No torch here."""

from arena import flops
from arena.config import Cell, Size
from arena.shape import Shape, supervised_step
from arena.tasks.base import Task


def shape(size: Size, vocabulary: int, steps: int) -> Shape:
    """A guess costs its steps and the logits; a token that no guess follows costs nothing."""
    return Shape(
        token=0.0,
        pair=0.0,
        prediction=steps * flops.linear(1, size.width, size.width) + flops.linear(1, size.width, vocabulary),
        parameters=size.width**2 + 2 * vocabulary * size.width,
        non_embedding=size.width**2,
    )


def step_flops(cell: Cell, task: Task) -> float:
    """One step on next tokens at the longest prompt and completion."""
    return supervised_step(shape(cell.size, task.vocabulary, cell.arm.steps), task, cell.task.batch)


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all, and without the maps between vocabulary and width."""
    counted = shape(cell.size, task.vocabulary, cell.arm.steps)
    return counted.parameters, counted.non_embedding
