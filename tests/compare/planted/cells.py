"""Cells as a plan holds them, without a plan."""

from arena.config import Cell
from compare.plan.planned import Planned, identity


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
