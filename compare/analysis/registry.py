"""The analyses: one name per folder of compare/analysis, in the order of the report's sections.

A folder holds `quantities.py`, which is light (`QUANTITIES`, what a contrast may name), and `analysis.py`,
whose `ANALYSIS` measures, compares, explores and writes its section (compare/analysis/base.py). This list is
the only one: nothing else names an analysis.
"""

from functools import cache
from importlib import import_module

from compare.analysis.quantity import Quantity

NAMES = (
    "ceiling",
    "tokens",
    "shift",
    "thinking",
    "energy",
    "scaling",
)


def _of(name: str) -> dict[str, Quantity]:
    return import_module(f"compare.analysis.{name}.quantities").QUANTITIES


@cache
def quantities() -> dict[str, Quantity]:
    """Every quantity by name. Imports nothing heavy.

    Raises:
        ValueError: two analyses have a quantity of one name.
    """
    table: dict[str, Quantity] = {}
    for name in NAMES:
        if twice := table.keys() & _of(name).keys():
            raise ValueError(f"analysis {name}: quantity {next(iter(twice))} stands twice")
        table |= _of(name)
    return table


@cache
def owner(quantity: str) -> str:
    """The name of the analysis that measures a quantity."""
    return next(name for name in NAMES if quantity in _of(name))
