"""Synthetic records whose classes of tokens settle when they are told to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compare.calibrate import builders
from compare.stats.intervals import Array
from compare.store.evidence import Run
from compare.store.manifest import Contrast, Manifest, PlannedCell, dump

NAME = "anatomy"
"""Of the experiment."""

BUDGET, ROWS, WARM = 5e11, 200, 40

PLACES = {
    **dict.fromkeys((4, 9, 14, 15), "plan"),
    **dict.fromkeys((0, 1, 2, 3, 5, 6, 7, 8, 10, 11), "execute"),
}
"""Place -> class, of a chain in which planning comes in between."""

GAINS = {"rl_grpo": 0.2, "rl_forking": 0.3, "rl_random_tokens": 0.2}
"""Arm -> exact answers gained over a warm start of .4."""

CONTRASTS = (
    Contrast(
        study="chain", arm="rl_forking", baseline="rl_random_tokens", quantity="extra_gain", margin=0.02
    ),
    Contrast(study="chain", arm="rl_grpo", baseline="all_tokens", quantity="forking_excess", margin=0.05),
    Contrast(study="chain", arm="rl_grpo", baseline="execute_tokens", quantity="entropy_lag", margin=0.1),
    Contrast(study="chain", arm="rl_grpo", baseline="execute_tokens", quantity="error_lag", margin=0.1),
)

SHARE = np.arange(1, ROWS + 1) / ROWS


def settling(at: float, start: float = 1.0, end: float = 0.2, width: float = 0.05) -> Array:
    """A curve that falls from start to end, half-way at a share of the compute."""
    return end + (start - end) / (1 + np.exp((SHARE - at) / width))


def history(times: Mapping[int, float], noise: Array | None = None) -> dict[str, list[float | None]]:
    """Columns of a run whose places settle at the given times, in entropy (from 1 nat) and error (from .4).

    Args:
        noise: (2, places, ROWS), added.
    """
    blank: list[float | None] = [None] * WARM
    columns: dict[str, list[float | None]] = {
        "step": [float(i) for i in range(WARM + ROWS)],
        "flops": [BUDGET * 0.99 * (i + 1) / (WARM + ROWS) for i in range(WARM + ROWS)],
        "reward": blank + (0.4 + 0.2 * SHARE).tolist(),
        "entropy": blank + (1 - 0.5 * SHARE).tolist(),
    }
    for row, (place, at) in enumerate(times.items()):
        for which, (measure, start, end) in enumerate((("entropy", 1.0, 0.2), ("error", 0.4, 0.05))):
            extra = 0.0 if noise is None else noise[which, row]
            columns[f"{measure}_{PLACES[place]}_{place}"] = (
                blank + (settling(at, start, end) + extra).tolist()
            )
    columns["entropy_answer"] = blank + settling(0.6).tolist()
    columns["error_answer"] = blank + settling(0.6, 0.3, 0.1).tolist()
    survey = {
        "tokens_above_0.01": (0.9, 0.6),
        "tokens_above_0.1": (0.6, 0.3),
        "tokens_above_1": (0.2, 0.1),
        "entropy_in_forks": (0.7, 0.9),
        "tokens_plan": (0.2, 0.2),
        "forks_plan": (0.5, 0.4),
        "held_out_entropy_plan": (1.0, 0.2),
        "tokens_execute": (0.5, 0.5),
        "forks_execute": (0.3, 0.2),
        "held_out_entropy_execute": (0.5, 0.2),
    }
    for name, (first, last) in survey.items():
        columns[name] = [*blank, first, *([None] * (ROWS - 2)), last]
    return columns


def times(plan: float, execute: float, spread: Sequence[float] | None = None) -> dict[int, float]:
    """When each place settles: its class's time, plus its own spread."""
    own = [0.0] * len(PLACES) if spread is None else spread
    return {
        place: (plan if name == "plan" else execute) + extra
        for (place, name), extra in zip(PLACES.items(), own, strict=True)
    }


def jitter(rng: np.random.Generator, size: float = 0.05) -> Array:
    """Noise of rollouts, (2, places, ROWS)."""
    return size * rng.standard_normal((2, len(PLACES), ROWS))


def planned(arm: str, seed: int) -> PlannedCell:
    return builders.cell(arm, seed, study="chain", budget=BUDGET, cell=f"{arm}-{seed}")


def run(arm: str, seed: int, columns: Mapping[str, list[float | None]]) -> Run:
    """A finished run with a history, and no evaluations."""
    return builders.run(planned(arm, seed), history=dict(columns))


def store(path: Path, plan: float = 0.6, execute: float = 0.25, seeds: int = 3) -> Path:
    """A store with every cell done: one warm start a seed, gains as planted, classes that settle in order."""
    rng = np.random.default_rng(5)
    cells = [planned(arm, seed) for arm in GAINS for seed in range(seeds)]
    dump(path, manifest(tuple(cells)))
    draws = {seed: rng.random(512) for seed in range(seeds)}
    for cell in cells:
        own = times(plan, execute, (0.02 * rng.standard_normal(len(PLACES))).tolist())
        answers = [
            builders.exact(draws[cell.seed] < share, axis="digits", effort="sample", stage=stage)
            for stage, share in (("warm_start", 0.4), ("final", 0.4 + GAINS[cell.arm]))
        ]
        columns = history(own, jitter(rng, 0.02))
        builders.write(path, builders.record(cell, answers, history=columns))
    return path


def manifest(cells: tuple[PlannedCell, ...]) -> Manifest:
    return builders.manifest(cells, CONTRASTS, name=NAME, title="Anatomy")
