"""Real kills of real processes: at random, in the middle of a write, by Ctrl-C."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compare.plan.planned import Planned
from compare.run import stop
from compare.run.outcome import blank_record
from compare.store.claims import Store
from compare.store.record import Glance
from tests import fresh, kills
from tests.compare.test_cli import ROOT, compare, records


def test_a_study_whose_workers_are_killed_at_random_ends_the_same() -> None:
    found = kills.main(8, 4, flops=3e8, pause=0.25)
    assert found["differing"] == []
    assert found["left_over"] == []
    assert 1 <= found["kills"] <= 8  # a fast machine is done before the last
    assert found["damaged_snapshots"] == 0


def die(function: str, call: int, plan: list[Planned], root: Path) -> None:
    """Work until the call of a function of `os` with this number; -1 for one after the checkpoint."""
    calls, real = [0], getattr(os, function)

    def deadly(*arguments: object) -> object:
        calls[0] += 1
        last = call < 0 and (root / "cells" / plan[0].identity / "checkpoint.ckpt").exists()
        if calls[0] == call or last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)

    setattr(os, function, deadly)
    kills.work(plan, root)


@pytest.mark.parametrize(
    ("function", "call"), [("fsync", 7), ("replace", 9), ("replace", 10), ("fsync", -1), ("replace", -1)]
)
def test_a_kill_in_the_middle_of_a_write(function: str, call: int, tmp_path) -> None:
    """Of a snapshot (counted from the first), or of the record (the last)."""
    plan = kills.study(1, 1e8)
    for root in ("whole", "killed"):
        Store(tmp_path / root).prepare()
    kills.begun(kills.work, plan, tmp_path / "whole").join()
    killed = kills.begun(die, function, call, plan, tmp_path / "killed")
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    folder = tmp_path / "killed/cells" / plan[0].identity
    assert not (folder / "record.json").exists()
    assert (folder / "claim.json").exists()
    again = kills.begun(kills.work, plan, tmp_path / "killed")
    again.join()
    assert again.exitcode == 0
    assert kills.differing(plan, tmp_path / "whole", tmp_path / "killed") == []
    assert "goes on at step" in (folder / "log.txt").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.ckpt", "log.txt", "record.json"]


ARGUMENTS = ["arm=ebt_s1", "size=8xs", "trainer.problems=8", "trainer.accelerator=cpu", "workers=1"]


def started(store: Path, flops: str, *, alone: bool = False) -> subprocess.Popen[str] | fresh.Command:
    """A command whose cell has taken some steps.

    Args:
        alone: begun as a user does, its workers in its session.
    """

    def saved() -> set[int]:
        return {path.stat().st_mtime_ns for path in store.glob("cells/*/resume.ckpt")}

    before = saved()
    command = ["compare", *ARGUMENTS, f"budget.flops={flops}", f"runs={store}"]
    command.append("trainer.checkpoint_minutes=0.002")
    process = (
        fresh.Command(*command)
        if not alone
        else subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    )
    deadline = time.monotonic() + 120
    while saved() <= before and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on_and_sigterm_does_too(tmp_path) -> None:
    store, flops = tmp_path / "runs", "1e10"
    for number, status, alone in (
        (signal.SIGINT, 130, True),
        (signal.SIGTERM, 143, False),
        (signal.SIGUSR2, 140, True),
    ):
        process = started(store, flops, alone=alone)
        os.killpg(process.pid, number)  # as a terminal and Slurm do: to all of them
        _, errors = process.communicate(timeout=60)
        assert process.returncode == status, errors
        assert len(errors.splitlines()) == 1, errors
        assert re.match(
            r"stopped: 0 cells ended, 1 saved on the way; to go on: python -m compare arm=", errors
        )
        assert list(store.glob("cells/*/resume.ckpt"))
        assert not list(store.glob("cells/*/claim.json"))
        assert not list(store.glob("cells/*/record.json"))
    common = [*ARGUMENTS, f"budget.flops={flops}"]
    result = compare(*common, f"runs={store}")
    assert result.returncode == 0, result.stderr
    assert "1 to run, 1 of them from a snapshot" in result.stdout
    assert compare(*common, f"runs={tmp_path}/whole").returncode == 0
    (ended,), (whole,) = (list(records(s).values()) for s in (store, tmp_path / "whole"))
    for key in ("evaluations", "history", "flops_by", "steps"):
        assert ended[key] == whole[key]


def test_a_launcher_that_listens_for_the_same_signal_hears_of_it_when_all_is_saved() -> None:
    heard: list[int] = []

    def interrupted(number: int) -> None:
        with stop.Asked() as asked:
            os.kill(os.getpid(), number)
            assert (asked.number, heard) == (number, [])
            raise stop.Interrupted(asked.number, 0, 0)

    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(stop.Interrupted):  # Python's own handler would raise KeyboardInterrupt
            interrupted(signal.SIGINT)
        with pytest.raises(stop.Interrupted):
            interrupted(signal.SIGUSR2)
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


@pytest.mark.slow
def test_ctrl_c_twice_stops_now(tmp_path) -> None:
    process = started(tmp_path, "1e13")
    claim = next(tmp_path.glob("cells/*/claim.json"))
    worker = json.loads(claim.read_text())["pid"]
    os.kill(worker, signal.SIGSTOP)  # a step that takes for ever
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(1)
    assert process.wait(timeout=10) == 130
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.slow
def test_a_failed_cell_is_run_again_once_by_several_at_once(tmp_path) -> None:
    arguments = ["arm.alpha=1e38", "budget.flops=5e8", *ARGUMENTS, f"runs={tmp_path}"]
    assert compare(*arguments).returncode == 1
    log = next(tmp_path.glob("cells/*/log.txt"))
    before, (record,) = log.stat().st_mtime_ns, tmp_path.glob("cells/*/record.json")
    seen: set[tuple[int, int]] = set()
    processes = [fresh.Command("compare", *arguments, "retry=failed") for _ in range(3)]
    while any(p.poll() is None for p in processes):
        seen.add((record.stat().st_ino, record.stat().st_mtime_ns))
        time.sleep(0.01)
    assert [p.returncode for p in processes] == [1, 1, 1]
    assert log.stat().st_mtime_ns > before
    assert len(seen) == 2  # the old record and one new one


def test_a_failed_record_that_another_wrote_is_not_run_again(tmp_path, monkeypatch) -> None:
    """The rule behind it, without processes."""
    planned, store = kills.study(1, 1e8)[0], Store(tmp_path)
    store.prepare()
    failed = dataclasses.replace(
        blank_record(planned, "c"), status="failed", reason="x", seconds={"total": 1.0}
    )
    again = dataclasses.replace(failed, seconds={"total": 2.0})
    glances: list[Glance | None] = []
    for record in (again, failed):
        store.write(record)
        glances.append(store.glance(record.cell))
    second, first = glances
    runs: list[str] = []

    def run(planned, store, *rest):
        runs.append(planned.identity)
        store.write(again)
        return again

    monkeypatch.setattr("compare.run.cell.run_cell", run)
    for seen, count in ((None, 0), (first, 1), (first, 1), (second, 1)):
        outcome = kills.pool._claim_and_run(planned, store, "c", kills.NO_LOG, seen, print)
        assert (outcome.status, len(runs)) == ("failed", count)
    # That command has ended: who asks for it now gets another run.
    (store.folder(planned.identity) / "retry.json").unlink()
    kills.pool._claim_and_run(planned, store, "c", kills.NO_LOG, second, print)
    assert len(runs) == 2
