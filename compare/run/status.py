"""`python -m compare status RUNS`: what is done, running, waiting and failed, and the time left."""

import argparse
import json
import os
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from arena.config import ConfigError
from compare.plan.cost import expected_seconds, rates
from compare.store import manifest
from compare.store.claims import DEAD_AFTER, SNAPSHOT, Store, running
from compare.store.manifest import ManifestError, PlannedCell
from compare.store.record import Glance, RecordError, glance

SHOWN = 12
"""Running cells and failures that are listed; of more, only the number."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A cell that a process is on."""

    cell: str
    host: str
    pid: int
    since: float
    """When it was claimed, by the clock of its host."""
    silent: float
    """Seconds since its last sign of life."""

    @property
    def alive(self) -> bool:
        """Whether it counts as running."""
        return self.silent <= DEAD_AFTER and (self.host != socket.gethostname() or running(self.pid))


@dataclass(kw_only=True)
class State:
    """What a store holds."""

    planned: dict[str, list[PlannedCell]]
    """Cells by experiment, as the manifests list them."""
    ended: dict[str, Glance] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    """Of living processes."""
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
    wrong: list[str] = []
    planned: dict[str, list[PlannedCell]] = {}
    for name in manifest.names(root):
        try:
            planned[name] = list(manifest.load(root, name).cells)
        except ManifestError as error:
            wrong.append(str(error))
    state = State(planned=planned, wrong=wrong)
    now = time.time()
    with os.scandir(root / "cells") as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            folder = Path(entry.path)
            claim = _claim(folder, now)
            if claim is not None and claim.alive:
                state.claims[entry.name] = claim
            try:
                state.ended[entry.name] = glance(folder / "record.json")
            except RecordError as error:
                if (folder / "record.json").exists():
                    wrong.append(str(error))
                elif claim is None or not claim.alive:
                    state.saved |= {entry.name} if (folder / SNAPSHOT).exists() else set()
    return state


def _claim(folder: Path, now: float) -> Claim | None:
    path = folder / "claim.json"
    try:
        silent = max(0.0, now - path.stat().st_mtime)
        owner = json.loads(path.read_text())
        return Claim(
            cell=folder.name,
            host=str(owner["host"]),
            pid=int(owner["pid"]),
            since=float(owner["since"]),
            silent=silent,
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def seconds_left(state: State) -> float:
    """Wall time of all that is left, on as many workers as run now, or on one."""
    speed, now = rates(state.ended.values()), time.time()
    left = 0.0
    for cell in {c.cell: c for cells in state.planned.values() for c in cells}.values():
        status = state.status(cell.cell)
        if status in ("running", "waiting"):
            expected = expected_seconds(cell.arm, cell.budget, speed)
            gone = now - state.claims[cell.cell].since if status == "running" else 0.0
            left += max(0.0, expected - max(0.0, gone))
    return left / max(1, len(state.claims))


def show(state: State, console: Console) -> None:
    """Print the tables."""
    from compare.analysis.text import seconds_text

    table = Table()
    table.add_column("experiment")
    columns = ("done", "running", "waiting", "failed")
    for column in columns:
        table.add_column(column, justify="right")
    every = dict.fromkeys(c.cell for cells in state.planned.values() for c in cells)
    others = [cell for cell in (*state.ended, *state.claims, *sorted(state.saved)) if cell not in every]
    groups = {name: [c.cell for c in cells] for name, cells in state.planned.items()}
    if others:
        groups["in no experiment"] = list(dict.fromkeys(others))
    for name, cells in groups.items():
        counts = Counter(map(state.status, cells))
        table.add_row(name, *(str(counts[column]) for column in columns))
    console.print(table)
    known = {c.cell: c for cells in state.planned.values() for c in cells}
    for number, claim in enumerate(sorted(state.claims.values(), key=lambda c: -c.silent)):
        if number == SHOWN:
            console.print(f"running: {len(state.claims) - SHOWN} more")
            break
        ran = seconds_text(max(0.0, time.time() - claim.since))
        where = f"{claim.host} process {claim.pid}, for {ran}, heard {claim.silent:.0f} s ago"
        _line(console, f"running: {_name(known, claim.cell)}, {where}")
    failed = [cell for cell in state.ended.values() if state.status(cell.cell) == "failed"]
    for cell in failed[:SHOWN]:
        own = f"{cell.task} {cell.arm} {cell.budget:.1e} seed {cell.seed}"
        name = _name(known, cell.cell) if cell.cell in known else own
        _line(console, f"failed: {name}: {cell.reason}")
    if len(failed) > SHOWN:
        console.print(f"failed: {len(failed) - SHOWN} more")
    if state.saved:
        _line(console, f"stopped on the way and ready to go on: {len(state.saved)}")
    for text in state.wrong:
        _line(console, text)
    speeds = ", ".join(f"{arm} {rate:.1e}" for arm, rate in sorted(rates(state.ended.values()).items()))
    _line(console, f"FLOPs a second of one worker: {speeds or 'nothing is done yet'}")
    running_now = len(state.claims)
    workers = f"the {running_now} running now" if running_now else "one worker; none is running"
    _line(console, f"left: about {seconds_text(seconds_left(state))} on {workers}")


def _name(known: dict[str, PlannedCell], cell: str) -> str:
    if cell not in known:
        return cell
    found = known[cell]
    trial = f" trial {found.trial}" if found.trial else ""
    return f"{found.task} {found.arm} {found.budget:.1e}{trial} seed {found.seed}"


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


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
