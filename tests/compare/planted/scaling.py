"""Synthetic records with known truth: planted scaling laws, planted accuracies, planted failures."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from compare.store import record as records
from compare.store.manifest import Contrast, Manifest, PlannedCell, dump
from compare.store.record import Evaluation, Record

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


def evaluation(metric: str, value: float, **changes: object) -> Evaluation:
    """A loss evaluation, unless changed."""
    base = Evaluation(
        stage="final",
        axis="domain",
        severity=0,
        effort="likelihood",
        metric=metric,
        value=value,
        n=100,
        sd=0.5,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def exact(share: float, rng: np.random.Generator, n: int = 200, **changes: object) -> Evaluation:
    """Exact answers with `n` outcomes drawn at a rate."""
    bits = "".join("1" if draw else "0" for draw in rng.random(n) < share)
    value = bits.count("1") / n
    sd = float(np.sqrt(value * (1 - value)))
    return evaluation("exact", value, axis="digits", effort="greedy", n=n, sd=sd, outcomes=bits, **changes)


def record(planned: PlannedCell, evaluations: tuple[Evaluation, ...], **changes: object) -> Record:
    """A finished record of a planned cell."""
    steps = list(range(0, 100, 5))
    history: dict[str, list[float | None]] = {
        "flops": [planned.budget * 0.99 * (s + 1) / 100 for s in steps],
        "step": [float(s) for s in steps],
        "loss": [3.0 - 0.01 * s for s in steps],
    }
    if planned.arm.startswith("rl_"):
        history["reward"] = [None if s < 20 else 0.5 + 0.004 * s + 0.01 * planned.seed for s in steps]
        history["entropy"] = [
            None if s < 20 else 1.0 * np.exp(-0.02 * s) + 0.02 * planned.seed for s in steps
        ]
    base = Record(
        cell=planned.cell,
        arm=planned.arm,
        task=planned.task,
        size=planned.size,
        budget=planned.budget,
        seed=planned.seed,
        status="done",
        config={"arm": {"name": planned.arm}},
        data={"fingerprint": "f00d"},
        commit="abc1234",
        environment={"python": "3.12.1", "device": "cpu", "torch": "2.9"},
        parameters={"total": 120_000, "non_embedding": 98_304},
        flops=planned.budget * 0.99,
        flops_by={"train": planned.budget * 0.99},
        steps=100,
        problems=12_800,
        reward_queries=6_400 if planned.arm.startswith("rl_") else 0,
        seconds={"train": 61.0, "evaluate": 2.0, "total": 64.0},
        history=history,
        evaluations=evaluations,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def write(store: Path, entry: Record) -> Path:
    """Put a record where a store keeps it."""
    path = store / "cells" / entry.cell / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(records.dump(entry), encoding="utf-8")
    return path


def read(store: Path, planned: PlannedCell) -> Record:
    """The record of a cell."""
    return records.load(store / "cells" / planned.cell / "record.json")


def plan(seeds: int = 3, budgets: tuple[float, ...] = BUDGETS) -> tuple[PlannedCell, ...]:
    """Two studies, their arms, every budget and seed."""
    studies = [("text", "text", TEXT_LAWS), ("addition", "addition", ADDITION_LAWS)]
    return tuple(
        PlannedCell(
            cell=f"{study}-{arm}-{b}-{seed}",
            study=study,
            arm=arm,
            task=task,
            size="4xs",
            budget=budget,
            seed=seed,
        )
        for study, task, laws in studies
        for arm in laws
        for b, budget in enumerate(budgets)
        for seed in range(seeds)
    )


def manifest(cells: tuple[PlannedCell, ...], **changes: object) -> Manifest:
    """The manifest of this experiment."""
    base = Manifest(
        name="scaling",
        title="Energy against reward",
        question="Does energy beat reward at equal compute?",
        command="python -m compare +experiment=scaling",
        commit="abc1234",
        contrasts=CONTRASTS,
        cells=cells,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def finished(planned: PlannedCell, rng: np.random.Generator, noise: float = 0.005) -> Record:
    """The record of a planned cell under the planted truth."""
    laws = TEXT_LAWS if planned.study == "text" else ADDITION_LAWS
    loss = law(*laws[planned.arm], planned.budget) * float(np.exp(noise * rng.standard_normal()))
    effort = "think_2" if planned.arm.startswith("ebt") else "likelihood"
    axis = "domain" if planned.study == "text" else "digits"
    evaluations = [
        evaluation("loss", loss, effort=effort, axis=axis),
        evaluation("loss", loss + 0.4 + 0.01 * rng.standard_normal(), effort=effort, axis=axis, severity=1),
    ]
    if planned.study == "addition":
        share = ACCURACY[planned.arm] / (1 + (4e11 / planned.budget) ** 1.2) + 0.02 * rng.random()
        answers = "think_2" if planned.arm.startswith("ebt") else "greedy"
        evaluations += [
            replace(exact(share, rng), effort=answers),
            replace(exact(share * 0.3, rng, severity=1), effort=answers),
        ]
        if planned.arm.startswith("rl_"):
            sampled = replace(exact(share, rng), effort="sample")
            start = replace(exact(share * 0.7, rng), effort="sample", stage="warm_start")
            evaluations += [start, sampled]
    return record(planned, tuple(evaluations))


def store(path: Path, seeds: int = 3, trouble: bool = True) -> Path:
    """A store with every record but one missing, one failed and one doctored (if `trouble`)."""
    rng = np.random.default_rng(7)
    cells = plan(seeds)
    dump(path, manifest(cells))
    for planned in cells:
        write(path, finished(planned, rng))
    if trouble:
        failed, missing, doctored = cells[0], cells[4], cells[8]
        trace = 'Traceback:\n  File "/home/someone/secret/arena/cell.py", line 3, in fit\nValueError'
        reason = "loss is <script>alert('x')</script> | at step 3"
        write(path, record(failed, (), status="failed", reason=reason, traceback=trace))
        (path / "cells" / missing.cell / "record.json").unlink()
        target = path / "cells" / doctored.cell / "record.json"
        target.write_text(target.read_text().replace('"seed": 2', '"seed": "2"'), encoding="utf-8")
    return path
