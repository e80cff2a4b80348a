"""Cells as a plan holds them, without a plan."""

from typing import Any

from arena.config import Cell
from compare.plan.planned import Planned, identities


def identity(cell: Cell, data: dict[str, Any]) -> str:
    """The name of a single cell."""
    return identities(cell, data, [cell.seed])[0]


def alone(cell: Cell, study: str = "s") -> Planned:
    """A cell that needs no data file and whose parameters nobody asks for."""
    return Planned(
        identity=identity(cell, {}),
        study=study,
        cell=cell,
        data={},
        parameters=0,
        non_embedding=0,
        flops=cell.budget.flops,
    )
