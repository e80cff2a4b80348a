"""Does a study run by many processes end with the records of one process?"""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from compare.store.claims import Store
from compare.store.record import Record
from tests.cluster.engines import Engine

ROOT = Path(__file__).resolve().parents[2]
STUDY = ("+experiment=smoke", "workers=1", "trainer.accelerator=cpu")


def run_both(engine: Engine, workers: int) -> dict[str, Any]:
    """The smoke study by one process, and by `workers` jobs of an engine; what came of it.

    Raises:
        RuntimeError: a command failed, or the cluster did not come up.
    """
    with tempfile.TemporaryDirectory() as folder:
        one, many = Path(folder, "one"), Path(folder, "many")
        alone, _ = ran([*STUDY, f"runs={one}"], dict(os.environ), one)
        sweep = ["-m", *STUDY, f"worker=range({workers})", *engine.launcher]
        with engine.cluster() as environment:
            together, owners = ran([*sweep, f"runs={many}"], environment, many)
        return {
            "command": shlex.join(["python", "-m", "compare", *sweep]),
            "versions": {"python": sys.version.split()[0], **engine.versions()},
            "cells": len(measured(one)),
            "processes_that_trained": len(owners),
            "differing": differing(one, many),
            "seconds_one": round(alone, 1),
            "seconds_many": round(together, 1),
        }


def ran(arguments: list[str], environment: dict[str, str], store: Path) -> tuple[float, set[str]]:
    """Run `python -m compare`; the seconds it took, and who was seen to own a claim on the store.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    search = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    environment = {**environment, "PYTHONPATH": search, "PYTHONWARNINGS": "ignore"}
    owners: set[str] = set()
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "compare", *arguments], cwd=ROOT, env=environment, stdout=said, stderr=said
        )
        while process.poll() is None:
            owners |= claimants(store)
            time.sleep(0.2)
        said.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{shlex.join(arguments)}: exit status {process.returncode}\n{said.read()[-3000:]}"
            )
    return time.monotonic() - begun, owners


def claimants(store: Path) -> set[str]:
    """Host and process of every claim at this moment."""
    found: set[str] = set()
    for path in store.glob("cells/*/claim.json"):
        try:
            owner = json.loads(path.read_text())
            found.add(f"{owner['host']} {owner['pid']}")
        except (OSError, ValueError):  # gone, or being written
            continue
    return found


def measured(store: Path) -> dict[str, Record]:
    """A store's records by cell, without what may differ: wall time and the machine."""
    records = map(Store(store).record, (seen.cell for seen in Store(store).glances()))
    return {r.cell: dataclasses.replace(r, seconds={}, environment={}) for r in records if r is not None}


def differing(one: Path, two: Path) -> list[str]:
    """Cells that are not done in both stores, or whose records differ in more than wall time."""
    mine, theirs = measured(one), measured(two)
    every = sorted(mine.keys() | theirs.keys())
    return [c for c in every if mine.get(c) != theirs.get(c) or mine[c].status != "done"]
