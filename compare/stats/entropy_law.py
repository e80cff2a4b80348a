"""The entropy law R = -a exp(H) + b of one run (Cui et al. 2025, arXiv 2505.22617, equation 1).

The law is a straight line in x = exp(H). At H = 0 (x = 1) the policy samples one answer only: b - a is the
reward at which, by the law, reinforcement learning ends.

Least squares would flatten the line: entropy is measured on one rollout, with noise, and the noise of reward
goes with it, since a rollout of hard problems has more entropy and less reward. Time knows neither noise, so
it is the instrument (Durbin 1954): the slope is the trend of reward over the trend of x. What that costs, and
what else was tried, is in docs/ceiling.md.

The law is no identity. A softmax policy that follows the exact gradient on a one-state bandit fits
it well and has "ceilings" far above the largest reward, so every number here stands beside simpler
forecasts (compare/analysis/ceiling/forecast.py) and a ceiling outside [0, 1] is called impossible.

Shapes: T rows of history, B bootstrap draws.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compare.stats.intervals import Array, Estimate, percentile_interval
from compare.stats.rl_history import Trace, Unfit

ROWS_NEEDED = 5
"""A line through fewer noisy rows has hardly a degree of freedom to judge its error by."""

FORMS: dict[str, Callable[[Array], Array]] = {
    "law": np.exp,
    "linear": lambda entropy_T: entropy_T,
    "quadratic": np.square,
}
"""In what reward is taken to be a straight line: the entropy law's exp(H), and its rivals H and H^2."""


def clock(rows: int) -> Array:
    """The instrument: the number of each row, from their mean."""
    return np.arange(rows, dtype=np.float64) - (rows - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Law:
    """R = -a f(H) + b, f one of FORMS."""

    a: float
    b: float
    form: str = "law"

    @property
    def ceiling(self) -> float:
        """Reward at H = 0."""
        return float(self(np.zeros(1))[0])

    def __call__(self, entropy_T: Array) -> Array:
        return self.b - self.a * FORMS[self.form](entropy_T)


def fit_law(seen: Trace, form: str = "law") -> Law:
    """The line through the rows of a trace, time being the instrument.

    Raises:
        Unfit: too few rows, a reward or entropy that does not vary, or an entropy without any trend.
    """
    if len(seen) < ROWS_NEEDED:
        raise Unfit(f"{len(seen)} rows to fit on, {ROWS_NEEDED} are needed")
    for name, values_T in (("entropy", seen.entropy_T), ("reward", seen.reward_T)):
        if np.ptp(values_T) <= 1e-9 * max(1.0, float(np.abs(values_T).max())):
            raise Unfit(f"{name} is constant where the law is fitted")
    feature_T, clock_T = FORMS[form](seen.entropy_T), clock(len(seen))
    trend = float(clock_T @ feature_T)
    if abs(trend) <= 1e-9 * float(np.abs(clock_T) @ np.abs(feature_T)):
        raise Unfit("entropy has no trend where the law is fitted")
    slope = float(clock_T @ seen.reward_T) / trend
    return Law(a=-slope, b=float(seen.reward_T.mean() - slope * feature_T.mean()), form=form)


def bootstrap_ceilings(law: Law, seen: Trace, draws: int, rng: np.random.Generator) -> Array:
    """Ceilings of `draws` block-bootstrap refits of one run, (B,).

    Residuals are drawn in circular blocks of about T^(1/3) rows (Politis & Romano 1992; the length's
    rate is Hall, Horowitz & Jing's, 1995), because those of neighbouring updates are alike; entropies
    stay as they were, since they trend. Residuals are inflated by sqrt(T / (T - 2)) for the two
    fitted parameters. The ceiling is linear in the rewards, so no refit is run: it is the sum of w R with
    w = 1/T + (1 - mean x) t / (t x), t the clock. To first order, noise in x acts through the residuals.
    """
    T = len(seen)
    x_T = np.exp(seen.entropy_T)
    clock_T = clock(T)
    weights_T = 1 / T + (1 - x_T.mean()) * clock_T / (clock_T @ x_T)
    residuals_T = (seen.reward_T - law(seen.entropy_T)) * math.sqrt(T / (T - 2))
    length = math.ceil(T ** (1 / 3))
    starts_BK = rng.integers(T, size=(draws, math.ceil(T / length)))
    rows_BT = (starts_BK[:, :, None] + np.arange(length)).reshape(draws, -1)[:, :T] % T
    return law.ceiling + residuals_T[rows_BT] @ weights_T


def ceiling_of_one_run(law: Law, seen: Trace, draws: int, rng: np.random.Generator) -> Estimate:
    """The ceiling with the block bootstrap's interval: what one run knows of itself, not of other seeds."""
    drawn_B = bootstrap_ceilings(law, seen, draws, rng)
    low, high = percentile_interval(drawn_B, len(seen) - 2)
    return Estimate(value=law.ceiling, low=low, high=high, p=1.0, n=1, single_run=True)


def possible(ceiling: Estimate) -> bool:
    """Whether a reward in [0, 1] can have this ceiling."""
    return 0 <= ceiling.value <= 1


def surely_impossible(ceiling: Estimate) -> bool:
    """Whether the whole 95% interval lies outside [0, 1]."""
    return ceiling.high < 0 or ceiling.low > 1
