"""What `python -m compare status` says, and how fast."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compare.run.status import look, seconds_left
from compare.store import manifest
from compare.store.claims import Store
from compare.store.files import write_atomically
from compare.store.record import Record, RecordError, dump, glance

ROOT = Path(__file__).resolve().parents[3]
RECORD = Record(
    cell="c0",
    arm="transformer",
    task="text",
    size="8xs",
    budget=1e9,
    seed=0,
    status="done",
    config={"arm": {"name": "transformer"}, "task": {}},
    data={},
    commit="abc",
    environment={},
    flops=1e9,
    seconds={"total": 10.0},
    history={name: [1.0] * 200 for name in "abcdefghijklmnop"},
)


def status(store: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "compare", "status", str(store)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def planned(store: Path, count: int) -> None:
    cells = tuple(
        manifest.PlannedCell(
            cell=f"c{i}", study="s", arm="transformer", task="text", size="8xs", budget=1e9, seed=i
        )
        for i in range(count)
    )
    content = manifest.Manifest(
        name="e", title="t", question="q", command="c", commit="abc", contrasts=(), cells=cells
    )
    manifest.dump(store, content)


def test_cells_are_counted_by_how_they_stand(tmp_path) -> None:
    store = Store(tmp_path)
    store.prepare()
    planned(tmp_path, 6)
    store.write(RECORD)
    store.write(
        dataclasses.replace(RECORD, cell="c1", seed=1, status="failed", reason="Diverged: loss is nan")
    )
    (store.folder("c3")).mkdir()
    (store.folder("c3") / "resume.ckpt").write_bytes(b"")
    write_atomically(store.folder("c5") / "record.json", "{torn")
    write_atomically(
        store.folder("c4") / "claim.json", json.dumps({"host": "elsewhere", "pid": 1, "since": time.time()})
    )
    old = time.time() - 1e4
    os.utime(store.folder("c4") / "claim.json", (old, old))
    with store.claim("c2"):
        state = look(tmp_path)
        found = status(tmp_path)
    assert [state.status(f"c{i}") for i in range(6)] == [
        "done",
        "failed",
        "running",
        "waiting",
        "waiting",
        "waiting",
    ]
    # One worker runs; four cells are left at 1e8 FLOPs a second, 2 s of overhead each.
    assert seconds_left(state) == pytest.approx(4 * 12, abs=5)
    assert found.returncode == 0, found.stderr
    for words in (
        f"running: text transformer 1.0e+09 seed 2, {os.uname().nodename} process {os.getpid()}",
        "failed: text transformer 1.0e+09 seed 1: Diverged: loss is nan",
        "ready to go on: 1",
        "transformer 1.0e+08",
        "not a readable record",
        "left: about 4",
    ):
        assert words in found.stdout
    assert re.search(r"heard \d+ s ago", found.stdout)


def test_ten_thousand_records_take_seconds_and_no_torch(tmp_path) -> None:
    store = Store(tmp_path)
    store.prepare()
    planned(tmp_path, 10_000)
    history = {name: [0.123456789] * 200 for name in map(str, range(30))}
    text = dump(dataclasses.replace(RECORD, history=history))
    assert len(text) > 80_000
    (tmp_path / "one.json").write_text(text)
    for i in range(10_000):
        folder = tmp_path / "cells" / f"c{i}"
        folder.mkdir()
        os.link(tmp_path / "one.json", folder / "record.json")
    begun = time.process_time()
    state = look(tmp_path)
    took = time.process_time() - begun
    print(f"looked at 10,000 records in {took:.2f} s")
    assert took < 5
    assert sum(state.status(f"c{i}") == "done" for i in range(10_000)) == 10_000
    code = (
        "import sys, compare.run.status\n"
        f"assert compare.run.status.main([{str(tmp_path)!r}]) == 0\n"
        "heavy = {'torch', 'lightning', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_a_store_that_is_none_is_one_line(tmp_path) -> None:
    for path in (tmp_path / "nonesuch", tmp_path):
        found = status(path)
        assert found.returncode == 2
        assert len(found.stderr.splitlines()) == 1
        assert "give the store" in found.stderr


def test_a_glance_sees_what_the_strict_reader_sees(tmp_path) -> None:
    path = tmp_path / "record.json"
    for indent, reason in ((1, 'quoted "history": and more'), (None, ""), (1, '\n "history":' * 2000)):
        record = dataclasses.replace(RECORD, status="failed", reason=reason)
        path.write_text(json.dumps(json.loads(dump(record)), indent=indent))
        found = glance(path)
        assert (found.cell, found.status, found.reason) == ("c0", "failed", reason)
        assert (found.flops, found.seconds) == (1e9, {"total": 10.0})
    for text in ("", "[]", "{}", '{"version": 1}', '{"version": 9}', dump(RECORD).replace("10.0", '"x"')):
        path.write_text(text)
        with pytest.raises(RecordError):
            glance(path)
