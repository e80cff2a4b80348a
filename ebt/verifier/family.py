"""The residual energy over whole answers as a family of arms. No torch here."""

from typing import TYPE_CHECKING

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task
from ebt.verifier import cost
from ebt.verifier.config import VerifierArm

if TYPE_CHECKING:
    from ebt.verifier.module import VerifierModule


def build(cell: Cell, task: Task) -> "VerifierModule":
    """The module of a cell."""
    from ebt.verifier.module import VerifierModule

    return VerifierModule(cell, task)


VERIFIER = Family(
    config=VerifierArm,
    build=build,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.minimum_flops,
    staged=True,
)
