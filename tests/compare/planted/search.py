"""Arms to search for, and the runs that a search leaves, with what they came to."""

from arena.config import Addition, Budget, Cell, TrainerConfig
from compare.calibrate import builders
from compare.plan.config import Search
from compare.store.evidence import Evidence, Run, Trouble
from compare.store.manifest import PlannedCell
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
    name = f"{arm}-{trial}-{seed}"
    return builders.cell(arm, seed, study="s", task="addition", budget=1e9, trial=trial, cell=name)


def run(trial: int, seed: int, loss: float, exact: float | None = None, arm: str = "a") -> Run:
    evaluations = [builders.loss(loss)]
    if exact is not None:
        evaluations.append(builders.loss(exact, effort="greedy", metric="exact"))
    config = {"size": {"lr": 0.001 * trial, "width": 8}, "arm": {"name": arm, "steps": 2, "fixed": 1.0}}
    return builders.run(planned_trial(trial, seed, arm), *evaluations, config=config, commit="c")


def evidence(runs: list[Run], troubles: tuple[Trouble, ...] = ()) -> Evidence:
    cells = tuple(r.planned for r in runs) + tuple(t.planned for t in troubles)
    manifest = builders.manifest(cells, name="tune", commit="c")
    return Evidence(manifest=manifest, runs=tuple(runs), troubles=troubles)
