"""Several stores made into one: cells united by identity, manifests that name the same contrasts.

The result is itself a store, of records alone, so that its report's links lead somewhere and it can be
sent, rebuilt and combined further.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from compare.store import manifest as manifests
from compare.store import prereg
from compare.store import record as records
from compare.store.files import write_atomically
from compare.store.manifest import HAND_SET, ONE_BY_ONE, Manifest, ManifestError, PlannedCell
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
    plans = [manifests.load(store, name) for store in holding]
    first = plans[0]
    for store, other in zip(holding[1:], plans[1:], strict=True):
        if reason := _unlike(holding[0], first, store, other):
            raise ManifestError(
                f"experiment {name}: {reason}; report them apart, or compare them with --diff"
            )
    cells: dict[tuple[str, str], PlannedCell] = {}
    for plan in plans:
        for cell in plan.cells:
            cells.setdefault((cell.study, cell.cell), cell)
    # Studies in the order of the first plan, whichever store a cell came from.
    order = list(dict.fromkeys(cell.study for cell in cells.values()))
    remarks = list(dict.fromkeys(line for plan in plans for line in plan.remarks))
    if len(plans) > 1:  # folders are not named, since a report travels
        remarks += [
            f"store {i} of {len(plans)}: {len(plan.cells)} cells planned at commit {plan.commit} by "
            f"{plan.command}"
            for i, plan in enumerate(plans, 1)
        ]
    for identity in dict.fromkeys(cell.cell for cell in cells.values()):
        source, conflict = _choose(identity, holding)
        remarks += [conflict] if conflict else []
        target = out / "cells" / identity / "record.json"
        if source is not None and not (target.exists() and target.samefile(source)):
            write_atomically(target, source.read_bytes())
    for freeze in [path for store in holding for path in prereg.kept(store, name)]:
        prereg.keep(freeze, out)
    told = [plan.tuned for plan in plans if plan.tuned is not None]
    united = dataclasses.replace(
        first,
        cells=tuple(sorted(cells.values(), key=lambda cell: order.index(cell.study))),
        # A store that was combined may be sent, and the folders of whoever ran it stay behind.
        command=without_paths(first.command),
        tuned=tuple(dict.fromkeys(settings for plan in told for settings in plan)) if told else None,
        remarks=tuple(map(without_paths, remarks)),
    )
    manifests.dump(out, united)
    return united


def _unlike(here: Path, first: Manifest, there: Path, other: Manifest) -> str:
    """Why two manifests cannot be judged as one study; empty if they can."""
    for where, ours, theirs in ((here, first, other), (there, other, first)):
        if odd := next((c for c in ours.contrasts if c not in theirs.contrasts), None):
            return f"{here} and {there} name different contrasts (only {where} has {odd.label})"
    if first.fit_share != other.fit_share:
        return f"{here} has fit_share={first.fit_share:g}, {there} {other.fit_share:g}"
    if (first.axis, other.axis) != ("flops", "flops"):
        return (
            f"{here} varies {first.axis}, {there} {other.axis}; each plan numbers its own rungs, so only "
            "studies over FLOPs are combined"
        )
    if first.name == ONE_BY_ONE:
        return ""
    # An arm with other settings would be another arm.
    chosen = [{(s.study, s.arm, s.size): s.chosen for s in one.tuned or ()} for one in (first, other)]
    planned = [{(c.study, c.arm, c.size) for c in one.cells} for one in (first, other)]
    for key in sorted(planned[0] & planned[1]):
        mine, its = (settings.get(key, HAND_SET) for settings in chosen)
        if mine != its:
            study, arm, size = key
            return f"study {study}, {arm}, size {size}: settings are {mine} in {here}, {its} in {there}"
    return ""


def _choose(identity: str, stores: Sequence[Path]) -> tuple[Path | None, str]:
    """The record of a cell that counts, and a line if others differ from it."""
    held: list[Path] = []
    done: list[tuple[int, Path, Record]] = []
    for number, store in enumerate(stores, 1):
        path = store / "cells" / identity / "record.json"
        if path.exists():
            held.append(path)
            with contextlib.suppress(RecordError):
                record = records.load(path)
                done += [(number, path, record)] if record.status == "done" else []
    if not done:
        return held[0] if held else None, ""
    number, path, ours = done[0]
    for other, _, theirs in done[1:]:
        if differing := difference(ours, theirs):
            line = f"cell {identity}: store {number}, which counts, and store {other} differ: {differing}"
            return path, line
    return path, ""


def difference(a: Record, b: Record) -> str:
    """What came out differently in two records of one cell, a and b in turn; empty if nothing did.

    Wall time, machine and history are no results.
    """
    if a.status != b.status:
        return f"{a.status} and {b.status}"
    differing = []
    keyed = [{(e.stage, e.axis, e.severity, e.effort, e.metric): e for e in r.evaluations} for r in (a, b)]
    for key in dict.fromkeys([*keyed[0], *keyed[1]]):
        one, two = keyed[0].get(key), keyed[1].get(key)
        if one == two:
            continue
        stage, axis, severity, effort, metric = key
        values = " and ".join("none" if e is None else f"{e.value:.6g}" for e in (one, two))
        same = " (not problem by problem)" if one and two and one.value == two.value else ""
        differing.append(f"{metric} ({stage}, {effort}, {axis} {severity}) {values}{same}")
    if not differing and (a.flops, a.steps) != (b.flops, b.steps):
        differing.append(f"{a.flops:.4g} and {b.flops:.4g} FLOPs, {a.steps} and {b.steps} steps")
    more = len(differing) - NUMBERS_SHOWN
    return "; ".join(differing[:NUMBERS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
