"""log(E + A C^-alpha) of several arms together: values, Jacobian, and where a fit starts and ends.

Shapes as in compare/stats/power_law.py; P parameters, B problems fitted in one batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compare.stats.least_squares import Array, HuberFit

DELTA = 1e-3
"""Huber's threshold on log loss (Hoffmann et al. 2022)."""

VARIANTS = ("shared", "free", "zero")
"""What the irreducible loss E is: one for all arms, one for each, or none."""

ALPHA = (1e-3, 3.0)
"""Bounds of the exponent. At the lower one a curve is flat over any range a store can hold."""

FLOOR = 1e-3
"""Lower bound of E, as a share of the lowest loss."""


@dataclass(frozen=True, kw_only=True)
class PowerLawModel:
    """log(E + A C^-alpha) as a function of theta = (log E of each floor, log scale and alpha of each arm)."""

    arm_N: NDArray[np.int64]
    u_N: Array
    """log C less its mean over the runs."""
    arms: int
    variant: str

    @property
    def floors(self) -> int:
        """Number of parameters that are floors."""
        return {"shared": 1, "free": self.arms, "zero": 0}[self.variant]

    def fit(self, y_BN: Array, delta: float = DELTA) -> Array:
        """theta (B, P) of the least summed Huber loss from many starts; least squares if `delta` is large."""
        lower_BP, upper_BP = map(np.array, zip(*map(self.bounds, y_BN), strict=True))
        starts_BSP = np.stack([self.starts(y_N) for y_N in y_BN])
        return HuberFit(model=self, delta=delta).best(starts_BSP, lower_BP, upper_BP, y_BN)

    def split(self, theta_RP: Array) -> Array:
        """log E, log scale and alpha, (3, R, A)."""
        F, A = self.floors, self.arms
        floor = theta_RP[:, :F] if F else np.full((len(theta_RP), 1), -np.inf)
        return np.stack(
            [np.broadcast_to(floor, (len(theta_RP), A)), theta_RP[:, F : F + A], theta_RP[:, F + A :]]
        )

    def __call__(self, theta_RP: Array, derive: bool) -> tuple[Array, Array | None]:
        """Predictions (R, N) and Jacobian (R, N, P), see compare/stats/least_squares.py."""
        floor, scale, alpha = (part[:, self.arm_N] for part in self.split(theta_RP))
        power = scale - alpha * self.u_N
        # log(E + power law) by way of the share that is the power law's, which the Jacobian needs as well;
        # logaddexp would be safe against overflow, and several times slower. Where the floor is so far
        # above that exp() overflows, the share is 0 and the floor itself is the prediction.
        with np.errstate(over="ignore", divide="ignore"):
            share = 1 / (1 + np.exp(floor - power))
            predicted = power - np.log(share)
        predicted = np.where(share > 0, predicted, floor)
        if not derive:
            return predicted, None
        F, A = self.floors, self.arms
        jacobian = np.zeros((*predicted.shape, F + 2 * A))
        runs = np.arange(len(self.u_N))
        if F:
            jacobian[:, runs, self.arm_N if F == A else 0 * self.arm_N] = 1 - share
        jacobian[:, runs, F + self.arm_N] = share
        jacobian[:, runs, F + A + self.arm_N] = -share * self.u_N
        return predicted, jacobian

    def starts(self, y_N: Array) -> Array:
        """A grid of starts: E from nearly nothing to nearly the lowest loss, alpha from slow to fast."""
        middle_A = np.array([y_N[self.arm_N == arm].mean() for arm in range(self.arms)])
        out = []
        for share in (0.02, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97) if self.floors else (0.0,):
            floor = np.log(share) + self._lowest(y_N) if self.floors else np.empty(0)
            for alpha in (0.03, 0.1, 0.2, 0.4, 0.7, 1.2):
                out.append(np.concatenate([floor, middle_A + np.log1p(-share), np.full(self.arms, alpha)]))
        return np.array(out)

    def bounds(self, y_N: Array) -> tuple[Array, Array]:
        """Lower and upper bound of every parameter: E below the lowest loss and above a thousandth of it."""
        A, lowest = self.arms, self._lowest(y_N)
        lower = np.concatenate([lowest + np.log(FLOOR), np.full(A, y_N.min() - 20), np.full(A, ALPHA[0])])
        upper = np.concatenate([lowest, np.full(A, y_N.max() + 5), np.full(A, ALPHA[1])])
        return lower, upper

    def _lowest(self, y_N: Array) -> Array:
        """Lowest log loss of the arms of each floor."""
        lowest_A = np.array([y_N[self.arm_N == arm].min() for arm in range(self.arms)])
        return lowest_A if self.floors == self.arms else lowest_A.min(keepdims=True)[: self.floors]
