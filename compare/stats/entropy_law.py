"""The entropy law R = -a exp(H) + b of one run (Cui et al. 2025, arXiv 2505.22617, equation 1).

The law is a straight line in x = exp(H), so it is fitted by least squares. At H = 0 (x = 1) the policy
samples one answer only: b - a is the reward at which, by the law, reinforcement learning ends.

The law is no identity. A softmax policy that follows the exact gradient on a one-state bandit fits
it well and has "ceilings" far above the largest reward, so every number here stands beside simpler
forecasts (compare/analysis/ceiling/forecast.py) and a ceiling outside [0, 1] is called impossible.

Shapes: T rows of history, B bootstrap draws.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial

from compare.stats.intervals import Array, Estimate, percentile_interval
from compare.stats.rl_history import Trace, Unfit

ROWS_NEEDED = 5
"""A line through fewer noisy rows has hardly a degree of freedom to judge its error by."""


def fit_line(feature_T: Array, reward_T: Array) -> Polynomial:
    """reward = intercept + slope * feature, by least squares.

    Raises:
        Unfit: too few rows, or a feature or reward that does not vary.
    """
    if len(feature_T) < ROWS_NEEDED:
        raise Unfit(f"{len(feature_T)} rows to fit on, {ROWS_NEEDED} are needed")
    for name, values_T in (("entropy", feature_T), ("reward", reward_T)):
        if np.ptp(values_T) <= 1e-9 * max(1.0, float(np.abs(values_T).max())):
            raise Unfit(f"{name} is constant where the law is fitted")
    centred_T = feature_T - feature_T.mean()
    slope = float(centred_T @ reward_T / (centred_T @ centred_T))
    return Polynomial([float(reward_T.mean() - slope * feature_T.mean()), slope])


@dataclass(frozen=True, kw_only=True)
class Law:
    """R = -a exp(H) + b."""

    a: float
    b: float

    @property
    def ceiling(self) -> float:
        """Reward at H = 0."""
        return self.b - self.a

    def __call__(self, entropy_T: Array) -> Array:
        return self.b - self.a * np.exp(entropy_T)


def fit_law(seen: Trace) -> Law:
    """The law through every row of a trace.

    Raises:
        Unfit: see `fit_line`.
    """
    intercept, slope = fit_line(np.exp(seen.entropy_T), seen.reward_T).coef
    return Law(a=-float(slope), b=float(intercept))


def bootstrap_ceilings(law: Law, seen: Trace, draws: int, rng: np.random.Generator) -> Array:
    """Ceilings of `draws` block-bootstrap refits of one run, (B,).

    Residuals are drawn in circular blocks of about T^(1/3) rows (Politis & Romano 1992; the length's
    rate is Hall, Horowitz & Jing's, 1995), because those of neighbouring updates are alike; entropies
    stay as they were, since they trend. Residuals are inflated by sqrt(T / (T - 2)) for the two
    fitted parameters. A least-squares ceiling is linear in the rewards, so no refit is run:
    it is the sum of w R with w = 1/T + (1 - mean x) (x - mean x) / Sxx.
    """
    T = len(seen)
    x_T = np.exp(seen.entropy_T)
    centred_T = x_T - x_T.mean()
    weights_T = 1 / T + (1 - x_T.mean()) * centred_T / (centred_T @ centred_T)
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
