"""Several stores made into one: cells united by identity, manifests that name the same contrasts.

The result is itself a store, of records alone, so that its report's links lead somewhere and it can be
sent, rebuilt and combined further.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from compare.store import manifest as manifests
from compare.store import record as records
from compare.store.manifest import HAND_SET, ONE_BY_ONE, Manifest, ManifestError, PlannedCell, Settings
from compare.store.record import Record, RecordError
from compare.store.redaction import without_paths

NUMBERS_SHOWN = 3
"""Differing evaluations that a conflict quotes."""


def combine(stores: Sequence[Path], name: str, out: Path) -> Manifest:
    """Write experiment `name` of several stores, those that have it, to the store `out`.

    A cell that several hold is taken from the first of them in which it is done, else from the first that
    has a record of any kind, readable or not. Where two hold different results it is said in the remarks.

    Raises:
        ManifestError: no store has it, a manifest is unreadable, two name different contrasts, or plan
            different cells for one (study, arm, budget, seed). One line.
    """
    holding = [store for store in stores if name in manifests.names(store)]
    if not holding:
        raise ManifestError(f"no experiment {name} in {', '.join(map(str, stores))}")
    found = [manifests.load(store, name) for store in holding]
    first = found[0]
    for store, other in zip(holding[1:], found[1:], strict=True):
        _agree(holding[0], first, store, other)
        _same_settings(holding[0], first, store, other)
    cells: dict[tuple[str, str], PlannedCell] = {}
    for one in found:
        for cell in one.cells:
            cells.setdefault((cell.study, cell.cell), cell)
    # Studies in the order of the first plan, whichever store a cell came from.
    order = list(dict.fromkeys(cell.study for cell in cells.values()))
    remarks = [*dict.fromkeys(line for one in found for line in one.remarks), *_where_from(holding, found)]
    for identity in dict.fromkeys(cell.cell for cell in cells.values()):
        source, conflict = _choose(identity, holding)
        remarks += [conflict] if conflict else []
        if source is not None:
            target = out / "cells" / identity / "record.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            if not (target.exists() and target.samefile(source)):
                shutil.copyfile(source, target)
    united = dataclasses.replace(
        first,
        cells=tuple(sorted(cells.values(), key=lambda cell: order.index(cell.study))),
        # A store that was combined may be sent, and the folders of whoever ran it stay behind.
        command=without_paths(first.command),
        tuned=_settings(found),
        remarks=tuple(map(without_paths, remarks)),
    )
    manifests.dump(out, united)
    return united


def _agree(here: Path, first: Manifest, there: Path, other: Manifest) -> None:
    """Raise unless two manifests are to be judged alike."""
    if set(first.contrasts) != set(other.contrasts):
        ours, theirs = (
            set(first.contrasts) - set(other.contrasts),
            set(other.contrasts) - set(first.contrasts),
        )
        where, odd = (here, next(iter(ours))) if ours else (there, next(iter(theirs)))
        raise ManifestError(
            f"experiment {first.name}: {here} and {there} name different contrasts (only {where} has "
            f"{odd.study}: {odd.arm} against {odd.baseline}, {odd.quantity}, margin {odd.margin:g}); "
            "report them apart, or compare them with --diff"
        )
    if first.fit_share != other.fit_share:
        raise ManifestError(
            f"experiment {first.name}: {here} has fit_share={first.fit_share:g}, {there} "
            f"{other.fit_share:g}; report them apart, or compare them with --diff"
        )
    if (first.axis, other.axis) != ("flops", "flops"):
        raise ManifestError(
            f"experiment {first.name}: {here} varies {first.axis}, {there} {other.axis}; each plan numbers "
            "its own rungs, so only studies over FLOPs are combined; report them apart, or compare them with "
            "--diff"
        )


def _same_settings(here: Path, first: Manifest, there: Path, other: Manifest) -> None:
    """Raise if an arm that both plan has other settings in one than in the other: it would be two arms."""
    if first.name == ONE_BY_ONE:
        return
    ours, theirs = (
        {
            key: next((s.chosen for s in one.tuned or () if (s.study, s.arm, s.size) == key), HAND_SET)
            for key in dict.fromkeys((c.study, c.arm, c.size) for c in one.cells)
        }
        for one in (first, other)
    )
    for key in ours.keys() & theirs.keys():
        if ours[key] != theirs[key]:
            study, arm, size = key
            raise ManifestError(
                f"experiment {first.name}: study {study}, {arm}, size {size}: settings are {ours[key]} in "
                f"{here}, {theirs[key]} in {there}; report them apart, or compare them with --diff"
            )


def _settings(found: Sequence[Manifest]) -> tuple[Settings, ...] | None:
    """What any of the manifests tells of where settings come from; None if none does."""
    told = [one.tuned for one in found if one.tuned is not None]
    return tuple(dict.fromkeys(settings for one in told for settings in one)) if told else None


def _where_from(stores: Sequence[Path], found: Sequence[Manifest]) -> list[str]:
    """What was combined; folders are not named, since a report travels."""
    if len(stores) < 2:
        return []
    return [
        f"store {i} of {len(stores)}: {len(one.cells)} cells planned at commit {one.commit} by {one.command}"
        for i, one in enumerate(found, 1)
    ]


def _choose(identity: str, stores: Sequence[Path]) -> tuple[Path | None, str]:
    """The record of a cell that counts, and a line if others differ from it."""
    held: list[tuple[int, Path, Record | None]] = []
    for number, store in enumerate(stores, 1):
        path = store / "cells" / identity / "record.json"
        if path.exists():
            try:
                held.append((number, path, records.load(path)))
            except RecordError:
                held.append((number, path, None))
    if not held:
        return None, ""
    done = [(number, path, r) for number, path, r in held if r is not None and r.status == "done"]
    if not done:
        return held[0][1], ""
    number, path, ours = done[0]
    for other, _, theirs in done[1:]:
        said = difference(ours, theirs)
        if said:
            return path, f"cell {identity}: store {number}, which counts, and store {other} differ: {said}"
    return path, ""


def difference(a: Record, b: Record) -> str:
    """What came out differently in two records of one cell, a and b in turn; empty if nothing did.

    Wall time, machine and history are no results.
    """
    if a.status != b.status:
        return f"{a.status} and {b.status}"
    found = []
    keyed = [{(e.stage, e.axis, e.severity, e.effort, e.metric): e for e in r.evaluations} for r in (a, b)]
    for key in dict.fromkeys([*keyed[0], *keyed[1]]):
        one, two = keyed[0].get(key), keyed[1].get(key)
        if one == two:
            continue
        stage, axis, severity, effort, metric = key
        values = " and ".join("none" if e is None else f"{e.value:.6g}" for e in (one, two))
        same = " (not problem by problem)" if one and two and one.value == two.value else ""
        found.append(f"{metric} ({stage}, {effort}, {axis} {severity}) {values}{same}")
    if not found and (a.flops, a.steps) != (b.flops, b.steps):
        found.append(f"{a.flops:.4g} and {b.flops:.4g} FLOPs, {a.steps} and {b.steps} steps")
    more = len(found) - NUMBERS_SHOWN
    return "; ".join(found[:NUMBERS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
