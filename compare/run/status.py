"""`python -m compare status RUNS`: what is done, running, waiting and failed, and the time left."""

import argparse
import os
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from arena.config import ConfigError
from compare.analysis.text import seconds_text
from compare.plan.cost import expected_seconds, rates
from compare.store import manifest
from compare.store.claims import DEAD_AFTER, SNAPSHOT, Owner, Store, owner_of, running
from compare.store.manifest import ManifestError, PlannedCell
from compare.store.record import Glance, RecordError, glance

SHOWN = 12
"""Running cells and failures that are listed; of more, only the number."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A living process that is on a cell."""

    owner: Owner
    silent: float
    """Seconds since its last sign of life."""


@dataclass(kw_only=True)
class State:
    """What a store holds."""

    planned: dict[str, list[PlannedCell]]
    """Cells by experiment, as the manifests list them."""
    ended: dict[str, Glance] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    saved: set[str] = field(default_factory=set)
    """Begun, stopped, and ready to go on."""
    wrong: list[str] = field(default_factory=list)
    """What could not be read."""

    def status(self, cell: str) -> str:
        """done, failed, running or waiting."""
        if cell in self.claims:
            return "running"
        return self.ended[cell].status if cell in self.ended else "waiting"


def look(root: Path) -> State:
    """Look at every cell of a store once, at records no further than needed."""
    state, now = State(planned={}), time.time()
    for name in manifest.names(root):
        try:
            state.planned[name] = list(manifest.load(root, name).cells)
        except ManifestError as error:
            state.wrong.append(str(error))
    with os.scandir(root / "cells") as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            folder = Path(entry.path)
            claim = _claim(folder / "claim.json", now)
            if claim is not None:
                state.claims[entry.name] = claim
            try:
                state.ended[entry.name] = glance(folder / "record.json")
            except RecordError as error:
                if (folder / "record.json").exists():
                    state.wrong.append(str(error))
                elif claim is None and (folder / SNAPSHOT).exists():
                    state.saved.add(entry.name)
    return state


def _claim(path: Path, now: float) -> Claim | None:
    owner = owner_of(path)
    if owner is None:
        return None
    try:
        silent = max(0.0, now - path.stat().st_mtime)
    except FileNotFoundError:
        return None
    alive = silent <= DEAD_AFTER and (owner.host != socket.gethostname() or running(owner.pid))
    return Claim(owner=owner, silent=silent) if alive else None


def seconds_left(state: State) -> float:
    """Wall time of all that is left, on as many workers as run now, or on one."""
    speed, now = rates(state.ended.values()), time.time()
    left = 0.0
    for cell in {c.cell: c for cells in state.planned.values() for c in cells}.values():
        status = state.status(cell.cell)
        if status in ("running", "waiting"):
            expected = expected_seconds(cell.arm, cell.budget, speed)
            gone = now - state.claims[cell.cell].owner.since if status == "running" else 0.0
            left += max(0.0, expected - max(0.0, gone))
    return left / max(1, len(state.claims))


def show(state: State, console: Console) -> None:
    """Print the tables."""
    known = {c.cell: c for cells in state.planned.values() for c in cells}
    groups = {name: [c.cell for c in cells] for name, cells in state.planned.items()}
    others = dict.fromkeys(c for c in (*state.ended, *state.claims, *sorted(state.saved)) if c not in known)
    if others:
        groups["in no experiment"] = list(others)
    columns = ("done", "running", "waiting", "failed")
    table = Table("experiment", *(Column(column, justify="right") for column in columns))
    for name, cells in groups.items():
        counts = Counter(map(state.status, cells))
        table.add_row(name, *(str(counts[column]) for column in columns))
    console.print(table)

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    def listed(what: str, lines: list[str]) -> None:
        for text in lines[:SHOWN]:
            line(f"{what}: {text}")
        if len(lines) > SHOWN:
            line(f"{what}: {len(lines) - SHOWN} more")

    def label(cell: str) -> str:
        entry = known.get(cell) or state.ended.get(cell)
        return entry.label if entry is not None else cell

    now = time.time()
    listed(
        "running",
        [
            f"{label(cell)}, {claim.owner.host} process {claim.owner.pid}, for "
            f"{seconds_text(max(0.0, now - claim.owner.since))}, heard {claim.silent:.0f} s ago"
            for cell, claim in sorted(state.claims.items(), key=lambda item: -item[1].silent)
        ],
    )
    failed = [cell for cell in state.ended.values() if state.status(cell.cell) == "failed"]
    listed("failed", [f"{label(cell.cell)}: {cell.reason}" for cell in failed])
    if state.saved:
        line(f"stopped on the way and ready to go on: {len(state.saved)}")
    for text in state.wrong:
        line(text)
    speeds = ", ".join(f"{arm} {rate:.1e}" for arm, rate in sorted(rates(state.ended.values()).items()))
    line(f"FLOPs per second of one worker: {speeds or 'nothing is done yet'}")
    count = len(state.claims)
    workers = f"the {count} running now" if count else "one worker; none is running"
    line(f"left: about {seconds_text(seconds_left(state))} on {workers}")


def main(arguments: list[str]) -> int:
    """Print the state of a store; returns the exit status, 2 for a store that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m compare status",
        description="What of a store is done, running, waiting and failed, and the time left.",
    )
    parser.add_argument("runs", nargs="?", default="runs", metavar="RUNS", help="the store (default: runs)")
    root = Path(parser.parse_args(arguments).runs)
    try:
        Store(root).check()
        if not (root / "cells").is_dir():
            raise ConfigError(f"RUNS={root}: no cells/ in it; give the store that a run wrote")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    show(look(root), Console())
    return 0
