"""How many seeds would decide an undecided finding."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import special

from compare.stats.intervals import LEVEL, Array, Estimate

POWER = 0.8
"""Chance of a decision at the number of seeds that is named (Cohen 1988's convention)."""

QUANTILES = 64
"""Of the spread, over which the chance is averaged; it is then right to .001."""


def seeds_needed(estimate: Estimate, margin: float, comparisons: int = 1) -> int | None:
    """Seeds at which a verdict would come with a chance of POWER, if the effect is what it looks like.

    The fewest at which either is so: an interval that leaves out 0, at the level that `comparisons` leave
    it in Holm's correction; or one inside +-margin. Problems are taken to grow with the seeds. None where it
    cannot be said: an open interval, or neither effect nor margin.
    """
    half = (estimate.high - estimate.low) / 2
    if not math.isfinite(half):
        return None
    tail, effect = (1 - LEVEL) / 2, abs(estimate.value)
    # The half-width's factor is the t of its degrees, or without any the normal's.
    error = half / beyond(tail, estimate.degrees)
    needed = [_fewest(estimate, error, (effect,), tail / comparisons)] if effect else []
    if margin > effect:
        needed.append(_fewest(estimate, error, (margin - effect, margin + effect), tail))
    return min(needed) if needed else None


def beyond(upper: float, degrees: float) -> float:
    """What Student's t, or without degrees the normal, exceeds with probability `upper`."""
    return -float(special.stdtrit(degrees, upper)) if degrees else -float(special.ndtri(upper))


def chance(apart: Sequence[float], degrees: float, level: float, final_degrees: float) -> float:
    """Chance that a second study tells every one of some gaps from 0 (one-sided, at `level`), given a first.

    A gap is in standard errors of the second study, as the first one's spread has them; two are the ways to
    the ends of a margin, and what tells both cannot miss both. Neither spread is the true one: that of the
    first lies about it like the root of a mean of `degrees` squares, and the second study is judged by its
    own. Averaged over both, what is certain at a known spread is not (Stein 1945 has the first half; the
    second is the t test's own).
    """
    first, second = _spreads(degrees), _spreads(final_degrees)
    wide = beyond(level, final_degrees) * second[None, :]
    told = sum(special.ndtr(gap * first[:, None] - wide) for gap in apart) - (len(apart) - 1)
    return float(np.maximum(told, 0.0).mean())


def _fewest(estimate: Estimate, error: float, gaps: tuple[float, ...], level: float) -> int:
    """Fewest seeds, more than there are, at which `chance` reaches POWER."""

    def enough(seeds: int) -> bool:
        if not error:
            return True
        more, degrees = math.sqrt(seeds / estimate.n), estimate.degrees
        # Degrees of a difference are one less than the seeds; those of a fit grow as the root.
        final = seeds - 1.0 if degrees == estimate.n - 1 else degrees * more
        return chance([gap / error * more for gap in gaps], degrees, level, final) >= POWER

    low = high = estimate.n + 1
    while not enough(high):
        low, high = high + 1, 2 * high
    while low < high:  # not bisect: an effect of nearly 0 needs more seeds than C counts
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


@lru_cache(maxsize=256)
def _spreads(degrees: float) -> Array:
    """Quantiles of an estimated spread over the true one; 1 where it is known."""
    if not degrees:
        return np.ones(1)
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.sqrt(2 * special.gammaincinv(degrees / 2, levels) / degrees)
