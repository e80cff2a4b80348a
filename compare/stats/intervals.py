"""Intervals, p-values and verdicts for few seeds.

Runs are few (three to five seeds), problems are many. A percentile bootstrap over three seeds covers the
truth about 80 times in 100, not 95. So the seed is the unit: whatever is compared is computed for each seed
by itself, and gets Student's t over the seeds' numbers, with the problems' own sampling variance added where
seeds share their problems (compare/stats/crossed.py).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

# `scipy.special` holds what is needed of `scipy.stats`, whose import alone takes most of a second:
# ndtr is the normal's distribution function, stdtr Student's t's; ndtri and stdtrit are their inverses.

LEVEL = 0.95
"""Confidence of every interval in a report."""

RESOLVED = 5
"""Draws beyond an end of an interval that make it a percentile."""

VERDICTS = ("ahead", "behind", "equivalent", "undecided")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with its 95% interval."""

    value: float
    low: float
    """Lower end; minus infinity where the runs leave it open."""
    high: float


@dataclass(frozen=True, kw_only=True)
class Estimate(Interval):
    """A number with what is known about its error."""

    p: float
    """Two-sided p-value against zero."""
    n: int
    """Seeds behind it (the fewest, where several budgets enter)."""
    single_run: bool
    """One seed only: the interval, if any, misses the variance between runs."""
    degrees: float = 0.0
    """Degrees of freedom of the interval; 0 where none were counted."""


UNMEASURED = Estimate(value=0.0, low=-math.inf, high=math.inf, p=1.0, n=0, single_run=False)
"""Stands for a comparison that could not be made."""


def percentile_interval(samples_B: Array, degrees: float) -> tuple[float, float]:
    """Bootstrap interval at the percentiles that Student's t with `degrees` would call for.

    The whole line if there are no degrees of freedom: nothing was repeated. With so few degrees that draws
    do not resolve the percentiles, t on their standard deviation stands in.
    """
    if degrees < 1:
        return -math.inf, math.inf
    t = float(special.stdtrit(degrees, (1 - LEVEL) / 2))
    tail = float(special.ndtr(t))
    if tail * len(samples_B) < RESOLVED:
        centre, half = float(samples_B.mean()), -t * float(samples_B.std())
        return centre - half, centre + half
    low, high = np.quantile(samples_B, [tail, 1 - tail])
    return float(low), float(high)


def from_normal(value: float, variance: float, degrees: float, *, n: int) -> Estimate:
    """Estimate from a mean, the variance of that mean and its degrees of freedom (Student's t)."""
    error = math.sqrt(max(variance, 0.0))
    if error == 0:
        p = 1.0 if value == 0 else 0.0
        return Estimate(value=value, low=value, high=value, p=p, n=n, single_run=n < 2)
    half = float(special.stdtrit(degrees, (1 + LEVEL) / 2)) * error
    p = 2 * float(special.stdtr(degrees, -abs(value) / error))
    return Estimate(
        value=value, low=value - half, high=value + half, p=p, n=n, single_run=n < 2, degrees=degrees
    )


def over_seeds(values_S: Array) -> Estimate:
    """Mean over seeds with Student's t interval; the whole line for a single seed."""
    n, mean = len(values_S), float(np.mean(values_S))
    if n < 2:
        return Estimate(value=mean, low=-math.inf, high=math.inf, p=1.0, n=n, single_run=True)
    return from_normal(mean, float(np.var(values_S, ddof=1)) / n, n - 1, n=n)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given (Holm 1979)."""
    m = len(p_values)
    adjusted, running = [0.0] * m, 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def verdict(
    estimate: float, low: float, high: float, margin: float, p_holm: float, higher_is_better: bool
) -> str:
    """One of VERDICTS, for a difference whose null is zero.

    `equivalent` iff the interval lies inside +-margin; `ahead` or `behind` need an interval that
    excludes zero and a Holm-adjusted p below 1 - LEVEL; anything else is `undecided`.
    """
    if margin > 0 and -margin <= low and high <= margin:
        return "equivalent"
    if (low > 0 or high < 0) and p_holm < 1 - LEVEL:
        return "ahead" if (estimate > 0) == higher_is_better else "behind"
    return "undecided"
