"""Every puzzle trains and is evaluated with every kind of arm."""

from collections.abc import Iterator

import pytest

from arena.config import TaskConfig
from arena.tasks import build_task
from arena.tasks.countdown import Countdown
from arena.tasks.dag import Dag
from arena.tasks.path_star import PathStar
from arena.tasks.sudoku import Sudoku
from compare.plan.config import Logger
from compare.plan.families import family
from compare.run.cell import run_cell
from compare.store.claims import Store
from controls.diffusion.config import DiffusionArm
from controls.looped.config import LoopedArm
from ebt.config import EBTArm
from ebt.parallel.config import ParallelArm
from rl_baseline.config import RLArm, TransformerArm
from tests.compare.planted.cells import alone

TASKS: list[TaskConfig] = [
    Sudoku(name="sudoku_chain", chain=True, batch=8),
    Dag(name="dag_chain", chain=True, batch=8),
    PathStar(name="path_star", arms=2, length=2, batch=8),
    Countdown(name="countdown_chain", chain=True, batch=8),
]
ARMS = [
    TransformerArm(name="transformer", ladder=["majority@2", "oracle@2"]),
    EBTArm(name="ebt_s1"),
    LoopedArm(name="looped", loops=2, ladder=["loop_1"]),
    RLArm(name="rl_hicra", credit="hicra", prompts=2, group=2),
]


FIXED: list[TaskConfig] = [
    Sudoku(name="sudoku", batch=8),
    Sudoku(name="sudoku9", side=9, min_blanks=20, max_blanks=24, batch=2),
]
WHOLE = [
    ParallelArm(name="ebt_parallel", start="zero", conditioning="none"),
    ParallelArm(name="ebt_parallel_head", start="head", graph="all", parametrisation="mirror"),
    DiffusionArm(name="diffusion", steps=2, levels=2),
]
"""Arms that answer at fixed places, all at once."""


def combinations() -> Iterator[tuple[TaskConfig, object]]:
    """Rewarding the plan needs a chain that has one."""
    for task in TASKS:
        yield from ((task, arm) for arm in ARMS if arm.kind != "rl" or getattr(task, "chain", False))
    for task in FIXED:
        yield from ((task, arm) for arm in WHOLE)


@pytest.mark.parametrize(("task", "arm"), combinations(), ids=lambda part: part.name)
def test_a_puzzle_trains_and_is_evaluated(arm, task: TaskConfig, tiny_cell, tmp_path) -> None:
    cell = tiny_cell(arm, task)
    cell = tiny_cell(arm, task, flops=1.1 * family(cell).minimum_flops(cell, build_task(task)))
    cell.validate()
    planned = alone(cell)
    store = Store(tmp_path)
    store.prepare()
    record = run_cell(planned, store, "abc", Logger(name="none"), lambda spent: None)
    assert record.status == "done", record.traceback
    axis = next(iter(build_task(task).axes))
    found = {(e.metric, e.axis, e.severity) for e in record.evaluations}
    metrics = {metric for metric, _, _ in found}
    assert {"loss", "exact", "edit"} <= metrics
    assert metrics <= {"loss", "exact", "edit", "chain", "plan", "execution"}
    assert found == {(m, axis, s) for m in metrics for s in (0, 1)}
    assert (record.reward_queries > 0) == (arm.kind == "rl")
