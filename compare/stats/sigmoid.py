"""Scaling fit of a bounded metric: accuracy as a sigmoid in log compute, one arm at a time.

acc = floor + (ceiling - floor) / (1 + (C_mid / C)^B), ScaleRL's curve (Khatri et al. 2025, equation 1).
Rows and shapes as in compare/stats/power_law.py: a fit to all runs, then one to each seed's.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from compare.stats.intervals import Interval
from compare.stats.least_squares import Array, HuberFit
from compare.stats.power_law import Runs, by_seed, of_all_and_each_seed


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """acc = floor + (ceiling - floor) / (1 + (C_mid / C)^B), for R rows of one arm."""

    ceiling_R: Array
    """Accuracy at endless compute, in [floor, 1]."""
    log_mid_R: Array
    """log of the compute at half of the way."""
    steepness_R: Array
    floor: float

    @property
    def ceiling(self) -> Interval:
        """Accuracy that endless compute would reach, with its interval over seeds, cut to [floor, 1]."""
        ends = by_seed(self.ceiling_R)
        return Interval(value=ends.value, low=max(ends.low, self.floor), high=min(ends.high, 1.0))

    def accuracy(self, compute_G: Array) -> Array:
        """Fitted accuracy (R, G)."""
        z = self.steepness_R[:, None] * (np.log(compute_G)[None, :] - self.log_mid_R[:, None])
        return self.floor + (self.ceiling_R[:, None] - self.floor) / (1 + np.exp(-z))


def sigmoid(runs: Runs, floor: float = 0.0) -> Sigmoid:
    """Fit accuracies of one arm; least squares (Huber far out), in accuracy.

    Raises:
        NotEnough: too few budgets.
    """
    runs.require_budgets()
    parameters_R3 = of_all_and_each_seed(runs, lambda mine: _fit(mine, floor))
    ceiling, mid, steep = parameters_R3.T
    return Sigmoid(ceiling_R=ceiling, log_mid_R=mid, steepness_R=steep, floor=floor)


def _fit(runs: Runs, floor: float) -> Array:
    """Ceiling, log of the compute at half of the way, steepness."""
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
    fit = HuberFit(model=model, delta=1.0)
    return fit.best(starts[None], lower[None], upper[None], runs.value_N[None])[0]
