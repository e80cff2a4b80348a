"""Traces are recorded from what was solved, read strictly, and absent from older records without harm."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arena.config import Addition
from arena.contender import Trajectory
from arena.data import held_out
from arena.tasks import build_task
from arena.tasks.addition import AdditionTask
from arena.tasks.base import Problem, Verdict
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import stop, watch
from compare.run import trajectories as tracing
from compare.run.cell import run_cell
from compare.store.claims import Store
from compare.store.record import Record, RecordError, dump, load
from ebt.config import EBTArm
from rl_baseline.config import TransformerArm
from tests.compare.planted import energy as planted
from tests.compare.planted.cells import alone
from tests.compare.store.test_record import doctor


@pytest.fixture
def good() -> Record:
    cell = planted.planned("ebt_s1", 0)
    return planted.record(cell, (planted.descent(1.0, np.random.default_rng(0)),))


def test_round_trip_keeps_everything(tmp_path: Path, good: Record) -> None:
    path = tmp_path / "record.json"
    path.write_text(dump(good), encoding="utf-8")
    assert load(path) == good
    assert good.traces


def test_an_older_record_has_none(tmp_path: Path, good: Record) -> None:
    path = doctor(tmp_path, good, lambda raw: (raw.pop("traces"), raw.pop("digest")))
    assert load(path) == dataclasses.replace(good, traces=())


def alter(name: str, value: Any) -> Any:
    return lambda trace: trace.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("energy"), "field energy is missing"),
        (alter("more", 1), "field more is unknown"),
        (alter("energy", 3.0), r"field traces\[0\]\.energy=3\.0 is not a list"),
        (
            lambda t: t["energy"].__setitem__(0, "low"),
            r"field traces\[0\]\.energy\[0\]='low' is not of type float",
        ),
        (lambda t: t["energy"].pop(), "59 entries of energy for 60 problems"),
        (lambda t: t["tokens"].__setitem__(0, 1.5), r"field traces\[0\]\.tokens\[0\]=1.5 is not of type int"),
        (lambda t: t["tokens"].__setitem__(0, 0), r"tokens\[0\]=0: Expected `int` >= 1"),
        (lambda t: t["entropy"].__setitem__(0, -0.1), r"entropy\[0\]=-0\.1: Expected `float` >= 0"),
        (alter("severity", -1), "severity=-1: Expected `int` >= 0"),
        (lambda t: t.update(correct="2" + t["correct"][1:]), r"field traces\[0\]\.correct='2"),
        (lambda t: t.update(correct=""), "no problems"),
        (lambda t: t.update(correct=t["correct"][::-1]), "is not the mean of its problems"),
        (lambda t: t["courses"].pop(), r"courses \[False\] do not match the outcomes"),
        (
            lambda t: (t.update(correct="1" * len(t["correct"])), t["courses"][0].update(n=0)),
            r"courses \[False, True\] do not match the outcomes",
        ),
        (
            lambda t: t["courses"][0].update(solved="no"),
            r"field traces\[0\]\.courses\[0\]\.solved='no' is not of type bool",
        ),
        (lambda t: t["courses"][0].update(n=3), "failed: n=3 does not match the outcomes"),
        (lambda t: t["courses"][1]["energy_sd"].pop(), "solved: 2 entries of energy_sd"),
        (
            lambda t: t["courses"][1]["energy_sd"].__setitem__(0, -1.0),
            r"energy_sd\[0\]=-1\.0: Expected `float` >= 0",
        ),
        (lambda t: t["courses"][1]["energy"].pop(), "differ in their number of steps"),
        (lambda t: t["courses"][1]["energy"].__setitem__(2, 9.0), "solved: last energy 9.0 is not the mean"),
        (lambda t: t["examples"][0]["completions"].pop(), "its entries differ in number"),
        (
            lambda t: t["examples"][0]["completions"].__setitem__(0, 7),
            r"completions\[0\]=7 is not of type str",
        ),
        (lambda t: t["examples"].extend(60 * t["examples"][:1]), "more failed examples than failed"),
        (lambda t: (t["courses"].clear(), t["examples"].clear()), "or have none"),
    ],
)
def test_a_doctored_trace_is_refused_by_name(tmp_path: Path, good: Record, change: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message) as error:
        load(doctor(tmp_path, good, lambda raw: change(raw["traces"][0])))
    assert "\n" not in str(error.value)


class Scripted:
    """Gives the trajectories that it was told to; enough of a contender to be traced."""

    def __init__(self, paths: list[Trajectory]) -> None:
        self.paths, self.keys = paths, []

    def trajectories(self, problems: Any, key: Any = ()) -> list[Trajectory]:
        self.keys.append(key)
        return self.paths[: len(problems)]


def test_what_is_recorded_by_hand() -> None:
    """Five problems, the second and the last failed."""
    task = build_task(Addition(name="addition", min_digits=2, max_digits=2))
    problems = held_out(task, "test", 5)
    paths = []
    for i, problem in enumerate(problems):
        last = problem.answer if i not in (1, 4) else (0, *problem.answer[1:-1], 0, task.end)
        paths.append(
            Trajectory(
                completions=((0,) * len(last), last),
                energy=(10.0 + i, float(i)),
                entropy=(1.0, -1e-9 if i == 0 else 0.1 * i),
            )
        )
    contender: Any = Scripted(paths)
    found = tracing.trace(contender, task, problems, "digits", 0, "final")
    assert found is not None
    assert contender.keys == [("final", 0, 0)]
    assert found.correct == "10110"
    assert found.energy == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert found.entropy == (0.0, 0.1, 0.2, 0.3, 0.4)
    assert found.tokens == (4, 5, 4, 4, 5)
    failed, solved = found.courses
    assert (failed.solved, failed.n, failed.energy) == (False, 2, (12.5, 2.5))
    assert (solved.solved, solved.n) == (True, 3)
    assert solved.energy == pytest.approx((10 + 5 / 3, 5 / 3))
    assert failed.energy_sd == pytest.approx((4.5**0.5, 4.5**0.5))
    assert [e.correct for e in found.examples] == [False, False, True, True, True]
    assert found.examples[0].prompt == task.text(problems[1].prompt)
    assert found.examples[0].completions[0] == "00000"
    assert found.examples[2].reference == task.text(problems[0].answer)
    one = tracing.trace(contender, task, problems[:1], "digits", 0, "final")
    assert one is not None
    assert one.courses[0].energy_sd == (0.0, 0.0)


def test_examples_are_half_failed_as_far_as_there_are_any() -> None:
    task = build_task(Addition(name="addition"))
    problems = held_out(task, "test", 40)
    for wrong, shown in ((0, "111111"), (1, "011111"), (20, "000111"), (38, "000110"), (40, "000000")):
        paths = [
            Trajectory(completions=(p.answer if i >= wrong else (task.end,),), energy=(0.0,), entropy=(0.0,))
            for i, p in enumerate(problems)
        ]
        contender: Any = Scripted(paths)
        found = tracing.trace(contender, task, problems, "digits", 0, "final")
        assert found is not None
        bits = "".join("01"[e.correct] for e in found.examples)
        assert sorted(bits) == sorted(shown)


def test_an_energy_that_is_not_finite_fails_by_name() -> None:
    task = build_task(Addition(name="addition"))
    path = Trajectory(completions=((1,),), energy=(float("nan"),), entropy=(0.0,))
    contender: Any = Scripted([path])
    with pytest.raises(FloatingPointError, match="along the steps, digits 0"):
        tracing.trace(contender, task, held_out(task, "test", 1), "digits", 0, "final")


def test_severity_0_and_the_furthest_of_the_first_axis_are_traced() -> None:
    assert tracing.traced([("digits", 0)]) == [("digits", 0)]
    shifts = [("task", 0), ("task", 1), ("task", 2), ("length", 1), ("length", 3)]
    assert tracing.traced(shifts) == [("task", 0), ("task", 2)]


@pytest.fixture
def planned(tiny_cell):
    def build(arm: Any, seed: int = 0) -> Planned:
        task = Addition(name="addition", min_digits=1, max_digits=2, batch=16)
        cell = tiny_cell(arm, task, flops=4e8, seed=seed)
        return alone(cell)

    return build


def run(planned: Planned, path: Path) -> Record:
    store = Store(path)
    store.prepare()
    record = run_cell(planned, store, "abc", Logger(name="none"), lambda spent: None)
    assert record.status == "done", record.traceback
    # What was written passes the strict reader.
    assert store.record(planned.identity) == record
    return record


def test_a_cell_records_traces_that_agree_with_its_evaluations(
    planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parity(task: AdditionTask, problem: Problem, completion: Sequence[int]) -> Verdict:
        """Hangs on every token of the completion, and is met by half of them: nothing is learnt so soon."""
        even = sum(completion) % 2 == 0
        return Verdict(correct=even, chain_correct=even, plan_correct=even, edit_distance=0.0)

    monkeypatch.setattr(AdditionTask, "verify", parity)
    record = run(planned(EBTArm(name="ebt_s1")), tmp_path / "one")
    assert [(d.axis, d.severity) for d in record.traces] == [("digits", 0), ("digits", 1)]
    for descent in record.traces:
        exact = record.find("exact", severity=descent.severity, effort="think_2")
        assert exact is not None
        assert 0 < exact.value < 1
        assert descent.correct == exact.outcomes
        assert {len(c.energy) for c in descent.courses} == {3}
        assert {e.correct for e in descent.examples} == {True, False}
    again = run(planned(EBTArm(name="ebt_s1")), tmp_path / "two")
    assert again.traces == record.traces
    assert run(planned(TransformerArm(name="transformer")), tmp_path / "three").traces == ()


def test_a_cell_stopped_while_it_evaluates_goes_on_to_the_same_traces(
    planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = planned(EBTArm(name="ebt_s1"))
    whole = run(one, tmp_path / "whole")
    count = 0

    def stopping(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise stop.Stopped
        return tracing.trace(*arguments)

    monkeypatch.setattr(watch, "trace", stopping)
    store = Store(tmp_path / "cut")
    store.prepare()
    with pytest.raises(stop.Stopped):
        run_cell(one, store, "abc", Logger(name="none"), lambda spent: None)
    monkeypatch.undo()
    went_on = run(one, tmp_path / "cut")
    assert went_on.traces == whole.traces
    assert went_on.evaluations == whole.evaluations
    assert json.loads(dump(went_on))["traces"]
