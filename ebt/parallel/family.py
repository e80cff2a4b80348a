"""The energy of a whole answer as a family of arms. No torch here."""

from typing import TYPE_CHECKING

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task
from ebt.parallel import cost
from ebt.parallel.config import ParallelArm

if TYPE_CHECKING:
    from ebt.parallel.module import ParallelModule


def build(cell: Cell, task: Task) -> "ParallelModule":
    """The module of a cell."""
    from ebt.parallel.module import ParallelModule

    return ParallelModule(cell, task)


PARALLEL = Family(
    config=ParallelArm,
    build=build,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.minimum_flops,
    thinks=True,
)
