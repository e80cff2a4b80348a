"""Claims, atomic writes, versions."""

import errno
import json
import multiprocessing
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from arena.config import ConfigError
from compare.store import claims as module
from compare.store.claims import Store
from compare.store.files import write_atomically
from compare.store.record import RecordError


def test_one_of_many_claims_wins(tmp_path) -> None:
    store = Store(tmp_path / "s")
    store.prepare()
    with store.claim("a") as first, store.claim("a") as second, store.claim("b") as other:
        assert (first, second, other) == (True, False, True)
    with store.claim("a") as again:
        assert again


def _hold(root: str, ready, leave) -> None:
    with Store(root).claim("a") as ours:
        ready.put(ours)
        leave.get()


def test_a_living_process_keeps_its_claim_and_a_dead_one_loses_it(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Queue(), context.Queue()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, leave))
    process.start()
    assert ready.get(timeout=60)
    with Store(tmp_path).claim("a") as ours:
        assert not ours
    process.kill()
    process.join()
    assert (tmp_path / "cells/a/claim.json").exists()
    with Store(tmp_path).claim("a") as ours:
        assert ours


def test_a_silent_claim_of_another_host_is_taken_over(tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    path = store.folder("a") / "claim.json"
    write_atomically(path, json.dumps({"host": "elsewhere", "pid": os.getpid()}))
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for wait, free in ((0.0, False), (module.DEAD_AFTER - 1, False), (2.0, True)):
        now[0] += wait
        with store.claim("a") as ours:
            assert ours == free


def test_a_clock_that_jumps_kills_nobody_and_keeps_nobody_alive(tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    path = store.folder("a") / "claim.json"
    write_atomically(path, json.dumps({"host": "elsewhere", "pid": 1}))
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for jump in (-3600.0, 7200.0, 86400.0):
        # Their clock or ours: the heartbeat comes every few seconds, dated anyhow.
        os.utime(path, (time.time() + jump, time.time() + jump))
        monkeypatch.setattr(module.time, "time", lambda jump=jump: 1e9 - jump)
        with store.claim("a") as ours:
            assert not ours
        now[0] += module.HEARTBEAT
    # The last beat lies a day ahead; it is silent all the same.
    now[0] += module.DEAD_AFTER + 1
    with store.claim("a") as ours:
        assert ours


def _claim_all(root: str, count: int, results) -> None:
    store, won = Store(root), []
    for i in range(count):
        with store.claim(f"c{i}") as ours:
            if not ours:
                continue
            # Whoever has it alone makes this file and takes it away again.
            handle = os.open(store.folder(f"c{i}") / "alone", os.O_CREAT | os.O_EXCL)
            os.close(handle)
            if not (store.folder(f"c{i}") / "done").exists():
                won.append(i)
                (store.folder(f"c{i}") / "done").touch()
            os.unlink(store.folder(f"c{i}") / "alone")
    results.put(won)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_a_thousand_claims_each_with_one_winner(kind: str, tmp_path) -> None:
    store, count = Store(tmp_path), 250
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for i in range(0, count, 2):  # every other one lies under a dead claim that all want to take over
        owner = {"host": socket.gethostname(), "pid": gone.pid}
        write_atomically(store.folder(f"c{i}") / "claim.json", json.dumps(owner))
    if kind == "processes":
        context: Any = multiprocessing.get_context("spawn")
        results, make = context.Queue(), context.Process
    else:
        results, make = queue.Queue(), threading.Thread
    racers = [make(target=_claim_all, args=(str(tmp_path), count, results)) for _ in range(4)]
    for racer in racers:
        racer.start()
    won = [i for _ in racers for i in results.get(timeout=60)]
    for racer in racers:
        racer.join()
    assert sorted(won) == list(range(count))


def test_a_living_claim_in_the_place_of_a_dead_one_stays(tmp_path) -> None:
    """Two see a dead claim; one takes it away and claims; the other comes late."""
    store = Store(tmp_path)
    path = store.folder("a") / "claim.json"
    with store.claim("a"):
        module._remove_dead(path)
        assert path.exists()


def test_a_full_disk_leaves_the_old_record_and_no_litter(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_really_full_disk_leaves_the_old_record_and_no_litter(tmp_path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        write_atomically(disk / "x.json", "old")
        with pytest.raises(OSError, match="No space left"):
            write_atomically(disk / "x.json", "x" * 100_000)
        assert (disk / "x.json").read_text() == "old"
        assert [p.name for p in disk.iterdir()] == ["x.json"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", "a\x00", "/etc", ".hidden"])
def test_a_cell_lies_in_the_store(name: str, tmp_path) -> None:
    with pytest.raises(ConfigError, match="not a plain folder name"):
        Store(tmp_path).folder(name)


def test_a_retry_is_known_while_the_command_runs(tmp_path) -> None:
    store = Store(tmp_path)
    assert not module.retried_by_a_living(store, "a")
    module.mark_retry(store, "a")
    assert module.retried_by_a_living(store, "a")
    path = store.folder("a") / "retry.json"
    mark = json.loads(path.read_text())
    for change in ({"born": "1"}, {"host": "elsewhere"}, {"pid": "x"}):
        write_atomically(path, json.dumps({**mark, **change}))
        assert not module.retried_by_a_living(store, "a")


def test_a_claim_that_another_took_over_is_left_to_it(tmp_path) -> None:
    store = Store(tmp_path)
    path = store.folder("a") / "claim.json"
    with store.claim("a") as ours:
        assert ours
        write_atomically(path, json.dumps({"host": "elsewhere", "pid": 1, "token": "x"}))
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_a_heartbeat_keeps_a_claim_fresh(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    store = Store(tmp_path)
    with store.claim("a"):
        path = store.folder("a") / "claim.json"
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 2


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_store_of_another_version_is_refused(tmp_path) -> None:
    (tmp_path / "store.json").write_text('{"version": 99}')
    with pytest.raises(ConfigError, match="store version 99"):
        Store(tmp_path).check()


def test_a_file_or_a_place_that_cannot_be_written_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        Store(tmp_path / "file").check()
    with pytest.raises(ConfigError, match="cannot be written"):
        Store(tmp_path / "file" / "below").prepare()


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Not chmod: root, as whom containers run tests, may write anywhere.
    monkeypatch.setattr(module.tempfile, "mkstemp", refuse)
    with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\); give"):
        Store(tmp_path / "runs").prepare()


def test_a_torn_record_is_named(tmp_path) -> None:
    store = Store(tmp_path)
    write_atomically(store.folder("a") / "record.json", '{"version": 1, "cell"')
    with pytest.raises(RecordError, match=r"a/record\.json"):
        store.record("a")
    assert store.record("b") is None
    assert list(store.glances()) == []
