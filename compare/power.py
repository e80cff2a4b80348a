"""How many seeds would decide an undecided finding."""

import math

import numpy as np
from scipy import special

from compare.stats import LEVEL, Array, Estimate

POWER = 0.8
"""Chance of a decision at the number of seeds that is named (Cohen 1988's convention)."""

QUANTILES = 256
"""Of the spread, over which the chance is averaged."""


def seeds_needed(estimate: Estimate, margin: float, comparisons: int = 1) -> int | None:
    """Seeds at which a verdict would come with a chance of POWER, if the effect is what it looks like.

    The fewest at which either is so: an interval that leaves out 0, at the level that `comparisons` leave
    it in Holm's correction; or one inside +-margin, for which both of its ends must lie inside. None where
    it cannot be said: an open interval, or neither effect nor margin.
    """
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half):
        return None
    tail = (1 - LEVEL) / 2
    # The half-width's factor is the t of its degrees, or without any the normal's.
    error = half / beyond(tail, estimate.degrees)
    cases = (
        (abs(estimate.value), tail / comparisons, POWER),
        (margin - abs(estimate.value), tail, (1 + POWER) / 2),
    )
    needed = [_fewest(estimate, gap, error, level, power) for gap, level, power in cases if gap > 0]
    return min(needed) if needed else None


def beyond(upper: float, degrees: float) -> float:
    """What Student's t, or without degrees the normal, exceeds with probability `upper`."""
    return -float(special.stdtrit(degrees, upper)) if degrees else -float(special.ndtri(upper))


def chance(apart: float, degrees: float, level: float, final_degrees: float) -> float:
    """Chance that a second study tells a gap from 0 (one-sided, at `level`), given a first one's spread.

    The gap is `apart` standard errors of the second study, as the first one's spread has them. Neither
    spread is the true one: that of the first lies about it like the root of a mean of `degrees` squares, and
    the second study is judged by its own. Averaged over both, what is certain at a known spread is not
    (Stein 1945 has the first half; the second is the t test's own).
    """
    first, second = _spreads(degrees), _spreads(final_degrees)
    return float(special.ndtr(apart * first[:, None] - beyond(level, final_degrees) * second[None, :]).mean())


def _fewest(estimate: Estimate, gap: float, error: float, level: float, power: float) -> int:
    """Fewest seeds, more than there are, at which `chance` reaches the power."""

    def enough(seeds: int) -> bool:
        apart = gap / error * math.sqrt(seeds / estimate.n) if error else math.inf
        # More seeds bring degrees: a difference has one less than seeds, and a fit no fewer than it had.
        final = max(estimate.degrees, seeds - 1.0) if estimate.degrees else 0.0
        return chance(apart, estimate.degrees, level, final) >= power

    low = high = estimate.n + 1
    while not enough(high):
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _spreads(degrees: float) -> Array:
    """Quantiles of an estimated spread over the true one; 1 where it is known."""
    if not degrees:
        return np.ones(1)
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.sqrt(2 * special.gammaincinv(degrees / 2, levels) / degrees)
