"""What a store holds of an experiment: the records it planned, and what became of the others.

Nothing here can fail on one bad cell: a record that is missing, unreadable, failed, another cell's, on other
data than its study or a copy of another seed's is counted with its reason, and the rest is evidence.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compare.store import record as records
from compare.store.manifest import Manifest, PlannedCell
from compare.store.record import Evaluation, Record
from compare.store.redaction import without_paths

OF_ARM = "pretrained"
"""With which keys begin that tell what an arm starts from, beside the data of its task."""
FEW = 64
"""Problems on which two seeds may give the same answers by chance."""

Progress = Callable[[str], None] | None
"""Is called with a line on what is being done, if somebody wants to know."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A planned cell that is done, and its record."""

    planned: PlannedCell
    record: Record

    @property
    def rung(self) -> float:
        """What tells points of an arm apart: number of the rung, or budget where FLOPs are the axis."""
        return self.planned.rung or self.planned.budget

    @property
    def find(self) -> Callable[..., Evaluation | None]:
        """The record's own `find`."""
        return self.record.find


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A planned cell that gave no result."""

    planned: PlannedCell
    kind: str
    """`failed`, `missing`, `unreadable`, or `left out`: it cannot stand beside the rest of its study."""
    reason: str
    """One line."""
    traceback: str = ""
    record: Record | None = None
    """What a failed cell left."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The manifest, the runs that count, and the cells that do not."""

    manifest: Manifest
    runs: tuple[Run, ...]
    troubles: tuple[Trouble, ...]

    def study(self, name: str) -> tuple[Run, ...]:
        """Runs of one study."""
        return tuple(run for run in self.runs if run.planned.study == name)

    @property
    def studies(self) -> tuple[str, ...]:
        """Names of the studies, in the order planned."""
        return tuple(dict.fromkeys(cell.study for cell in self.manifest.cells))


def collect(store: Path, manifest: Manifest, progress: Progress = None) -> Evidence:
    """Read every planned cell's record from `<store>/cells/<hash>/record.json`."""
    results: list[Run | Trouble] = []
    for number, planned in enumerate(manifest.cells, 1):
        if progress is not None:
            progress(f"reading record {number} of {len(manifest.cells)}")
        results.append(_read(store, planned))
    runs = tuple(result for result in results if isinstance(result, Run))
    reasons = _on_other_data(runs) | _copies(runs)
    out = {i: Trouble(planned=runs[i].planned, kind="left out", reason=text) for i, text in reasons.items()}
    runs = tuple(run for i, run in enumerate(runs) if i not in out)
    troubles = (*(result for result in results if isinstance(result, Trouble)), *out.values())
    return Evidence(manifest=manifest, runs=runs, troubles=troubles)


def _read(store: Path, planned: PlannedCell) -> Run | Trouble:
    path = store / "cells" / planned.cell / "record.json"
    if not path.exists():
        return Trouble(planned=planned, kind="missing", reason="planned, but the store holds no record of it")
    try:
        record = records.load(path)
    except records.RecordError as error:
        reason = str(error).replace(str(path), "record.json")
        return Trouble(planned=planned, kind="unreadable", reason=without_paths(reason))
    for name in ("cell", "arm", "task", "size", "budget", "seed"):
        recorded, meant = getattr(record, name), getattr(planned, name)
        if recorded != meant:
            reason = f"the record says {name}={recorded}, the plan {name}={meant}; {records.REMEDY}"
            return Trouble(planned=planned, kind="unreadable", reason=reason)
    if record.status == "failed":
        reason, trace = map(without_paths, (record.reason or "no reason given", record.traceback))
        return Trouble(planned=planned, kind="failed", reason=reason, traceback=trace, record=record)
    return Run(planned=planned, record=record)


def _on_other_data(runs: Sequence[Run]) -> dict[int, str]:
    """Number of each run whose data are not those of most runs of its study, the first in a tie, and why."""
    described = [_words(run.record.data) for run in runs]
    reasons = dict[int, str]()
    for study in dict.fromkeys(run.planned.study for run in runs):
        here = [i for i, run in enumerate(runs) if run.planned.study == study]
        ((most, count),) = Counter(described[i] for i in here).most_common(1)
        for i in here:
            if described[i] != most:
                others = f"{count} of the study's {len(here)} runs have {most}"
                reasons[i] = f"its data are {described[i]}, while {others}"
    return reasons


def _words(data: dict[str, Any]) -> str:
    """Fingerprint of a task's data in a few words; what one arm alone starts from may differ."""
    return ", ".join(f"{k} {v}" for k, v in sorted(data.items()) if not k.startswith(OF_ARM)) or "not told"


def _copies(runs: Sequence[Run]) -> dict[int, str]:
    """Number of each run that is an earlier one under another seed, and why it cannot count as two."""
    first, reasons = dict[tuple[object, ...], Run](), dict[int, str]()
    for i, run in enumerate(runs):
        place = run.planned.study, run.planned.arm, run.planned.size, run.rung, run.planned.trial
        for what, content in _traces_of_chance(run.record):
            other = first.setdefault((*place, what, content), run)
            if other is not run:
                told = f"seed {other.planned.seed} (cell {other.planned.cell})"
                reasons[i] = f"its {what} are those of {told}: one run cannot count as two seeds"
    return reasons


def _traces_of_chance(record: Record) -> Iterator[tuple[str, str]]:
    """What is never equal under two seeds: courses of training, losses, answers that are not all alike."""
    courses = {n: c for n, c in record.history.items() if n not in ("step", "flops") and len(set(c)) > 2}
    if courses:
        yield "histories", json.dumps(courses, sort_keys=True)
    told = [e for e in record.evaluations if e.metric == "loss" or len(set(e.outcomes)) > 1]
    if any(e.metric == "loss" or e.n >= FEW for e in told):
        yield "evaluations", repr([replace(e, flops=0.0) for e in told])
