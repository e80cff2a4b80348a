"""Robust nonlinear least squares for many small problems at once.

A fit of few points has many local minima and wants many starts. Calling an optimiser for each costs seconds
of interpreter time; here they are one batch of Levenberg-Marquardt steps.

Shapes: B problems, N residuals, P parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Model = Callable[[Array, bool], tuple[Array, Array | None]]
"""Parameters (B, P) -> predictions (B, N) and, if asked for, their Jacobian (B, N, P)."""

FIRST_STEPS, LAST_STEPS, PROMISING = 15, 200, 5
"""Steps that all starts take, steps of those that go on, and how many those are: the lowest losses so far."""


def huber(residuals_BN: Array, delta: float) -> Array:
    """Summed Huber loss (B,): r^2 / 2 within delta, delta (|r| - delta / 2) beyond (Huber 1964)."""
    size = np.abs(residuals_BN)
    inner = np.minimum(size, delta)
    return (inner * (size - inner / 2)).sum(axis=-1)


@dataclass(frozen=True, kw_only=True)
class HuberFit:
    """A model whose summed Huber loss is minimised within box bounds."""

    model: Model
    delta: float

    def best(self, start_BSP: Array, lower_BP: Array, upper_BP: Array, target_BN: Array) -> Array:
        """Parameters (B, P) of the lowest loss that the S starts of each problem lead to.

        After a few steps the worse starts are left.
        """
        theta_BSP, rows = start_BSP, np.arange(len(start_BSP))[:, None]
        for kept, iterations in ((PROMISING, FIRST_STEPS), (1, LAST_STEPS)):
            B, S, P = theta_BSP.shape
            lower, upper, target = (np.repeat(part, S, axis=0) for part in (lower_BP, upper_BP, target_BN))
            theta, losses = self.minimise(theta_BSP.reshape(B * S, P), lower, upper, target, iterations)
            order_BS = losses.reshape(B, S).argsort(axis=1)
            theta_BSP = theta.reshape(B, S, P)[rows, order_BS[:, :kept]]
        return theta_BSP[:, 0]

    def minimise(
        self,
        start_BP: Array,
        lower_BP: Array,
        upper_BP: Array,
        target_BN: Array,
        iterations: int,
        tolerance: float = 1e-9,
    ) -> tuple[Array, Array]:
        """Every problem by itself: theta (B, P), loss (B,).

        Gauss-Newton on Huber's weights min(1, delta / |r|) with Levenberg's damping, one damping per problem;
        a step is taken only where it lowers the loss. Parameters held by a bound leave the step. A problem
        is done when a step lowers its loss by less than `tolerance` of it, or no damping helps.
        """
        theta = np.clip(start_BP, lower_BP, upper_BP)
        loss = huber(self.model(theta, False)[0] - target_BN, self.delta)
        damping = np.full(len(theta), 1e-3)
        quiet = np.zeros(len(theta), dtype=int)
        open_B = np.arange(len(theta))
        for _ in range(iterations):
            if len(open_B) == 0:
                break
            here, target, lower, upper = (part[open_B] for part in (theta, target_BN, lower_BP, upper_BP))
            predicted, jacobian = self.model(here, True)
            assert jacobian is not None
            residuals = predicted - target
            weights = np.minimum(1.0, self.delta / np.maximum(np.abs(residuals), 1e-300))
            weighted = (jacobian * weights[:, :, None]).transpose(0, 2, 1)
            gradient = (weighted @ residuals[:, :, None])[:, :, 0]
            curvature = weighted @ jacobian
            held = ((here <= lower) & (gradient > 0)) | ((here >= upper) & (gradient < 0))
            free = (~held).astype(float)
            curvature = curvature * free[:, :, None] * free[:, None, :]
            diagonal = np.einsum("bpp->bp", curvature).copy()
            scale = diagonal + 1e-9 * (1 + diagonal.max(axis=1, keepdims=True))
            index = np.arange(theta.shape[1])
            curvature[:, index, index] += (
                damping[open_B, None] * scale + 1e-12 * scale.max(axis=1, keepdims=True) + held
            )
            step = np.linalg.solve(curvature, (gradient * free)[:, :, None])[:, :, 0]
            trial = np.clip(here - step, lower, upper)
            trial_loss = huber(self.model(trial, False)[0] - target, self.delta)
            better = trial_loss < loss[open_B]
            small = ~better | (loss[open_B] - trial_loss <= tolerance * loss[open_B])
            theta[open_B] = np.where(better[:, None], trial, here)
            loss[open_B] = np.where(better, trial_loss, loss[open_B])
            damping[open_B] = np.clip(damping[open_B] * np.where(better, 0.2, 8.0), 1e-9, 1e9)
            quiet[open_B] = np.where(small, quiet[open_B] + 1, 0)
            open_B = open_B[quiet[open_B] < 6]
        return theta, loss
