"""What a store holds of an experiment: the records it planned, and what became of the others.

Nothing here can fail on one bad cell: a record that is missing, unreadable, failed, or another cell's
is counted with its reason, and the rest is evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compare.store import record as records
from compare.store.manifest import Manifest, PlannedCell
from compare.store.record import Evaluation, Record
from compare.store.redaction import without_paths

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
    """`failed`, `missing` or `unreadable`."""
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
    troubles = tuple(result for result in results if isinstance(result, Trouble))
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
