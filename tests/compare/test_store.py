"""Claims, atomic writes, versions."""

import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from arena.config import ConfigError
from compare import store as module
from compare.record import RecordError
from compare.store import Store, write_atomically


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


def test_a_silent_claim_of_another_host_is_taken_over(tmp_path) -> None:
    store = Store(tmp_path)
    path = store.folder("a") / "claim.json"
    write_atomically(path, json.dumps({"host": "elsewhere", "pid": os.getpid()}))
    with store.claim("a") as ours:
        assert not ours
    old = time.time() - 2 * module.DEAD_AFTER
    os.utime(path, (old, old))
    with store.claim("a") as ours:
        assert ours


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
    assert store.records() == []


def test_the_harness_imports_nothing_heavy() -> None:
    code = (
        "import sys, compare.cli\n"
        "heavy = {'torch', 'lightning', 'transformers', 'wandb', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
