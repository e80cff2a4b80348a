"""Intervals, p-values and verdicts for few seeds.

Runs are few (three to five seeds), problems are many. A percentile bootstrap over three seeds covers
the truth about 80 times in 100, not 95, so:
* final differences get Student's t over seeds, with the problems' own sampling variance added;
* fitted quantities, which pool many (arm, budget) strata, get a bootstrap of runs within their stratum
  (`resample` for least squares, `flip` for fits that follow medians) whose deviations are inflated to be
  unbiased and whose percentiles are expanded to Student's t (Hesterberg 2015, "What Teachers Should Know
  About the Bootstrap", section 5.3 and table 5).
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


def resample(
    values_N: Array,
    strata_N: NDArray[np.int64],
    groups_N: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Array:
    """Stratified bootstrap of runs: (draws, N) values, each stratum's deviations redrawn from itself.

    A stratum of one run has no spread of its own; it borrows the deviations of its group (the arm's
    other budgets), or of all if that has none either.
    """
    means_N, deviations_N, pools = _spread(values_N, strata_N, groups_N)
    drawn = [deviations_N[rng.choice(pool, size=draws)] for pool in pools]
    return means_N + np.stack(drawn, axis=1)


def flip(
    values_N: Array,
    strata_N: NDArray[np.int64],
    groups_N: NDArray[np.int64],
    centre_N: Array,
    draws: int,
    rng: np.random.Generator,
) -> Array:
    """Wild bootstrap of runs: (draws, N) values, each run's own deviation put on either side of the fit.

    For fits that follow medians, after Feng, He and Hu 2011 ("Wild bootstrap for quantile regression",
    weights +-1 at the median). Redrawing a stratum's few runs instead repeats some deviations and leaves out
    others, and a median scatters too widely. Deviations are from the stratum's mean and not from the fit, so
    that a curve that does not fit adds nothing; of normal noise each is distributed as the noise, of heavier
    tails too wide (docs/calibration.md).

    Args:
        centre_N: the fitted values.
    """
    _, deviations_N, pools = _spread(values_N, strata_N, groups_N)
    out = rng.choice(np.array([-1.0, 1.0]), size=(draws, len(values_N)))
    for i, pool in enumerate(pools):
        lone = np.count_nonzero(strata_N == strata_N[i]) == 1
        out[:, i] *= deviations_N[rng.choice(pool, size=draws)] if lone else deviations_N[i]
    return centre_N + out


def _spread(
    values_N: Array, strata_N: NDArray[np.int64], groups_N: NDArray[np.int64]
) -> tuple[Array, Array, list[NDArray[np.int64]]]:
    """Each run's stratum mean, its inflated deviation from it, and the runs whose deviations it is given.

    The mean of n draws with replacement has variance (n - 1)/n * s^2/n; the factor sqrt(n / (n - 1)) undoes
    the first fraction, which at n = 3 would cost a third of the variance (Davison & Hinkley 1997, section
    2.7). Deviations are those of the stratum; for a lone run those of its group, or of all.
    """
    sizes_N = np.array([(strata_N == stratum).sum() for stratum in strata_N])
    means_N = np.array([values_N[strata_N == stratum].mean() for stratum in strata_N])
    factors_N = np.sqrt(sizes_N / np.maximum(sizes_N - 1, 1))
    inflated_N = means_N + (values_N - means_N) * factors_N
    pools = []
    for stratum, size, group in zip(strata_N, sizes_N, groups_N, strict=True):
        choices = [strata_N == stratum]
        if size == 1:
            choices = [(sizes_N > 1) & (groups_N == group), sizes_N > 1, *choices]
        pools.append(np.flatnonzero(next(runs_N for runs_N in choices if runs_N.any())))
    return means_N, inflated_N - means_N, pools


def satterthwaite(weights_K: Array, sizes_K: NDArray[np.int64]) -> float:
    """Degrees of freedom of sum_K w_k mean_k, each mean over `sizes_K` runs of a spread of its own.

    What a fit reads off may hang on one stratum: a ceiling mostly on the largest budget, whose spread
    three runs know badly. (sum v)^2 / sum (v^2 / d) with v = w^2 / n for equal spreads (Satterthwaite
    1946); a lone run borrows spread, and with it degrees, from all the others.
    """
    own = sizes_K - 1.0
    degrees_K = np.where(own > 0, own, own.sum())
    if not degrees_K.any():
        return 0.0
    shares_K = weights_K**2 / sizes_K
    if shares_K.sum() == 0:
        return float(own.sum())
    shares_K = shares_K / shares_K.sum()
    return float(min(1 / (shares_K**2 / degrees_K).sum(), own.sum()))


def percentile_interval(samples_B: Array, degrees: float) -> tuple[float, float]:
    """Bootstrap interval at the percentiles that Student's t with `degrees` would call for.

    The whole line if there are no degrees of freedom: nothing was repeated. With so few degrees that draws
    do not resolve the percentiles, t on their standard deviation stands in, as in `bootstrap_p`.
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


def bootstrap_p(value: float, samples_B: Array, degrees: float) -> float:
    """Two-sided p-value of `value` against zero: twice the smaller tail, widened to Student's t.

    A tail of the bootstrap is read as a normal score and looked up in t, the inverse of
    `percentile_interval`. Where no draw lies beyond zero the tail is not resolved, and t on the
    draws' standard deviation stands in, else more draws would be needed for every contrast in a Holm
    family. Never below 1 / (B + 1): draws cannot show more.
    """
    if degrees < 1:
        return 1.0
    floor = 1 / (len(samples_B) + 1)
    beyond = min(int((samples_B <= 0).sum()), int((samples_B >= 0).sum()))
    spread = float(samples_B.std())
    if beyond == 0 and spread > 0:
        score = -abs(value) / spread
    else:
        score = special.ndtri(min((beyond + 1) * floor, 0.5))
    return max(floor, min(1.0, 2 * float(special.stdtr(degrees, score))))


def interval(rows_R: Array, degrees: float) -> Interval:
    """A fit (row 0) with the interval of its bootstrap (the other rows)."""
    low, high = percentile_interval(rows_R[1:], degrees)
    return Interval(value=float(rows_R[0]), low=low, high=high)


def exp_interval(rows_R: Array, degrees: float) -> Interval:
    """The same for a quantity fitted as its logarithm."""
    logs = interval(rows_R, degrees)
    return Interval(**{end: float(np.exp(min(value, 700.0))) for end, value in vars(logs).items()})


def from_bootstrap(rows_R: Array, *, degrees: float, n: int) -> Estimate:
    """The same with a p-value."""
    ends = vars(interval(rows_R, degrees))
    p = bootstrap_p(ends["value"], rows_R[1:], degrees)
    return Estimate(**ends, p=p, n=n, single_run=degrees < 1, degrees=degrees)


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
