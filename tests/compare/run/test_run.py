"""The pool of workers: a cell that kills its worker fails alone."""

import dataclasses
import os

import pytest

from arena.config import Addition, Budget
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import pool as module
from compare.run.outcome import Outcome
from compare.run.pool import run
from compare.store.claims import Store
from rl_baseline.config import TransformerArm
from tests.compare.planted.cells import alone

DEADLY, LOSING = 3, 5


def work(planned: Planned, *rest: object) -> Outcome:
    """Stands in for a worker's body; runs in the worker process."""
    if planned.cell.seed == DEADLY:
        os._exit(9)
    if planned.cell.seed == LOSING:
        return Outcome(planned=planned, status="died", reason="process 1 of 2 ended by signal 9")
    return Outcome(planned=planned, status="done", headline="fine")


@pytest.mark.slow
def test_a_cell_that_kills_its_worker_fails_alone(tmp_path, tiny_cell, monkeypatch) -> None:
    monkeypatch.setattr(module, "_work", work)
    store = Store(tmp_path)
    store.prepare()
    plan = []
    for seed in range(6):
        cell = tiny_cell(TransformerArm(name="transformer"), Addition(name="addition"), seed=seed)
        cell = dataclasses.replace(cell, budget=Budget(flops=1e9))
        plan.append(alone(cell))
    seen: list[Outcome] = []
    outcomes = run(
        plan,
        store,
        commit="c",
        logger=Logger(name="none"),
        workers=2,
        again={},
        ended=seen.append,
        told=lambda identity, what: None,
    )
    assert seen == outcomes
    assert {o.planned.cell.seed: o.status for o in outcomes} == {
        seed: "failed" if seed in (DEADLY, LOSING) else "done" for seed in range(6)
    }
    record = store.record(plan[DEADLY].identity)
    assert record is not None
    assert record.status == "failed"
    assert "worker process died" in record.reason
    # The others' records are their workers' business: nothing was written in their name.
    assert {r.cell for r in store.glances()} == {record.cell, plan[LOSING].identity}
    lost = store.record(plan[LOSING].identity)
    assert lost is not None
    assert lost.reason.startswith("process 1 of 2 ended by signal 9 (out of memory?)")
