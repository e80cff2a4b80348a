"""Trials of a search: which settings an experiment tries for an arm.

Trial 1 is the arm as it stands in conf/arm, so that a search cannot choose worse than that on what it
chooses by. The others are a Latin hypercube (McKay, Beckman and Conover 1979) in the logarithms of the
declared ranges: each range is cut into as many equal strata as there are drawn trials, and each is met once.
A key's strata depend on the seed and the key alone: every arm that searches it tries the same values.
"""

import dataclasses
import math
import zlib
from typing import Any

from arena.config import Cell, ConfigError
from compare.plan.config import Search

EVERY = "all"
"""Ranges of every arm."""


def trials(cell: Cell, search: Search) -> list[dict[str, float]]:
    """Settings of each trial of the cell's arm, the first empty: what stands in the files.

    Raises:
        ConfigError: a range or its key is of no use.
    """
    if search.trials < 2:
        raise ConfigError(f"experiment.search.trials={search.trials}: at least 2, the first is what there is")
    ranges = ranges_of(cell, search)
    if not ranges:
        raise ConfigError(
            f"experiment.search.ranges: none for arm {cell.arm.name}; give one under {EVERY}, "
            f"{cell.arm.kind} or {cell.arm.name}, such as size.lr: [1e-3, 1e-2]"
        )
    columns = {key: _column(key, bounds, search) for key, bounds in ranges.items()}
    return [{}, *({key: column[i] for key, column in columns.items()} for i in range(search.trials - 1))]


def ranges_of(cell: Cell, search: Search) -> dict[str, list[float]]:
    """Key -> [low, high] of the cell's arm: those of every arm, of its family and its own, the last wins."""
    ranges: dict[str, list[float]] = {}
    for group in (EVERY, cell.arm.kind, cell.arm.name):
        ranges |= search.ranges.get(group, {})
    for key, bounds in ranges.items():
        check_key(cell, key)
        if not (len(bounds) == 2 and 0 < bounds[0] < bounds[1] < math.inf):
            raise ConfigError(
                f"experiment.search.ranges: {key}: {bounds}: need [low, high] with 0 < low < high, "
                "trials are drawn from its logarithm"
            )
    return ranges


def check_key(cell: Cell, key: str) -> None:
    """Raise ConfigError unless the key is the size's learning rate or a number of the cell's arm."""
    numbers = ["size.lr", *(f"arm.{name}" for name, x in vars(cell.arm).items() if isinstance(x, float))]
    if key not in numbers:
        raise ConfigError(
            f"{key}: no number of arm {cell.arm.name} that can be tuned; choose among {', '.join(numbers)}"
        )


def with_settings(cell: Cell, settings: dict[str, float]) -> Cell:
    """The cell with some of its settings replaced; its size keeps its name.

    Raises:
        ConfigError: a key is not the size's learning rate or a number of the cell's arm.
    """
    parts: dict[str, Any] = {}
    for key, value in settings.items():
        check_key(cell, key)
        part, _, name = key.partition(".")
        parts[part] = dataclasses.replace(parts.get(part, getattr(cell, part)), **{name: value})
    return dataclasses.replace(cell, **parts)


def _column(key: str, bounds: list[float], search: Search) -> list[float]:
    """Values of one key over the drawn trials, in four digits: what is read is what was tried."""
    import numpy as np  # here, since only a search needs it, and --help should not wait for it

    drawn = search.trials - 1
    rng = np.random.default_rng((search.seed, zlib.crc32(key.encode())))
    places = (rng.permutation(drawn) + rng.random(drawn)) / drawn
    low, high = (math.log(bound) for bound in bounds)
    return [float(f"{math.exp(low + place * (high - low)):.4g}") for place in places]
