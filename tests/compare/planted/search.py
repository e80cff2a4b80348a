"""Arms to search for, and the runs that a search leaves, with what they came to."""

from arena.config import Addition, Budget, Cell, TrainerConfig
from compare.plan.config import Search
from compare.store.evidence import Evidence, Run, Trouble
from compare.store.manifest import Manifest, PlannedCell
from compare.store.record import Evaluation, Record
from ebt.config import EBTArm
from rl_baseline.config import TransformerArm
from tests.conftest import TINY

RANGES = {
    "all": {"size.lr": [1e-3, 1e-2]},
    "ebt": {"arm.alpha_target": [1.0, 16.0]},
    "rl_grpo": {"arm.lr_scale": [0.01, 0.1]},
}
SEARCH = Search(trials=6, seed=0, ranges=RANGES)


def cell(arm: object) -> Cell:
    return Cell(
        arm=arm,
        task=Addition(name="addition"),
        size=TINY,
        budget=Budget(flops=1e9),
        trainer=TrainerConfig(split="val"),
        seed=0,
    )


EBT = cell(EBTArm(name="ebt_s1"))
PLAIN = cell(TransformerArm(name="transformer"))


def planned_trial(trial: int, seed: int, arm: str = "a") -> PlannedCell:
    return PlannedCell(
        cell=f"{arm}-{trial}-{seed}",
        study="s",
        arm=arm,
        task="addition",
        size="6xs",
        budget=1e9,
        seed=seed,
        trial=trial,
    )


def run(trial: int, seed: int, loss: float, exact: float | None = None, arm: str = "a") -> Run:
    common = {"stage": "final", "axis": "digits", "severity": 0, "n": 10, "sd": 0.0}
    found = [Evaluation(**common, effort="likelihood", metric="loss", value=loss)]
    if exact is not None:
        found.append(Evaluation(**common, effort="greedy", metric="exact", value=exact))
    record = Record(
        cell=f"{arm}-{trial}-{seed}",
        arm=arm,
        task="addition",
        size="6xs",
        budget=1e9,
        seed=seed,
        status="done",
        config={"size": {"lr": 0.001 * trial, "width": 8}, "arm": {"name": arm, "steps": 2, "fixed": 1.0}},
        data={},
        commit="c",
        environment={},
        evaluations=tuple(found),
    )
    return Run(planned=planned_trial(trial, seed, arm), record=record)


def evidence(runs: list[Run], troubles: tuple[Trouble, ...] = ()) -> Evidence:
    cells = tuple(r.planned for r in runs) + tuple(t.planned for t in troubles)
    manifest = Manifest(
        name="tune", title="t", question="q", command="c", commit="c", contrasts=(), cells=cells
    )
    return Evidence(manifest=manifest, runs=tuple(runs), troubles=troubles)
