"""No contrast names it: whether low energy means right is only ever explored."""

from compare.analysis.quantity import Quantity

QUANTITIES: dict[str, Quantity] = {}
