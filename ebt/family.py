"""The autoregressive energy-based transformer as a family of arms. No torch here."""

from typing import TYPE_CHECKING

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task
from ebt import cost
from ebt.config import EBTArm

if TYPE_CHECKING:
    from ebt.module import EBTModule


def build(cell: Cell, task: Task) -> "EBTModule":
    """The module of a cell."""
    from ebt.module import EBTModule

    return EBTModule(cell, task)


EBT = Family(
    config=EBTArm,
    build=build,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.minimum_flops,
    thinks=True,
)
