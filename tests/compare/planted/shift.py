"""Synthetic records whose decay under shift, and whose gain from thinking, are known by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from compare.calibrate import builders
from compare.store.evidence import Run
from compare.store.manifest import Contrast, Manifest, PlannedCell, dump
from compare.store.record import Evaluation

NAME = "ood"
"""Of the experiment."""

BUDGET, PROBLEMS = 4e11, 100
Levels = Mapping[str, Sequence[float]]
"""Axis -> a metric at severities 0, 1, ..."""

CONTRASTS = (
    Contrast(
        study="letters",
        arm="ebt_s1",
        baseline="transformer",
        quantity="decay_slope",
        margin=0.01,
        axis="element",
    ),
    Contrast(
        study="letters",
        arm="rl_grpo",
        baseline="transformer",
        quantity="decay_slope",
        margin=0.01,
        axis="element",
    ),
    Contrast(study="letters", arm="rl_grpo", baseline="transformer", quantity="retained_share", margin=0.01),
    Contrast(
        study="letters",
        arm="ebt_s1",
        baseline="transformer",
        quantity="decay_slope",
        margin=0.01,
        axis="format",
    ),
    Contrast(study="letters", arm="ebt_s1", baseline="severity", quantity="thinking_shift", margin=0.1),
)

EXACT: dict[str, Levels] = {
    "transformer": {"element": (0.9, 0.6, 0.3, 0.0), "format": (0.9, 0.01, 0.0)},
    "ebt_s1": {"element": (0.9, 0.8, 0.7, 0.6), "format": (0.9, 0.0, 0.01)},
    "rl_grpo": {"element": (0.9, 0.5, 0.1, -0.3), "format": (0.9, 0.0, 0.01)},
}
"""Arm -> exact answers; below 0 counts as 0. Slopes of element: .3, .1, .37 lost a severity."""

GUESSED = {"element": [0.25] * 4, "format": [0.25, 0.125, 0.125]}
"""Axis -> chance of a blind guess by severity."""

GAIN = 0.02
"""Exact answers gained by the most thinking, a severity."""


def planned(arm: str, seed: int) -> PlannedCell:
    return builders.cell(arm, seed, study="letters", task="dataalchemy", budget=BUDGET, cell=f"{arm}-{seed}")


def answered(share: float, axis: str, severity: int, seed: int, **changes: object) -> Evaluation:
    """Exact answers at a share of PROBLEMS; which of them are right depends on all but the arm."""
    right = round(min(max(share, 0.0), 1.0) * PROBLEMS)
    order = np.random.default_rng([seed, severity, len(axis)]).permutation(PROBLEMS)
    return builders.exact(order < right, axis=axis, severity=severity, **changes)


def places(levels: Levels) -> list[tuple[str, int, float]]:
    """Axis, severity and level, severity 0 once, under the first axis."""
    first = next(iter(levels))
    within = [(first, 0, levels[first][0])]
    return within + [(a, s, each[s]) for a, each in levels.items() for s in range(1, len(each))]


def run(arm: str, seed: int, evaluations: Sequence[Evaluation]) -> Run:
    return builders.run(planned(arm, seed), *evaluations)


def exact_run(arm: str, seed: int, levels: Levels) -> Run:
    """A run with exact answers only."""
    return run(arm, seed, [answered(v, axis, s, seed) for axis, s, v in places(levels)])


def loss_run(arm: str, seed: int, levels: Levels) -> Run:
    """A run with a loss only."""
    return run(arm, seed, [builders.loss(v, axis=a, severity=s) for a, s, v in places(levels)])


def finished(cell: PlannedCell) -> tuple[Evaluation, ...]:
    """Everything that an arm's cell would hold: seeds differ in the level, not in the decay."""
    found: list[Evaluation] = []
    thinks = cell.arm.startswith("ebt")
    for axis, severity, share in places(EXACT[cell.arm]):
        value = share + 0.01 * cell.seed
        loss = 0.1 + 0.5 * severity + 0.01 * cell.seed * (severity + 1)
        base = answered(value, axis, severity, cell.seed, flops=2e6)
        if thinks:
            gain = GAIN * severity + 0.01 * (cell.seed == 1 and severity == 2)
            less = answered(value - gain, axis, severity, cell.seed, flops=1e6)
            found.append(replace(less, effort="think_1"))
            base = replace(base, effort="think_2")
        found.append(base)
        for metric, number in (
            ("edit", 0.1 * severity),
            ("plan", 1 - 0.2 * severity),
            ("execution", 1 - 0.1 * severity),
            ("chain", 1 - 0.25 * severity),
            ("text", 1 - 0.3 * severity),
            ("text_edit", 0.05 * severity),
            ("text_bleu", 1 - 0.2 * severity),
        ):
            found.append(replace(base, metric=metric, value=number, outcomes=""))
        found.append(builders.loss(loss, axis=axis, severity=severity, effort=base.effort, flops=2e6))
    return tuple(found)


def manifest(cells: tuple[PlannedCell, ...]) -> Manifest:
    return builders.manifest(cells, CONTRASTS, name=NAME, title="Decay")


def store(path: Path, seeds: int = 3) -> Path:
    """A store with every planted arm, every cell done."""
    cells = tuple(planned(arm, seed) for arm in EXACT for seed in range(seeds))
    dump(path, manifest(cells))
    for cell in cells:
        # Records of one arm are older than that they tell what a blind guess gets right.
        known = {} if cell.arm == "transformer" else GUESSED
        builders.write(path, builders.record(cell, finished(cell), guess_rates=known))
    return path
