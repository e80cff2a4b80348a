"""Records, plans and experiments made by hand, as cells would leave them: for planted studies and tests."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from compare.store import record as records
from compare.store.evidence import Evidence, Run
from compare.store.manifest import Contrast, Manifest, PlannedCell
from compare.store.record import Evaluation, Record


def cell(arm: str, seed: int, *, study: str = "planted", budget: float = 1e12, **changes: Any) -> PlannedCell:
    """A planned cell; unless changed, its task is its study and its size 6xs."""
    plain: dict[str, Any] = {"cell": f"{study}-{arm}-{budget:.0f}-{seed}", "task": study, "size": "6xs"}
    return PlannedCell(study=study, arm=arm, budget=budget, seed=seed, **plain | changes)


def loss(value: float, **changes: Any) -> Evaluation:
    """A loss in nats per token, in distribution at the end, unless changed."""
    plain: dict[str, Any] = {"effort": "likelihood", "metric": "loss", "value": value, "sd": 0.5}
    return Evaluation(**_PLAIN | plain | changes)


def exact(right: Iterable[Any], **changes: Any) -> Evaluation:
    """Exact answers: one outcome per problem, right where it is true, 1 or "1"."""
    bits = "".join(str(int(bit)) for bit in right)
    share = bits.count("1") / len(bits)
    plain: dict[str, Any] = {"effort": "greedy", "metric": "exact", "n": len(bits), "outcomes": bits}
    plain |= {"value": share, "sd": math.sqrt(share * (1 - share))}
    return Evaluation(**_PLAIN | plain | changes)


_PLAIN: dict[str, Any] = {"stage": "final", "axis": "planted", "severity": 0, "n": 100}


def record(planned: PlannedCell, evaluations: Iterable[Evaluation], **changes: Any) -> Record:
    """What a cell leaves that spent its budget and was evaluated so."""
    plain: dict[str, Any] = {
        "status": "done",
        "config": {},
        "data": {},
        "commit": "",
        "environment": {},
        "flops": planned.budget,
        "evaluations": tuple(evaluations),
        **changes,
    }
    same = ("cell", "arm", "task", "size", "budget", "seed")
    return Record(**{name: getattr(planned, name) for name in same}, **plain)


def write(store: Path, entry: Record) -> Path:
    """Put a record where a store keeps it, as it is, and return its path."""
    path = store / "cells" / entry.cell / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(records.dump(entry), encoding="utf-8")
    return path


def run(planned: PlannedCell, *evaluations: Evaluation, **changes: Any) -> Run:
    """A finished run with these evaluations and no others."""
    return Run(planned=planned, record=record(planned, evaluations, **changes))


def manifest(cells: Iterable[PlannedCell], contrasts: Iterable[Contrast] = (), **changes: Any) -> Manifest:
    """The plan of an experiment."""
    plain: dict[str, Any] = {
        "name": "planted",
        "title": "Planted",
        "question": "Is what was planted measured?",
        "command": "python -m compare.calibrate",
        "commit": "",
        **changes,
    }
    return Manifest(contrasts=tuple(contrasts), cells=tuple(cells), **plain)


def finished(contrasts: Iterable[Contrast], runs: Iterable[Run], **changes: Any) -> Evidence:
    """An experiment all of whose cells are done; its manifest otherwise as `manifest` makes it."""
    runs = tuple(runs)
    plan = manifest((run.planned for run in runs), contrasts, **changes)
    return Evidence(manifest=plan, runs=runs, troubles=())
