"""Synthetic records whose reward follows a planted entropy law, or plainly does not."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from compare.calibrate import builders
from compare.stats.intervals import Array
from compare.stats.rl_history import Trace
from compare.store.evidence import Run
from compare.store.manifest import Contrast, Manifest, PlannedCell, dump

NAME = "ceiling"
"""Of the experiment."""

BUDGET, SHARE, ROWS, WARM = 5e11, 0.36, 200, 40
A, B = 0.45, 1.15
"""The planted law: its ceiling is 0.7, and it starts at 1.15 - 0.45 exp(0.6) = 0.33."""

PASS_AT: dict[str, float] = {"pass_at_2": 0.4, "pass_at_16": 0.65, "pass_at_4": 0.5}
"""Probed at the first update by reward, at several k in no order."""

LEVELS = {"ebt_s1": 0.9, "transformer": 0.71}
"""Exact answers of the arms without reinforcement learning."""

ARMS = {"rl_grpo": (A, B, 0.05), "rl_kl_cov": (A, B + 0.1, 0.5)}
"""Arm -> a, b, and the share of entropy that is left at the end."""

CONTRASTS = (
    Contrast(study="addition", arm="rl_grpo", baseline="warm_start", quantity="entropy_held", margin=0.1),
    Contrast(study="addition", arm="rl_kl_cov", baseline="rl_grpo", quantity="entropy_held", margin=0.1),
    Contrast(study="addition", arm="rl_kl_cov", baseline="rl_grpo", quantity="ceiling", margin=0.02),
    Contrast(study="addition", arm="ebt_s1", baseline="rl_grpo", quantity="above_ceiling", margin=0.05),
    Contrast(study="addition", arm="transformer", baseline="rl_grpo", quantity="above_ceiling", margin=0.1),
    Contrast(study="addition", arm="rl_grpo", baseline="carry_last", quantity="forecast_error", margin=0.01),
)


def falling(share: float, start: float = 0.6, rows: int = ROWS) -> Array:
    """Entropy that falls in a straight line to a share of where it started."""
    return np.linspace(start, start * share, rows)


def noise(rng: np.random.Generator, size: float, rows: int = ROWS, memory: float = 0.0) -> Array:
    """Noise of standard deviation `size`, each value remembering a share of the one before (AR(1))."""
    shocks = rng.standard_normal(rows) * size * np.sqrt(1 - memory**2)
    out = np.empty(rows)
    last = rng.standard_normal() * size
    for i, shock in enumerate(shocks):
        last = memory * last + shock
        out[i] = last
    return out


def lawful(entropy_T: Array, a: float = A, b: float = B) -> Array:
    """Rewards of the law, without noise."""
    return b - a * np.exp(entropy_T)


def trace(entropy_T: Array, reward_T: Array) -> Trace:
    rows = np.arange(1.0, len(entropy_T) + 1)
    return Trace(step_T=rows, compute_T=2e9 * rows, reward_T=reward_T, entropy_T=entropy_T)


def history(entropy_T: Array, reward_T: Array, budget: float = BUDGET) -> dict[str, list[float | None]]:
    """Columns with WARM rows of a warm start before."""
    rows = len(entropy_T)
    blank: list[float | None] = [None] * WARM
    return {
        "step": [float(i) for i in range(WARM + rows)],
        "flops": [budget * 0.99 * (i + 1) / (WARM + rows) for i in range(WARM + rows)],
        "loss": [1.0] * WARM + [None] * rows,
        "reward": blank + reward_T.tolist(),
        "entropy": blank + entropy_T.tolist(),
        **{name: [*blank, value, *blank, *[None] * rows][: WARM + rows] for name, value in PASS_AT.items()},
    }


def planned(arm: str, seed: int) -> PlannedCell:
    return builders.cell(arm, seed, study="addition", budget=BUDGET, cell=f"{arm}-{seed}")


def run(arm: str, seed: int, columns: Mapping[str, list[float | None]]) -> Run:
    """A finished run with a history, and no evaluations."""
    return builders.run(planned(arm, seed), history=dict(columns))


def runs(
    arm: str, make: Callable[[int], Mapping[str, list[float | None]]], seeds: int = 3
) -> tuple[Run, ...]:
    """Finished runs of an arm, their histories made from the seed."""
    return tuple(run(arm, seed, make(seed)) for seed in range(seeds))


def store(path: Path, seeds: int = 3) -> Path:
    """A store with both planted arms and both levels, every cell done."""
    rng = np.random.default_rng(3)
    cells = [planned(arm, seed) for arm in (*LEVELS, *ARMS) for seed in range(seeds)]
    dump(path, manifest(tuple(cells)))
    for cell in cells:
        if cell.arm in LEVELS:
            answers = builders.exact(rng.random(512) < LEVELS[cell.arm], axis="digits")
            builders.write(path, builders.record(cell, (answers,)))
            continue
        a, b, left = ARMS[cell.arm]
        entropy_T = falling(left)
        reward_T = lawful(entropy_T, a, b) + noise(rng, 0.02)
        answers = builders.exact(rng.random(512) < reward_T[-1], axis="digits")
        builders.write(path, builders.record(cell, (answers,), history=history(entropy_T, reward_T)))
    return path


def manifest(cells: tuple[PlannedCell, ...]) -> Manifest:
    return builders.manifest(cells, CONTRASTS, name=NAME, title="Ceiling", fit_share=SHARE)
