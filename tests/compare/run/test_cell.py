"""A cell ends in a record, whatever happens inside it."""

import dataclasses

import pytest

from arena.config import Addition, Budget
from arena.tasks.dataalchemy import DataAlchemy
from compare.plan.config import Logger
from compare.plan.families import family
from compare.plan.planned import Planned
from compare.run import train as module
from compare.run.cell import run_cell
from compare.store.claims import Store
from compare.store.redaction import scrub
from ebt.config import EBTArm
from ebt.verifier.config import VerifierArm
from rl_baseline.config import RLArm, TransformerArm
from tests.compare.planted.cells import identity


@pytest.fixture
def planned(tiny_cell):
    def build(arm, **settings) -> Planned:
        cell = tiny_cell(arm, Addition(name="addition", min_digits=2, batch=16), **settings)
        return Planned(
            identity=identity(cell, {}),
            study="s",
            cell=cell,
            data={"generator": "addition"},
            parameters=0,
            non_embedding=0,
            flops=cell.budget.flops,
        )

    return build


def run(planned: Planned, tmp_path, logger: Logger | None = None):
    store = Store(tmp_path)
    store.prepare()
    told: list[float | str] = []
    record = run_cell(planned, store, "abc", logger or Logger(name="none"), told.append)
    # What was written is what was returned, and it passes the strict reader.
    assert store.record(planned.identity) == record
    return record


def test_a_record_says_what_was_run_and_what_came_out(planned, tmp_path) -> None:
    record = run(planned(EBTArm(name="ebt_s1"), flops=4e8), tmp_path)
    assert (record.status, record.arm, record.commit) == ("done", "ebt_s1", "abc")
    assert 0.5 * record.budget < record.flops <= record.budget
    assert record.flops == pytest.approx(sum(record.flops_by.values()))
    assert record.problems == 16 * record.steps
    measured = {(e.metric, e.severity) for e in record.evaluations}
    assert measured == {(metric, s) for metric in ("loss", "exact", "edit") for s in (0, 1)}
    assert all(e.n == 16 and e.flops > 0 for e in record.evaluations)
    assert len(set(map(len, record.history.values()))) == 1
    # Operands of two to four digits, of five at severity 1; the sum has one place more.
    within = pytest.approx((1e-3 + 1e-4 + 1e-5) / 3)
    assert record.guess_rates == {"digits": [within, pytest.approx(1e-6)]}
    assert record.data == planned(EBTArm(name="ebt_s1"), flops=4e8).data
    assert (tmp_path / "cells" / record.cell / "checkpoint.ckpt").exists()


@pytest.mark.parametrize(
    "arm", [EBTArm(name="ebt_s1"), TransformerArm(name="transformer")], ids=lambda a: a.name
)
def test_arms_at_equal_data_stop_at_the_same_problem(planned, tmp_path, arm) -> None:
    at = planned(arm, flops=1e11)
    few = dataclasses.replace(at.cell, budget=Budget(flops=1e11, problems=100))
    record = run(dataclasses.replace(at, cell=few), tmp_path)
    assert (record.status, record.problems, record.steps) == ("done", 96, 6)
    # The schedule has run its course, though next to no compute is spent.
    assert record.flops < 1e10


def test_every_axis_of_shift_is_evaluated_and_severity_0_once(tiny_cell, tmp_path) -> None:
    cell = tiny_cell(TransformerArm(name="transformer"), DataAlchemy(name="alchemy", batch=8), flops=1e8)
    cell = dataclasses.replace(cell, trainer=dataclasses.replace(cell.trainer, severities=3, problems=8))
    named = Planned(
        identity=identity(cell, {}), study="s", cell=cell, data={}, parameters=0, non_embedding=0, flops=1e8
    )
    record = run(named, tmp_path)
    assert record.status == "done", record.traceback
    axes = ("task", "element", "length", "steps", "format")
    expected = [("task", 0)] + [(axis, severity) for axis in axes for severity in (1, 2)]
    for metric, effort in (("loss", "likelihood"), ("exact", "greedy"), ("exact", "sample")):
        own = [e for e in record.evaluations if (e.metric, e.effort) == (metric, effort)]
        assert [(e.axis, e.severity) for e in own] == expected
        assert all(e.n == 8 for e in own)


def test_a_checkpoint_loads_as_data_alone(planned, tmp_path) -> None:
    import torch

    record = run(planned(EBTArm(name="ebt_s1"), flops=4e8), tmp_path)
    path = tmp_path / "cells" / record.cell / "checkpoint.ckpt"
    state = torch.load(path, weights_only=True)["state_dict"]
    assert sum(t.numel() for t in state.values()) == record.parameters["total"]


@pytest.mark.parametrize(
    "arm", [EBTArm(name="ebt_s1"), VerifierArm(name="ebt_verifier", samples=[4])], ids=lambda arm: arm.name
)
def test_the_same_seed_gives_the_same_record(planned, tmp_path, arm) -> None:
    one = run(planned(arm, flops=3e8), tmp_path / "one")
    two = run(planned(arm, flops=3e8), tmp_path / "two")
    other = run(planned(arm, flops=3e8, seed=1), tmp_path / "three")
    assert one.history == two.history
    assert one.evaluations == two.evaluations
    assert other.history != one.history


def test_a_stage_is_evaluated_when_it_ends(planned, tmp_path) -> None:
    record = run(planned(RLArm(name="rl_grpo", prompts=4, group=4), flops=4e8), tmp_path)
    before = record.find("exact", stage="warm_start", effort="sample")
    after = record.find("exact", stage="final", effort="sample")
    assert before is not None
    assert after is not None
    assert record.reward_queries > 0
    assert record.flops_by["rollout"] > 0


def test_divergence_is_a_failed_record(planned, tmp_path) -> None:
    record = run(planned(EBTArm(name="ebt_s1", alpha=1e38), flops=4e8), tmp_path)
    assert record.status == "failed"
    assert "at step" in record.reason
    assert "Traceback" in record.traceback
    assert str(tmp_path) not in record.traceback
    assert "/work" not in record.traceback


def test_any_error_inside_a_cell_is_a_failed_record(planned, tmp_path, monkeypatch) -> None:
    one = planned(EBTArm(name="ebt_s1"))

    def broken(cell, task):
        raise RuntimeError("no such luck\nsecond line")

    monkeypatch.setattr(module, "family", lambda cell: type("F", (), {"build": staticmethod(broken)}))
    record = run(one, tmp_path)
    assert record.reason == "RuntimeError: no such luck"
    assert family(one.cell) is not None


def test_paths_are_scrubbed() -> None:
    text = 'File "/home/somebody/project/arena/data.py", line 3'
    assert scrub(text) == 'File "project/arena/data.py", line 3'


def test_weights_and_biases_mirrors_a_cell_offline(planned, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(key, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    record = run(planned(EBTArm(name="ebt_s1"), flops=4e8), tmp_path, Logger(name="wandb", mode="offline"))
    assert record.status == "done", record.traceback
    assert list(tmp_path.glob(f"cells/{record.cell}/wandb/offline-run-*"))
    import wandb

    assert wandb.run is None
