"""The masked-diffusion transformer as a family of arms. No torch here."""

from typing import TYPE_CHECKING

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task
from controls.diffusion import cost
from controls.diffusion.config import DiffusionArm

if TYPE_CHECKING:
    from controls.diffusion.module import DiffusionModule


def build(cell: Cell, task: Task) -> "DiffusionModule":
    """The module of a cell."""
    from controls.diffusion.module import DiffusionModule

    return DiffusionModule(cell, task)


DIFFUSION = Family(
    config=DiffusionArm,
    build=build,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.step_flops,
    thinks=True,
)
