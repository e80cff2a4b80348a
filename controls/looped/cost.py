"""What the looped transformer costs, before anything is trained. No torch here."""

from dataclasses import replace

from arena.config import Cell
from arena.shape import Shape, arena_shape, supervised_step
from arena.tasks.base import Task
from controls.looped.config import LoopedArm


def looped_shape(once: Shape, loops: int) -> Shape:
    """Cost of `loops` passes over the blocks, and logits once; parameters are counted once."""
    return replace(once, token=loops * once.token, pair=loops * once.pair)


def step_flops(cell: Cell, task: Task) -> float:
    """The dearest step: most loops, at the longest prompt and completion."""
    arm = cell.arm
    assert isinstance(arm, LoopedArm)
    shape = looped_shape(arena_shape(cell.size, task.vocabulary), arm.most)
    return supervised_step(shape, task, cell.task.batch)


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all, and without vocabulary maps: the plain transformer's."""
    shape = arena_shape(cell.size, task.vocabulary)
    return shape.parameters, shape.non_embedding
