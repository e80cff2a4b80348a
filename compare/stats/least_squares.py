"""Robust nonlinear least squares for many small problems at once.

A bootstrap refits one small model a thousand times. Calling an optimiser a thousand times costs
minutes of interpreter time; here the thousand fits are one batch of Levenberg-Marquardt steps, and
the many starts of a single fit are a batch as well.

Shapes: B problems, N residuals, P parameters.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Model = Callable[[Array, bool], tuple[Array, Array | None]]
"""Parameters (B, P) -> predictions (B, N) and, if asked for, their Jacobian (B, N, P)."""

CHUNK = 256
"""Problems solved together; keeps a Jacobian within the processor's cache."""


def huber(residuals_BN: Array, delta: float) -> Array:
    """Summed Huber loss (B,): r^2 / 2 within delta, delta (|r| - delta / 2) beyond (Huber 1964)."""
    size = np.abs(residuals_BN)
    inner = np.minimum(size, delta)
    return (inner * (size - inner / 2)).sum(axis=-1)


@dataclass(frozen=True, kw_only=True)
class HuberFit:
    """A model whose summed Huber loss is minimised within box bounds."""

    model: Model
    lower_P: Array
    upper_P: Array
    delta: float

    def with_refits(
        self, start_SP: Array, target_N: Array, redraw: Callable[[Array], Array], tolerance: float
    ) -> tuple[Array, float, Array]:
        """The best of many starts, and refits of bootstrap draws that begin there.

        Args:
            redraw: fitted values (N,) to the targets of the refits (R - 1, N).
            tolerance: of the refits.

        Returns:
            Parameters (R, P), the fit itself in row 0; its summed Huber loss; and how far each target moves
            each parameter, by the fit's Jacobian (P, N).
        """
        targets_SN = np.broadcast_to(target_N, (len(start_SP), len(target_N)))
        theta_SP, losses_S = self.minimise(start_SP, targets_SN)
        best_P = theta_SP[np.argmin(losses_S)]
        curve_1N, jacobian_1NP = self.model(best_P[None], True)
        assert jacobian_1NP is not None
        # What a bound holds does not move with the data.
        free_P = (best_P > self.lower_P) & (best_P < self.upper_P)
        influence_PN = np.linalg.pinv(jacobian_1NP[0] * free_P)
        targets_BN = redraw(curve_1N[0])
        starts_BP = np.broadcast_to(best_P, (len(targets_BN), len(best_P)))
        refits_BP, _ = self.minimise(starts_BP, targets_BN, iterations=60, tolerance=tolerance)
        return np.concatenate([best_P[None], refits_BP]), float(losses_S.min()), influence_PN

    def minimise(
        self, start_BP: Array, target_BN: Array, iterations: int = 200, tolerance: float = 1e-9
    ) -> tuple[Array, Array]:
        """Every problem by itself: theta (B, P), loss (B,).

        Gauss-Newton on Huber's weights min(1, delta / |r|) with Levenberg's damping, one damping per problem;
        a step is taken only where it lowers the loss. Parameters held by a bound leave the step. A problem
        is done when a step lowers its loss by less than `tolerance` of it, or no damping helps.
        """

        def solve(i: int) -> tuple[Array, Array]:
            return self._solve(start_BP[i : i + CHUNK], target_BN[i : i + CHUNK], iterations, tolerance)

        chunks = range(0, len(start_BP) or 1, CHUNK)
        # NumPy lets go of the interpreter within an operation, and chunks know nothing of one another.
        with ThreadPoolExecutor(min(len(chunks), os.cpu_count() or 1, 4)) as pool:
            done = list(pool.map(solve, chunks))
        return np.concatenate([theta for theta, _ in done]), np.concatenate([loss for _, loss in done])

    def _solve(
        self, start_BP: Array, target_BN: Array, iterations: int, tolerance: float
    ) -> tuple[Array, Array]:
        theta = np.clip(start_BP, self.lower_P, self.upper_P)
        loss = huber(self.model(theta, False)[0] - target_BN, self.delta)
        damping = np.full(len(theta), 1e-3)
        quiet = np.zeros(len(theta), dtype=int)
        open_B = np.arange(len(theta))
        for _ in range(iterations):
            if len(open_B) == 0:
                break
            here, target = theta[open_B], target_BN[open_B]
            predicted, jacobian = self.model(here, True)
            assert jacobian is not None
            residuals = predicted - target
            weights = np.minimum(1.0, self.delta / np.maximum(np.abs(residuals), 1e-300))
            weighted = (jacobian * weights[:, :, None]).transpose(0, 2, 1)
            gradient = (weighted @ residuals[:, :, None])[:, :, 0]
            curvature = weighted @ jacobian
            held = ((here <= self.lower_P) & (gradient > 0)) | ((here >= self.upper_P) & (gradient < 0))
            free = (~held).astype(float)
            curvature = curvature * free[:, :, None] * free[:, None, :]
            diagonal = np.einsum("bpp->bp", curvature).copy()
            scale = diagonal + 1e-9 * (1 + diagonal.max(axis=1, keepdims=True))
            index = np.arange(theta.shape[1])
            curvature[:, index, index] += (
                damping[open_B, None] * scale + 1e-12 * scale.max(axis=1, keepdims=True) + held
            )
            step = np.linalg.solve(curvature, (gradient * free)[:, :, None])[:, :, 0]
            trial = np.clip(here - step, self.lower_P, self.upper_P)
            trial_loss = huber(self.model(trial, False)[0] - target, self.delta)
            better = trial_loss < loss[open_B]
            small = ~better | (loss[open_B] - trial_loss <= tolerance * loss[open_B])
            theta[open_B] = np.where(better[:, None], trial, here)
            loss[open_B] = np.where(better, trial_loss, loss[open_B])
            damping[open_B] = np.clip(damping[open_B] * np.where(better, 0.2, 8.0), 1e-9, 1e9)
            quiet[open_B] = np.where(small, quiet[open_B] + 1, 0)
            open_B = open_B[quiet[open_B] < 6]
        return theta, loss
