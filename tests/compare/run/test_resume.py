"""A cell that is killed goes on to the same record, bit for bit."""

import dataclasses
import errno
import random
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

from arena.config import Addition, Text
from arena.tasks.sudoku import Sudoku
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import snapshot as module
from compare.run import stop
from compare.run.cell import run_cell
from compare.run.snapshot import Resume, Snapshots, Unusable, plain, random_state, restore_random
from compare.store.claims import Store
from compare.store.record import Record
from controls.diffusion.config import DiffusionArm
from controls.looped.config import LoopedArm
from ebt.config import EBTArm
from ebt.parallel.config import ParallelArm
from rl_baseline.config import RLArm, TransformerArm
from tests.compare.planted.cells import alone, identity

ADDITION = Addition(name="addition", min_digits=2, max_digits=2, batch=8)
RL: dict[str, Any] = {"prompts": 4, "group": 4, "probe": 4, "probe_samples": 2}
ARMS = {
    "transformer": TransformerArm(name="transformer"),
    "looped": LoopedArm(name="looped", loops=2),
    "s2": EBTArm(
        name="s2", loss="every", extra_steps=2, alpha_spread=2.0, langevin=0.1, replay=12, alpha_lr=100.0
    ),
    "gated": EBTArm(name="gated", start="head", gate="entropy", gate_share=0.5),
    "matched_temperature": RLArm(name="t", entropy="temperature", **RL),
    "parallel": ParallelArm(name="parallel", extra_steps=1, langevin=0.1, ladder=["think_2x2"]),
    "diffusion": DiffusionArm(name="diffusion", steps=2, levels=2),
    "adaptive": RLArm(name="a", entropy="adaptive", entropy_target=None, loss="clip_cov", updates=2, **RL),
}


SUDOKU = Sudoku(name="sudoku", batch=4)
"""For arms that answer at fixed places."""
FLOPS = {"s2": 4e8, "gated": 2e8, "transformer": 1e8, "parallel": 6e8, "diffusion": 2e8}


class Killed(BaseException):
    """Stands in for SIGKILL: nothing of the process survives it but its files."""


@pytest.fixture
def planned(tiny_cell) -> Callable[..., Planned]:
    def build(arm: Any, task: Any = ADDITION, flops: float = 1.2e8) -> Planned:
        cell = tiny_cell(arm, task, flops=flops)
        trainer = dataclasses.replace(cell.trainer, checkpoint_minutes=0.0, accelerator="cpu", problems=8)
        cell = dataclasses.replace(cell, trainer=trainer)
        return alone(cell)

    return build


def run(planned: Planned, folder, news: list[str] | None = None) -> Record:
    store = Store(folder)
    store.prepare()
    told: list[float | str] = []
    try:
        return run_cell(planned, store, "abc", Logger(name="none"), told.append)
    finally:
        if news is not None:
            news += [line for line in told if isinstance(line, str)]


def kill_after(saves: int, monkeypatch, error: BaseException | None = None) -> None:
    """Die right after so many snapshots."""
    left = [saves]
    save = Resume.save

    def once(self, trainer) -> None:
        save(self, trainer)
        left[0] -= 1
        if left[0] == 0:
            raise error or Killed

    monkeypatch.setattr(Resume, "save", once)


def same(record: Record, other: Record) -> None:
    one, two = (dataclasses.replace(r, seconds={}, environment={}) for r in (record, other))
    assert one == two


def weights(folder, planned: Planned) -> dict[str, torch.Tensor]:
    path = folder / "cells" / planned.identity / "checkpoint.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("name", ARMS)
def test_a_killed_cell_ends_as_if_nothing_had_happened(name: str, planned, tmp_path, monkeypatch) -> None:
    task = SUDOKU if name in ("parallel", "diffusion") else ADDITION
    one = planned(ARMS[name], task, flops=FLOPS.get(name, 1.6e8))
    saves: list[int] = []
    with monkeypatch.context() as patch:
        save = Resume.save
        patch.setattr(Resume, "save", lambda *given: (saves.append(1), save(*given)))
        whole = run(one, tmp_path / "whole")
    assert whole.status == "done", whole.traceback
    total = len(saves)
    assert total > 9
    stages: list[str] = []
    for count in (2, total // 2, total // 3):
        with monkeypatch.context() as patch:
            kill_after(count, patch)
            with pytest.raises(Killed):
                run(one, tmp_path / "killed")
        state, _ = Snapshots(tmp_path / "killed/cells" / one.identity, one.identity).read()
        assert state is not None
        stages.append(state["contender"]["stage"])
        torch.manual_seed(7)  # another process begins with other random states
        random.seed(7)
        numpy.random.seed(7)
    ended = run(one, tmp_path / "killed")
    same(ended, whole)
    assert set(stages) == ({"warm_start", "rl"} if one.cell.arm.kind == "rl" else {"train"})
    mine, theirs = (weights(tmp_path / folder, one) for folder in ("whole", "killed"))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    folder = tmp_path / "killed/cells" / one.identity
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint.ckpt", "log.txt", "record.json"]
    assert (folder / "log.txt").read_text().count("goes on at step") == 3
    assert ended.seconds["total"] > whole.seconds["total"] / 100


def test_global_random_numbers_go_on(planned, tmp_path, monkeypatch) -> None:
    """Dropout of a pretrained model, say: noise that a step draws from the process's own generators."""
    from rl_baseline.supervised import TransformerModule

    step = TransformerModule.training_step

    def noisy(self, batch, batch_idx) -> None:
        step(self, batch, batch_idx)
        with torch.no_grad():
            scale = 1e-3 * (random.random() + numpy.random.rand())
            for parameter in self.parameters():
                parameter.add_(torch.randn(parameter.shape), alpha=scale)

    monkeypatch.setattr(TransformerModule, "training_step", noisy)
    one = planned(ARMS["transformer"], flops=4e7)
    whole = run(one, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_after(5, patch)
        with pytest.raises(Killed):
            run(one, tmp_path / "killed")
    random.seed(7)
    numpy.random.seed(7)
    same(run(one, tmp_path / "killed"), whole)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "both"])
def test_a_damaged_snapshot_falls_back_and_says_so(damage: str, planned, tmp_path, monkeypatch) -> None:
    one = planned(ARMS["transformer"], flops=4e7)
    whole = run(one, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_after(6, patch)
        with pytest.raises(Killed):
            run(one, tmp_path / "killed")
    folder = tmp_path / "killed/cells" / one.identity
    newest, before = folder / "resume.ckpt", folder / "resume.previous.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= damage in ("flipped", "both")
    newest.write_bytes({"cut": content[:-100], "empty": b""}.get(damage, bytes(content)))
    if damage == "both":
        before.write_bytes(b"nonsense")
    news: list[str] = []
    same(run(one, tmp_path / "killed", news), whole)
    assert len(news) == 1
    assert news[0].startswith("resume.ckpt is torn or corrupt")
    # Snapshot n is taken before step n, counted from 0: the sixth at step 5, the one before it at 4.
    assert news[0].endswith("starts again" if damage == "both" else "goes on at step 4")


def test_a_snapshot_of_another_program_is_not_used(planned, tmp_path, monkeypatch) -> None:
    one = planned(ARMS["transformer"], flops=4e7)
    whole = run(one, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_after(6, patch)
        with pytest.raises(Killed):
            run(one, tmp_path / "killed")
    snapshots = Snapshots(tmp_path / "killed/cells" / one.identity, one.identity)
    state, _ = snapshots.read()
    assert state is not None
    state["module"].popitem()
    snapshots.write(state)
    news: list[str] = []
    same(run(one, tmp_path / "killed", news), whole)
    assert "does not fit this program" in news[0]
    assert news[0].endswith("starts again")


def test_a_snapshot_is_data_alone(tmp_path) -> None:
    snapshots = Snapshots(tmp_path, "a")
    snapshots.write({"x": torch.ones(2), "y": [1, None, "z"]})
    state, wrong = snapshots.read()
    assert state is not None
    assert (state["y"], wrong) == ([1, None, "z"], [])
    with pytest.raises(TypeError, match="cannot hold Text"):
        plain({"x": [Text(name="text")]})
    assert [type(x) for x in plain([numpy.float64(1.5), numpy.int64(2), True])] == [float, int, bool]
    # A whole file with something else in it, as an attacker would write it.
    snapshots.write({"x": Unusable("code")})
    state, wrong = snapshots.read()
    assert state is not None  # the one before
    assert "UnpicklingError" in wrong[0]


def test_random_states_come_back() -> None:
    state = random_state()
    drawn = random.random(), numpy.random.rand(), float(torch.rand(()))
    restore_random(state)
    assert drawn == (random.random(), numpy.random.rand(), float(torch.rand(())))


def test_a_request_to_stop_saves_between_two_steps(planned, tmp_path, monkeypatch) -> None:
    one = planned(ARMS["adaptive"])
    whole = run(one, tmp_path / "whole")
    trainer = dataclasses.replace(one.cell.trainer, checkpoint_minutes=1e6)
    one = dataclasses.replace(one, cell=dataclasses.replace(one.cell, trainer=trainer))
    assert identity(one.cell, {}) == one.identity
    steps = [0]

    def asked() -> bool:
        steps[0] += 1
        return steps[0] == 9

    with monkeypatch.context() as patch:
        patch.setattr(module.stop, "asked", asked)
        with pytest.raises(stop.Stopped):
            run(one, tmp_path / "stopped")
    folder = tmp_path / "stopped/cells" / one.identity
    assert (folder / "resume.ckpt").exists()
    assert not (folder / "record.json").exists()
    ended = run(one, tmp_path / "stopped")
    same(dataclasses.replace(ended, config=whole.config), whole)


def test_a_request_during_evaluation_is_heard_at_once(planned, tmp_path, monkeypatch) -> None:
    one = planned(ARMS["transformer"], flops=4e7)
    whole = run(one, tmp_path / "whole")
    from compare.run import watch

    evaluate, calls = watch.evaluate, [0]

    def asked(*arguments):
        calls[0] += 1
        if calls[0] == 2:  # the first severity is done, the second under way
            stop._ask(15, None)
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(watch, "evaluate", asked)
        patch.setattr(stop, "_requested", False)
        with pytest.raises(stop.Stopped):
            run(one, tmp_path / "stopped")
    state, _ = Snapshots(tmp_path / "stopped/cells" / one.identity, one.identity).read()
    assert state is not None
    assert {e["severity"] for e in state["watch"]["evaluations"]} == {0}
    same(run(one, tmp_path / "stopped"), whole)


def full(*arguments: object, **named: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_the_snapshot_not_the_cell(planned, tmp_path, monkeypatch) -> None:
    one = planned(ARMS["transformer"], flops=4e7)
    with monkeypatch.context() as patch:
        patch.setattr(module.Snapshots, "write", full)
        assert run(one, tmp_path).status == "done"
    assert (
        "no snapshot (No space left on device)" in (tmp_path / "cells" / one.identity / "log.txt").read_text()
    )


def test_a_disk_too_full_for_the_record_leaves_none_and_the_cell_goes_on(
    planned, tmp_path, monkeypatch
) -> None:
    one = planned(ARMS["transformer"], flops=4e7)
    whole = run(one, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", full)
        with pytest.raises(OSError, match="No space left"):
            run(one, tmp_path / "full")
    folder = tmp_path / "full/cells" / one.identity
    assert not (folder / "record.json").exists()
    same(run(one, tmp_path / "full"), whole)
    assert "goes on at step" in (folder / "log.txt").read_text()


def test_what_killed_writers_left_is_swept(planned, tmp_path) -> None:
    one = planned(ARMS["transformer"], flops=4e7)
    folder = tmp_path / "cells" / one.identity
    folder.mkdir(parents=True)
    for name in (".resume.ckpt.abc", ".record.json.abc"):
        (folder / name).write_text("half")
    run(one, tmp_path)
    assert not list(folder.glob(".*"))
