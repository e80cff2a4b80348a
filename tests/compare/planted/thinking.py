"""Records whose ladders are known: who gains from thinking, how much, at which cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from compare.analysis.thinking.quantities import CHEAPEST
from compare.calibrate import builders
from compare.store.evidence import Run
from compare.store.manifest import Contrast, PlannedCell, dump
from compare.store.record import Evaluation

NAME = "thinking"
"""Of the experiment."""

BUDGET = 1e11
PROBLEMS = 256
LADDERS: dict[str, dict[str, tuple[float, float]]] = {
    "transformer": {
        "greedy": (1e6, 0.50),
        "sample": (1e6, 0.40),
        "likelihood@4": (3e6, 0.55),
        "majority@4": (3e6, 0.50),
        "likelihood@16": (1e7, 0.60),
        "oracle@4": (3e6, 0.70),
        "oracle@16": (1e7, 0.90),
    },
    "ebt_s1": {"think_1": (2e6, 0.40), "think_8": (2e7, 0.40), "think_2": (4e6, 0.40)},
    "looped": {"loop_1": (1e6, 0.20), "loop_8": (8e6, 0.70), "loop_4": (4e6, 0.65)},
    "rl_grpo": {"greedy": (1e6, 0.60)},
}
"""Arm -> effort -> FLOPs an answer and share of exact answers in distribution."""
CONTRASTS = (
    Contrast(study="sudoku", arm="transformer", baseline=CHEAPEST, quantity="thinking_gain", margin=0.03),
    Contrast(study="sudoku", arm="ebt_s1", baseline=CHEAPEST, quantity="thinking_gain", margin=0.03),
    Contrast(study="sudoku", arm="ebt_s1", baseline="transformer", quantity="thinking_gain", margin=0.03),
    Contrast(study="sudoku", arm="ebt_s1", baseline="transformer", quantity="thinking_area", margin=0.03),
    Contrast(
        study="sudoku", arm="looped", baseline=CHEAPEST, quantity="thinking_gain", margin=0.03, severity=1
    ),
    Contrast(study="sudoku", arm="rl_grpo", baseline="transformer", quantity="thinking_area", margin=0.03),
)


def planned(arm: str, seed: int, study: str = "sudoku") -> PlannedCell:
    return builders.cell(arm, seed, study=study, budget=BUDGET, cell=f"{study}-{arm}-{seed}")


def exact(effort: str, flops: float, bits: str, severity: int = 0) -> Evaluation:
    """An evaluation with these outcomes."""
    return builders.exact(bits, axis="blanks", severity=severity, effort=effort, flops=flops)


def run(arm: str, seed: int, *evaluations: Evaluation) -> Run:
    """A finished run with these evaluations and no others."""
    return builders.run(planned(arm, seed), *evaluations)


def ladder(arm: str, luck: np.ndarray, severity: int = 0, lift: float = 0.0) -> tuple[Evaluation, ...]:
    """The planted shares, each problem right where its luck says so: efforts are paired as in truth."""
    return tuple(
        exact(
            effort,
            flops,
            "".join("1" if x < (share + lift) * (1 - severity / 2) else "0" for x in luck),
            severity,
        )
        for effort, (flops, share) in LADDERS[arm].items()
    )


def store(path: Path, seeds: int = 5) -> Path:
    """Every arm on a task, and the transformer with a chain too, which gains 0.2 in distribution."""
    rng = np.random.default_rng(5)
    cells = [planned(arm, seed) for arm in LADDERS for seed in range(seeds)]
    cells += [planned("transformer", seed, "sudoku_chain") for seed in range(seeds)]
    dump(path, builders.manifest(cells, CONTRASTS, name=NAME))
    hard = rng.random(PROBLEMS)
    for cell in cells:
        luck = np.clip(hard + 0.05 * rng.standard_normal(PROBLEMS), 0, 1)
        chain = cell.study == "sudoku_chain"
        evaluations = (*ladder(cell.arm, luck, 0, 0.2 * chain), *ladder(cell.arm, luck, 1))
        if chain:
            evaluations = tuple(replace(e, flops=2 * e.flops) for e in evaluations)
        task = {"kind": "sudoku", "name": cell.task, "side": 4, "chain": chain}
        config = {"arm": {"name": cell.arm}, "task": task}
        builders.write(path, builders.record(cell, evaluations, config=config))
    return path
