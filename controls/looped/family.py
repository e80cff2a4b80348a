"""The looped transformer as a family of arms. No torch here."""

from typing import TYPE_CHECKING

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task
from controls.looped import cost
from controls.looped.config import LoopedArm

if TYPE_CHECKING:
    from controls.looped.module import LoopedModule


def build(cell: Cell, task: Task) -> "LoopedModule":
    """The module of a cell."""
    from controls.looped.module import LoopedModule

    return LoopedModule(cell, task)


LOOPED = Family(
    config=LoopedArm,
    build=build,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.step_flops,
    thinks=True,
)
