"""Records of known scaling laws, known accuracies and known failures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from compare.calibrate import builders
from compare.store.manifest import Contrast, Manifest, PlannedCell, dump
from compare.store.record import Evaluation, Record, load

NAME = "scaling"
"""Of the experiment."""

BUDGETS = tuple(float(b) for b in np.geomspace(1e11, 1e13, 5))
ZERO = 1e11
FLOOR = 1.2

TEXT_LAWS = {"transformer": (3.0, 0.30), "ebt_s1": (3.0, 0.36), "ebt_one_step": (3.0, 0.30)}
"""Arm -> scale at ZERO and exponent of its loss over FLOOR."""
ADDITION_LAWS = {
    "transformer": (2.0, 0.30),
    "ebt_s1": (2.4, 0.30),
    "rl_grpo": (2.1, 0.28),
    "rl_clip_cov": (2.1, 0.28),
}
ACCURACY = {"transformer": 0.80, "ebt_s1": 0.66, "rl_grpo": 0.88, "rl_clip_cov": 0.93}
"""Arm -> exact answers at the largest budget."""

CONTRASTS = (
    Contrast(study="text", arm="ebt_s1", baseline="transformer", quantity="compute_multiplier", margin=0.1),
    Contrast(study="text", arm="ebt_one_step", baseline="transformer", quantity="final_loss", margin=0.05),
    Contrast(study="addition", arm="ebt_s1", baseline="transformer", quantity="final_error", margin=0.02),
    Contrast(study="addition", arm="rl_clip_cov", baseline="warm_start", quantity="reward_gain", margin=0.02),
)


def law(scale: float, alpha: float, compute: float) -> float:
    """Planted loss at a compute."""
    return FLOOR + scale * (compute / ZERO) ** -alpha


def record(planned: PlannedCell, evaluations: Iterable[Evaluation], **changes: Any) -> Record:
    """A finished record with everything that a cell leaves."""
    steps = list(range(0, 100, 5))
    history: dict[str, list[float | None]] = {
        "flops": [planned.budget * 0.99 * (s + 1) / 100 for s in steps],
        "step": [float(s) for s in steps],
        "loss": [3.0 - 0.01 * s + 0.001 * planned.seed for s in steps],
    }
    if planned.arm.startswith("rl_"):
        history["reward"] = [None if s < 20 else 0.5 + 0.004 * s + 0.01 * planned.seed for s in steps]
        history["entropy"] = [
            None if s < 20 else 1.0 * np.exp(-0.02 * s) + 0.02 * planned.seed for s in steps
        ]
    left: dict[str, Any] = {
        "config": {"arm": {"name": planned.arm}},
        "data": {"fingerprint": "f00d"},
        "commit": "abc1234",
        "environment": {"python": "3.12.1", "device": "cpu", "torch": "2.9"},
        "parameters": {"total": 120_000, "non_embedding": 98_304},
        "flops": planned.budget * 0.99,
        "flops_by": {"train": planned.budget * 0.99},
        "steps": 100,
        "problems": 12_800,
        "reward_queries": 6_400 if planned.arm.startswith("rl_") else 0,
        "seconds": {"train": 61.0, "evaluate": 2.0, "total": 64.0},
        "history": history,
    }
    return builders.record(planned, evaluations, **{**left, **changes})


def read(store: Path, planned: PlannedCell) -> Record:
    """The record of a cell."""
    return load(store / "cells" / planned.cell / "record.json")


def plan(seeds: int = 3, budgets: tuple[float, ...] = BUDGETS) -> tuple[PlannedCell, ...]:
    """Two studies, their arms, every budget and seed."""
    return tuple(
        builders.cell(arm, seed, study=study, size="4xs", budget=budget, cell=f"{study}-{arm}-{b}-{seed}")
        for study, laws in (("text", TEXT_LAWS), ("addition", ADDITION_LAWS))
        for arm in laws
        for b, budget in enumerate(budgets)
        for seed in range(seeds)
    )


def manifest(cells: Iterable[PlannedCell], **changes: Any) -> Manifest:
    """The manifest of this experiment."""
    plain = {
        "name": NAME,
        "title": "Energy against reward",
        "question": "Does energy beat reward at equal compute?",
        "command": "python -m compare +experiment=scaling",
        "commit": "abc1234",
        "contrasts": CONTRASTS,
        **changes,
    }
    return builders.manifest(cells, **plain)


def finished(planned: PlannedCell, rng: np.random.Generator, noise: float = 0.005) -> Record:
    """The record of a planned cell under the planted truth."""
    laws = TEXT_LAWS if planned.study == "text" else ADDITION_LAWS
    loss = law(*laws[planned.arm], planned.budget) * float(np.exp(noise * rng.standard_normal()))
    effort = "think_2" if planned.arm.startswith("ebt") else "likelihood"
    axis = "domain" if planned.study == "text" else "digits"
    evaluations = [
        builders.loss(loss, effort=effort, axis=axis),
        builders.loss(loss + 0.4 + 0.01 * rng.standard_normal(), effort=effort, axis=axis, severity=1),
    ]

    def exact(share: float, **changes: Any) -> Evaluation:
        return builders.exact(rng.random(200) < share, axis=axis, **changes)

    if planned.study == "addition":
        share = ACCURACY[planned.arm] / (1 + (4e11 / planned.budget) ** 1.2) + 0.02 * rng.random()
        answers = "think_2" if planned.arm.startswith("ebt") else "greedy"
        evaluations += [exact(share, effort=answers), exact(share * 0.3, severity=1, effort=answers)]
        if planned.arm.startswith("rl_"):
            sampled = exact(share, effort="sample")
            evaluations += [exact(share * 0.7, effort="sample", stage="warm_start"), sampled]
    return record(planned, evaluations)


def store(path: Path, seeds: int = 3, trouble: bool = True) -> Path:
    """A store with every record but one missing, one failed and one doctored (if `trouble`)."""
    rng = np.random.default_rng(7)
    cells = plan(seeds)
    dump(path, manifest(cells))
    for planned in cells:
        builders.write(path, finished(planned, rng))
    if trouble:
        failed, missing, doctored = cells[0], cells[4], cells[8]
        trace = 'Traceback:\n  File "/home/someone/secret/arena/cell.py", line 3, in fit\nValueError'
        reason = "loss is <script>alert('x')</script> | at step 3"
        builders.write(path, record(failed, (), status="failed", reason=reason, traceback=trace))
        (path / "cells" / missing.cell / "record.json").unlink()
        target = path / "cells" / doctored.cell / "record.json"
        target.write_text(target.read_text().replace('"seed": 2', '"seed": "2"'), encoding="utf-8")
    return path
