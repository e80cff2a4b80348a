"""Robust nonlinear least squares for many small problems at once.

A bootstrap refits one small model a thousand times. Calling an optimiser a thousand times costs
minutes of interpreter time; here the thousand fits are one batch of Levenberg-Marquardt steps, and
the many starts of a single fit are a batch as well.

Shapes: B problems, N residuals, P parameters.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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


def minimise(
    start_BP: Array,
    target_BN: Array,
    model: Model,
    *,
    lower_P: Array,
    upper_P: Array,
    delta: float,
    iterations: int = 200,
    tolerance: float = 1e-9,
) -> tuple[Array, Array]:
    """Minimise the summed Huber loss of every problem within box bounds: theta (B, P), loss (B,).

    Gauss-Newton on Huber's weights min(1, delta / |r|) with Levenberg's damping, one damping a problem;
    a step is taken only where it lowers the loss. Parameters held by a bound leave the step. A problem
    is done when a step lowers its loss by less than `tolerance` of it, or no damping helps.
    """
    chunks = range(0, len(start_BP), CHUNK)

    def solve(i: int) -> tuple[Array, Array]:
        ours = slice(i, i + CHUNK)
        return _minimise(
            start_BP[ours], target_BN[ours], model, lower_P, upper_P, delta, iterations, tolerance
        )

    # NumPy lets go of the interpreter within an operation, and chunks know nothing of one another.
    with ThreadPoolExecutor(max(1, min(len(chunks), os.cpu_count() or 1, 4))) as pool:
        done = list(pool.map(solve, chunks))
    return np.concatenate([theta for theta, _ in done]), np.concatenate([loss for _, loss in done])


def _minimise(
    start_BP: Array,
    target_BN: Array,
    model: Model,
    lower: Array,
    upper: Array,
    delta: float,
    iterations: int,
    tolerance: float,
) -> tuple[Array, Array]:
    theta = np.clip(start_BP, lower, upper)
    loss = huber(model(theta, False)[0] - target_BN, delta)
    damping = np.full(len(theta), 1e-3)
    quiet = np.zeros(len(theta), dtype=int)
    open_B = np.arange(len(theta))
    for _ in range(iterations):
        if len(open_B) == 0:
            break
        here, target = theta[open_B], target_BN[open_B]
        predicted, jacobian = model(here, True)
        assert jacobian is not None
        residuals = predicted - target
        weights = np.minimum(1.0, delta / np.maximum(np.abs(residuals), 1e-300))
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
        trial_loss = huber(model(trial, False)[0] - target, delta)
        better = trial_loss < loss[open_B]
        small = ~better | (loss[open_B] - trial_loss <= tolerance * loss[open_B])
        theta[open_B] = np.where(better[:, None], trial, here)
        loss[open_B] = np.where(better, trial_loss, loss[open_B])
        damping[open_B] = np.clip(damping[open_B] * np.where(better, 0.2, 8.0), 1e-9, 1e9)
        quiet[open_B] = np.where(small, quiet[open_B] + 1, 0)
        open_B = open_B[quiet[open_B] < 6]
    return theta, loss
