"""Scaling fit of a bounded metric: accuracy as a sigmoid in log compute, one arm at a time.

acc = floor + (ceiling - floor) / (1 + (C_mid / C)^B), ScaleRL's curve (Khatri et al. 2025, equation 1).
Rows and shapes as in compare/stats/power_law.py.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from compare.stats.intervals import Interval, interval, resample
from compare.stats.least_squares import Array, HuberFit
from compare.stats.power_law import Runs


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """acc = floor + (ceiling - floor) / (1 + (C_mid / C)^B), for R parameter draws of one arm."""

    ceiling_R: Array
    """Accuracy at endless compute, in [floor, 1]."""
    log_mid_R: Array
    """log of the compute at half of the way."""
    steepness_R: Array
    floor: float
    ceiling_degrees: float
    """Degrees of freedom of the ceiling, which hangs mostly on the largest budgets."""

    @property
    def ceiling(self) -> Interval:
        """Accuracy that endless compute would reach, with its interval."""
        return interval(self.ceiling_R, self.ceiling_degrees)

    def accuracy(self, compute_G: Array) -> Array:
        """Fitted accuracy (R, G)."""
        z = self.steepness_R[:, None] * (np.log(compute_G)[None, :] - self.log_mid_R[:, None])
        return self.floor + (self.ceiling_R[:, None] - self.floor) / (1 + np.exp(-z))


def sigmoid(runs: Runs, draws: int, rng: np.random.Generator, floor: float = 0.0) -> Sigmoid:
    """Fit accuracies of one arm, with bootstrap refits; least squares (Huber far out), in accuracy.

    Raises:
        NotEnough: too few budgets.
    """
    runs.require_budgets()
    x_N = np.log(runs.compute_N)

    def model(theta_RP: Array, derive: bool) -> tuple[Array, Array | None]:
        ceiling, mid, steep = (theta_RP[:, i : i + 1] for i in range(3))
        u = x_N - mid
        rise = 1 / (1 + np.exp(-np.clip(steep * u, -500, 500)))
        predicted = floor + (ceiling - floor) * rise
        if not derive:
            return predicted, None
        bend = (ceiling - floor) * rise * (1 - rise)
        return predicted, np.stack([rise, -bend * steep, bend * u], axis=-1)

    lower = np.array([floor, x_N.min() - 5, 0.05])
    upper = np.array([1.0, x_N.max() + 5, 20.0])
    middles = np.linspace(x_N.min() - 1, x_N.max() + 2, 6)
    starts = np.array(list(product((0.3, 0.7, 1.0), middles, (0.5, 1.5, 4.0))))
    theta_RP, _, influence_PN = HuberFit(model=model, lower_P=lower, upper_P=upper, delta=1.0).with_refits(
        starts,
        runs.value_N,
        lambda _: resample(runs.value_N, runs.stratum_N, runs.arm_N, draws, rng),
        tolerance=1e-4,
    )
    return Sigmoid(
        ceiling_R=theta_RP[:, 0],
        log_mid_R=theta_RP[:, 1],
        steepness_R=theta_RP[:, 2],
        floor=floor,
        ceiling_degrees=runs.effective_degrees(influence_PN[0]),
    )
