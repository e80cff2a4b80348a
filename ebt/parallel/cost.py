"""What an arm that refines whole answers costs, before anything is trained. No torch here."""

from arena import flops
from arena.config import Cell, Size, require
from arena.shape import fixed_shape
from arena.tasks.base import Task
from ebt import cost
from ebt.config import EBTArm


def minimum_flops(cell: Cell, task: Task) -> float:
    """One training step, and the calibration before it.

    Raises:
        ConfigError: the task's lengths vary, or the cells of an answer are to descend in parts.
    """
    require(
        cell.trainer.at_once is None,
        f"trainer.at_once={cell.trainer.at_once} with arm={cell.arm.name}: the cells of an answer descend "
        "together; set trainer.at_once=null",
    )
    least = step_flops(cell, task)
    if cell.arm.alpha is not None:
        return least
    return least + calibration(cell.arm, cell.size, task, cost.calibration_problems(cell))


def calibration(arm: EBTArm, size: Size, task: Task, problems: int) -> float:
    """Measuring the gradient once."""
    assert task.fixed is not None
    prompt, answer = task.fixed
    return flops.parallel_think(
        size,
        task.vocabulary,
        problems=problems,
        prompt=prompt,
        answer=answer,
        gradients=1,
        forwards=0,
        start=arm.start == "head",
    )


def step_flops(cell: Cell, task: Task) -> float:
    """One training step with the most steps of descent that it may draw."""
    fixed_shape(cell, task)
    return train(cell.arm, cell.size, task, problems=cell.task.batch, steps=cell.arm.full_steps)


def train(arm: EBTArm, size: Size, task: Task, *, problems: int, steps: int) -> float:
    """One training step with `steps` steps of descent."""
    assert task.fixed is not None
    prompt, answer = task.fixed
    return flops.parallel_train(
        size,
        task.vocabulary,
        problems=problems,
        prompt=prompt,
        answer=answer,
        steps=steps,
        graph=arm.graph,
        contrast=arm.contrastive > 0,
        start=arm.start == "head",
    )


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all and without the vocabulary maps: those of the family ebt, and one embedding per place
    of the answer."""
    total, inner = cost.parameters(cell, task)
    places = fixed_shape(cell, task)[1] * cell.size.width
    return total + places, inner + places
