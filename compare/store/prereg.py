"""Preregistration: seeds, contrasts and settings of an experiment, fixed before its first record.

`python -m compare freeze +experiment=NAME` writes a freeze where it can be committed; the store keeps every
one that its experiments were run under, `<store>/prereg/<name>-<digest>.json`. Seeds are spent once.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from compare.store import manifest as manifests
from compare.store import strict
from compare.store.evidence import Evidence
from compare.store.files import write_atomically
from compare.store.manifest import ONE_BY_ONE, Contrast, Manifest, ManifestError, Name, PlannedCell
from compare.store.record import digest

VERSION = 1
FOLDER = "prereg"
"""Of a store."""
KEYS: dict[str, Callable[[PlannedCell], str]] = {
    "seeds": lambda cell: str(cell.seed),
    "arms": lambda cell: f"{cell.study} {cell.arm}",
    "rungs": lambda cell: f"{cell.study} {cell.rung or f'{cell.budget:g}'}",
}
"""What is named where a study and its freeze have different cells."""


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """What an experiment has promised, and when."""

    version: int = VERSION
    name: Name
    time: str
    """ISO 8601, in UTC, by the clock of the machine."""
    commit: str
    clean: bool
    """Whether the commit tells all of the program: nothing was changed and not committed."""
    code: str
    """Digest of the program that trains, which commits of reports and texts leave as it is."""
    seeds: tuple[int, ...]
    contrasts: tuple[Contrast, ...]
    fit_share: float
    reused: tuple[str, ...]
    """Seeds that were spent before, in words."""
    cells: tuple[PlannedCell, ...]
    """Every cell; its identity is a hash of its resolved configuration, data and seed."""
    digest: str = ""
    """SHA-256 of everything else."""

    def plans(self, manifest: Manifest) -> bool:
        """Whether a manifest is what was promised."""
        same = (self.contrasts, self.fit_share) == (manifest.contrasts, manifest.fit_share)
        return same and {(c.study, c.cell) for c in self.cells} == {(c.study, c.cell) for c in manifest.cells}


def dump(path: Path, freeze: Freeze) -> None:
    """Write a freeze with its digest, one cell a line."""
    content = dataclasses.asdict(freeze)
    content["digest"] = digest(content)
    cells = ",\n".join(f"  {json.dumps(cell)}" for cell in content.pop("cells"))
    head = json.dumps(content, allow_nan=False, indent=1).removesuffix("\n}")
    write_atomically(path, f'{head},\n "cells": [\n{cells}\n ]\n}}\n')


def load(path: Path) -> Freeze:
    """Read and check a freeze.

    Raises:
        ManifestError: unreadable, of another version, or changed since it was written. One line.
    """

    def check(freeze: Freeze, raw: dict[str, Any]) -> None:
        strict.require(freeze.digest == digest(raw), "its content does not match its digest: it was changed")
        strict.require(datetime.fromisoformat(freeze.time).tzinfo is not None, f"time {freeze.time}: which?")

    remedy = "take it from the commit that froze it"
    return strict.load(path, Freeze, version=VERSION, check=check, error=ManifestError, remedy=remedy)


def keep(path: Path, store: Path) -> None:
    """Let a store keep a freeze, if there is one, beside those it has."""
    if path.exists():
        freeze = load(path)
        write_atomically(store / FOLDER / f"{freeze.name}-{freeze.digest[:8]}.json", path.read_bytes())


def kept(store: Path, name: str = "*") -> list[Path]:
    """Freezes of an experiment, or of all, that a store keeps."""
    return sorted((store / FOLDER).glob(f"{name}-{'[0-9a-f]' * 8}.json"))


def best(store: Path, manifest: Manifest) -> Path | None:
    """The freeze that an experiment is held to: the first of what it plans, else the last of any plan."""
    freezes = sorted((load(path).time, path) for path in kept(store, manifest.name))
    same = [path for _, path in freezes if load(path).plans(manifest)]
    return (same or [path for _, path in freezes[-1:]] or [None])[0]


def spent(store: Path, name: str, cells: Sequence[PlannedCell]) -> tuple[str, ...]:
    """Which seeds another experiment, or this one with other settings, has run on the same task, in words.

    Searches spend none: they see validation problems.
    """
    own, wanted = {cell.cell for cell in cells}, {(c.task, c.seed) for c in cells if not c.trial}
    plans = [(load(path).name, load(path).cells) for path in kept(store)]
    plans += [(n, manifests.load(store, n).cells) for n in manifests.names(store) if n != ONE_BY_ONE]
    by: dict[tuple[str, str], set[int]] = {}
    for other, planned in plans:
        for cell in planned:
            elsewhere = (other != name or cell.cell not in own) and not cell.trial
            run = (store / "cells" / cell.cell / "record.json").exists()
            if elsewhere and run and (cell.task, cell.seed) in wanted:
                by.setdefault((cell.task, other), set()).add(cell.seed)
    return tuple(
        f"{task} seeds {', '.join(map(str, sorted(seeds)))} by {other}"
        + (" with other settings" if other == name else "")
        for (task, other), seeds in sorted(by.items())
    )


def told(store: Path, evidence: Evidence) -> tuple[str, tuple[str, ...]]:
    """What a report says of its freeze, in a sentence, and in what the study differs from it."""
    manifest = evidence.manifest
    try:
        path = best(store, manifest)
        freeze = load(path) if path is not None else None
    except ManifestError as error:
        return f"A freeze cannot be used: {str(error).replace(str(store), '')}.", ()
    if freeze is None:
        never = "Never frozen: nothing shows that seeds, contrasts and settings came before the results."
        return never if manifest.contrasts else "", ()
    records = [run.record for run in evidence.runs]
    records += [trouble.record for trouble in evidence.troubles if trouble.record is not None]
    begun = [r.written - r.seconds.get("total", 0.0) for r in records if r.written]
    moment = datetime.fromisoformat(freeze.time)
    when = "before any record"
    if begun and min(begun) < moment.timestamp():
        early = sum(time < moment.timestamp() for time in begun)
        when = f"after the first record: {early} of {len(records)} runs had begun"
    elif len(begun) < len(records):
        when = f"but {len(records) - len(begun)} of {len(records)} records do not say when they were written"
    elif begun:
        when = "before the first record"
    where = f"commit {freeze.commit}{'' if freeze.clean else ', with uncommitted changes'}"
    return f"Frozen {moment:%Y-%m-%d %H:%M} UTC at {where}, {when}.", tuple(_differences(freeze, evidence))


def _differences(freeze: Freeze, evidence: Evidence) -> Iterator[str]:
    """In what a study is not what was frozen."""
    manifest = evidence.manifest
    yield from (f"seeds were spent before: {line}" for line in freeze.reused)
    for word, ours, theirs in (("added", manifest, freeze), ("left out", freeze, manifest)):
        for what, key in KEYS.items():
            known = set(map(key, theirs.cells))
            if more := [name for name in dict.fromkeys(map(key, ours.cells)) if name not in known]:
                yield f"{what} {word}: {', '.join(more)}"
        yield from (f"contrast {word}: {c.label}" for c in ours.contrasts if c not in theirs.contrasts)
    frozen = {_place(cell): cell.cell for cell in freeze.cells}
    changed = [c for c in manifest.cells if frozen.get(_place(c), c.cell) != c.cell]
    for study, arm in dict.fromkeys((cell.study, cell.arm) for cell in changed):
        yield f"settings changed: {study}, {arm}"
    if manifest.fit_share != freeze.fit_share:
        yield f"fit_share changed: {freeze.fit_share:g} to {manifest.fit_share:g}"
    records = [run.record for run in evidence.runs]
    odd = [r for r in records if r.environment.get("code", r.commit) not in (freeze.code, freeze.commit)]
    if odd:
        commits = ", ".join(sorted({record.commit or "unknown" for record in odd}))
        yield f"{len(odd)} of {len(records)} runs were trained by another program (commits {commits})"


def _place(cell: PlannedCell) -> tuple[Any, ...]:
    """Where a cell stands in its experiment."""
    return cell.study, cell.arm, cell.budget, cell.rung, cell.trial, cell.seed
