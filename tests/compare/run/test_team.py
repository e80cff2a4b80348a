"""A cell in two processes ends as in one: same costs, same record to rounding. Stopped, it goes on."""

import dataclasses
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from arena.config import Addition, Budget, Cell, ConfigError, TrainerConfig
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import pool, stop, team, watch
from compare.run.cell import run_cell
from compare.run.snapshot import Resume, Snapshots
from compare.store.claims import Store
from compare.store.record import Record
from ebt.config import EBTArm
from rl_baseline.config import RLArm
from tests import fresh
from tests.compare.planted.cells import alone
from tests.compare.run.test_resume import same, weights
from tests.compare.test_cli import ROOT, records
from tests.conftest import TINY

pytestmark = pytest.mark.usefixtures("quick_start")

# Problems of different lengths: what a process pads, and what it divides by, is not its own affair.
TASK = Addition(name="addition", min_digits=1, max_digits=3, batch=8)
ARMS: dict[str, Any] = {
    "ebt_s1": EBTArm(name="ebt_s1"),
    "rl_grpo": RLArm(name="rl_grpo", prompts=4, group=4, reward="coin", updates=2),
    "ebt_s2": EBTArm(
        name="ebt_s2",
        loss="last",
        graph="last",
        extra_steps=2,
        alpha_spread=2.0,
        langevin=0.1,
        replay=12,
        alpha_lr=9.0,
    ),
}
FLOPS = {"ebt_s1": 2e8, "rl_grpo": 3e8, "ebt_s2": 4e8}


def plan(arm: Any, devices: int, **settings: Any) -> Planned:
    options: dict[str, Any] = {"problems": 8, "accelerator": "cpu", "checkpoint_minutes": 0.0, **settings}
    cell = Cell(
        arm=arm,
        task=TASK,
        size=TINY,
        budget=Budget(flops=FLOPS[arm.name]),
        trainer=TrainerConfig(devices=devices, **options),
        seed=0,
    )
    cell.validate()
    return alone(cell)


def run(planned: Planned, folder: Path) -> Record:
    store = Store(folder)
    store.prepare()
    return run_cell(planned, store, "abc", Logger(name="none"), lambda flops: None)


def apart(one: float | None, two: float | None) -> float:
    """Relative difference of two numbers; 0 where both are missing, infinite where one is."""
    if one is None or two is None:
        return 0.0 if one is two else math.inf
    return abs(one - two) / max(abs(one), 1e-3)


@pytest.mark.parametrize("name", ["ebt_s1", "rl_grpo"])
def test_two_processes_end_in_one_process_s_record(name: str, tmp_path) -> None:
    one = run(plan(ARMS[name], 1), tmp_path / "one")
    two = run(plan(ARMS[name], 2), tmp_path / "two")
    assert two.status == "done", two.traceback
    assert one.cell == two.cell
    assert (one.environment["devices"], two.environment["devices"]) == (1, 2)
    for key in ("flops", "flops_by", "steps", "problems", "reward_queries", "parameters"):
        assert getattr(one, key) == getattr(two, key), key
    assert one.steps > 9
    assert one.history["flops"] == two.history["flops"]
    assert one.history.keys() == two.history.keys()
    columns = ("loss", "first_loss", "gradient_norm", "alpha", "reward", "entropy")
    seen = [column for column in columns if column in one.history]
    assert len(seen) >= 4
    for column in seen:
        pairs = zip(one.history[column], two.history[column], strict=True)
        assert max(apart(*pair) for pair in pairs) < 1e-3, column
    for mine, theirs in zip(one.evaluations, two.evaluations, strict=True):
        assert (mine.value, mine.sd) == pytest.approx((theirs.value, theirs.sd), rel=1e-3)
        assert mine == dataclasses.replace(theirs, value=mine.value, sd=mine.sd)
    assert [p.name for p in (tmp_path / "two/cells" / two.cell).iterdir() if "resume" in p.name] == []
    assert not multiprocessing.active_children()


def once(at: int, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Act in process 0 just before its training step number `at`, counted from where it begins."""
    start, steps = Resume.on_train_batch_start, [0]

    def counted(self: Resume, *arguments: Any) -> None:
        steps[0] += 1
        if steps[0] == at:
            act()
        start(self, *arguments)

    patch.setattr(Resume, "on_train_batch_start", counted)


def hit(number: int) -> Callable[[], None]:
    """Send a signal to the other process, and let it arrive."""

    def send() -> None:
        (other,) = multiprocessing.active_children()
        assert other.pid is not None
        os.kill(other.pid, number)
        time.sleep(0.5)

    return send


def test_two_processes_stopped_and_killed_go_on_to_the_same_record(tmp_path, monkeypatch) -> None:
    rare = {"checkpoint_minutes": 1e6}
    one, kept = plan(ARMS["ebt_s2"], 2), tmp_path / "torn"
    whole = run(plan(ARMS["ebt_s2"], 2), tmp_path / "whole")
    folder = kept / "cells" / one.identity

    # The other process alone is asked: both stop before the same step, and all is saved.
    with monkeypatch.context() as patch:
        once(5, hit(signal.SIGTERM), patch)
        with pytest.raises(stop.Stopped):
            run(plan(ARMS["ebt_s2"], 2, **rare), kept)
    state, _ = Snapshots(folder, one.identity).read()
    assert state is not None
    # At once, or where the other waited for this one already, a step later.
    assert state["batches"] in (4, 5)
    assert len(state["random"]) == 2

    # It is killed: nothing is recorded, and what it was on is not lost.
    with monkeypatch.context() as patch:
        once(5, hit(signal.SIGKILL), patch)
        with pytest.raises(stop.Lost, match="process 1 of 2 ended by signal 9"):
            run(one, kept)
    assert not (folder / "record.json").exists()
    state, _ = Snapshots(folder, one.identity).read()
    assert state is not None
    assert 5 < state["batches"] < whole.steps

    # The first is asked while it evaluates and the other waits.
    with monkeypatch.context() as patch:
        evaluate = watch.evaluate

        def asked(*arguments: Any) -> Any:
            stop._ask(signal.SIGTERM, None)
            return evaluate(*arguments)

        patch.setattr(watch, "evaluate", asked)
        patch.setattr(stop, "_requested", False)
        with pytest.raises(stop.Stopped):
            run(plan(ARMS["ebt_s2"], 2, **rare), kept)
    state, _ = Snapshots(folder, one.identity).read()
    assert state is not None
    assert state["batches"] == whole.steps
    # Each has gone on with random states of its own.
    assert not torch.equal(*(random["torch"] for random in state["random"]))

    same(dataclasses.replace(run(one, kept), config=whole.config), whole)
    mine, theirs = weights(tmp_path / "whole", one), weights(kept, one)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert (folder / "log.txt").read_text().count("goes on at step") == 3
    assert not multiprocessing.active_children()


def test_one_process_goes_on_with_what_two_began(tmp_path, monkeypatch) -> None:
    alone = run(plan(ARMS["ebt_s2"], 1), tmp_path / "alone")
    with monkeypatch.context() as patch:
        once(6, hit(signal.SIGTERM), patch)
        with pytest.raises(stop.Stopped):
            run(plan(ARMS["ebt_s2"], 2), tmp_path / "both")
    ended = run(plan(ARMS["ebt_s2"], 1), tmp_path / "both")
    assert "goes on at step" in (tmp_path / "both/cells" / ended.cell / "log.txt").read_text()
    assert (ended.flops_by, ended.steps, ended.problems) == (alone.flops_by, alone.steps, alone.problems)
    pairs = zip(alone.history["loss"], ended.history["loss"], strict=True)
    assert max(apart(*pair) for pair in pairs) < 1e-3


def raises(planned: Planned, state: object) -> None:
    """Stands in for the training of the other process."""
    raise ValueError("no luck")


def dies(planned: Planned, state: object) -> None:
    """Likewise."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_of_another_process_is_told_as_its_own(capsys) -> None:
    with (
        pytest.raises(team.ProcessFailed, match="process 1 of 2: ValueError: no luck\n"),
        team.together(plan(ARMS["ebt_s1"], 2), None, raises),
    ):
        dist.all_reduce(torch.zeros(1))
    assert not dist.is_initialized()
    assert not multiprocessing.active_children()


def deaf(server: str) -> None:
    """Process 0 as nccl leaves it: in a call that does not return though the other process is gone."""
    fresh.share(server)
    team.GRACE = 0.5
    with team.together(plan(ARMS["ebt_s1"], 2), None, dies):
        time.sleep(100)


def test_a_death_that_the_first_process_cannot_notice_ends_it_too() -> None:
    first = fresh.SERVER.Process(target=deaf, args=(fresh.address(),))
    first.start()
    first.join(180)
    assert first.exitcode == 1


def test_a_cell_that_loses_a_process_counts_as_a_death(monkeypatch) -> None:
    def lose(*arguments: object) -> None:
        raise stop.Lost("process 1 of 2 ended by signal 9")

    monkeypatch.setattr(pool, "_claim_and_run", lose)
    planned = plan(ARMS["ebt_s1"], 2)
    outcome = pool._work(planned, "runs", "c", Logger(name="none"), None, lambda what: None)
    assert (outcome.status, outcome.reason) == ("died", "process 1 of 2 ended by signal 9")


def children(process: int) -> list[int]:
    """All descendants of a process, by Linux's own account."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes by /proc")
def test_the_command_leaves_no_orphan_and_goes_on(tmp_path) -> None:
    runs = tmp_path / "runs"
    command = ["arm=ebt_s1", "task=addition", "task.batch=16", "size=8xs", "trainer.accelerator=cpu"]
    command += ["budget.flops=2e9", "trainer.devices=2", "trainer.checkpoint_minutes=0", f"runs={runs}"]
    command = [sys.executable, "-m", "compare", *command, "trainer.problems=16", "workers=1"]
    begun = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for _ in range(600):
        if list(runs.glob("cells/*/resume.ckpt")):
            break
        time.sleep(0.1)
    family = children(begun.pid)
    begun.kill()
    begun.wait()
    assert len(family) >= 2  # a worker, and the other process of its cell
    for _ in range(100):
        if all(map(gone, family)):
            break
        time.sleep(0.1)
    assert [process for process in family if not gone(process)] == []
    done = fresh.run(*command[2:])
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = records(runs).values()
    assert (record["status"], record["environment"]["devices"]) == ("done", 2)
    assert "1 of them from a snapshot" in done.stdout


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 3}, r"task.batch=8 with trainer.devices=3: .* choose a batch that the devices divide"),
        ({"devices": 0}, r"trainer.devices=0: must be at least 1"),
        (
            {"devices": 2, "accelerator": "mps"},
            r"trainer.devices=2 with trainer.accelerator=mps: there is one",
        ),
    ],
)
def test_devices_that_cannot_share_a_cell_are_refused(settings: dict[str, Any], message: str) -> None:
    cell = plan(ARMS["ebt_s1"], 1).cell
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(cell, trainer=TrainerConfig(**settings)).validate()


def test_more_devices_than_there_are_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"trainer.devices=2: this machine has 1 of kind cuda; lower"):
        team.check(TrainerConfig(devices=2, accelerator="cuda"))
    team.check(TrainerConfig(devices=64, accelerator="cpu"))
