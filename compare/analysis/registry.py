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


@cache
def quantities() -> dict[str, Quantity]:
    """Every quantity by name. Imports nothing heavy.

    Raises:
        ValueError: two analyses have a quantity of one name.
    """
    table: dict[str, Quantity] = {}
    for name in NAMES:
        own = import_module(f"compare.analysis.{name}.quantities").QUANTITIES
        if table.keys() & own.keys():
            raise ValueError(
                f"analysis {name}: quantity {next(iter(table.keys() & own.keys()))} stands twice"
            )
        table |= own
    return table


@cache
def owner(quantity: str) -> str:
    """The name of the analysis that measures a quantity."""
    modules = {name: import_module(f"compare.analysis.{name}.quantities") for name in NAMES}
    return next(name for name, module in modules.items() if quantity in module.QUANTITIES)
