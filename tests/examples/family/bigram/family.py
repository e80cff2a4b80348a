"""The refined bigram model as a family of arms. No torch here."""

from typing import TYPE_CHECKING

from controls.bigram import cost
from controls.bigram.config import BigramArm

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task

if TYPE_CHECKING:
    from controls.bigram.module import BigramModule


def build(cell: Cell, task: Task) -> "BigramModule":
    """The module of a cell."""
    from controls.bigram.module import BigramModule

    return BigramModule(cell, task)


BIGRAM = Family(
    config=BigramArm,
    build=build,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.step_flops,
    thinks=True,
)
