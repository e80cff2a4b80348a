"""How long cells take: FLOPs per second of one worker, seen in a store or assumed."""

from collections import Counter
from collections.abc import Iterable

from compare.store.record import Glance

ASSUMED_RATE = 2e10
"""FLOPs per second and worker assumed before the store holds a record; small cells on one CPU core."""
ASSUMED_OVERHEAD = 2.0
"""Seconds a cell spends outside counted work, likewise."""


def rates(ended: Iterable[Glance]) -> dict[str, float]:
    """FLOPs per second of one worker, by arm, over the cells that are done."""
    flops: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for cell in ended:
        if cell.status == "done":
            flops[cell.arm] += cell.flops  # pyright: ignore[reportArgumentType]
            seconds[cell.arm] += cell.seconds.get("total", 0.0)  # pyright: ignore[reportArgumentType]
    return {arm: flops[arm] / seconds[arm] for arm in flops if seconds[arm] > 0}


def expected_seconds(arm: str, flops: float, rates: dict[str, float]) -> float:
    """Wall time of a cell on one worker, by the rate of its arm."""
    return ASSUMED_OVERHEAD + flops / rates.get(arm, ASSUMED_RATE)
