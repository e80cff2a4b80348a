"""A cell's identity holds what changes its result and nothing else; the command line narrows a grid."""

import dataclasses

import pytest
from hydra import initialize_config_dir

from arena.config import Addition, Budget, Cell, ConfigError, Text, TrainerConfig
from compare.config import conf_folder, register
from compare.plan import Request, expand, identity, narrow
from ebt.config import EBTArm
from rl_baseline.config import RLArm
from tests.compare.test_config import root
from tests.conftest import TINY


@pytest.fixture(autouse=True)
def hydra():
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


BASE = Cell(
    arm=EBTArm(name="ebt_s1"),
    task=Addition(name="addition"),
    size=TINY,
    budget=Budget(flops=1e9),
    trainer=TrainerConfig(),
    seed=0,
)
CHANGES = {
    "arm": {"arm": EBTArm(name="ebt_s1", steps=3)},
    "task": {"task": Addition(name="addition", batch=64)},
    "size": {"size": dataclasses.replace(TINY, lr=1e-3)},
    "budget": {"budget": Budget(flops=2e9)},
    "trainer": {"trainer": TrainerConfig(clip=2.0)},
    "seed": {"seed": 1},
}


@pytest.mark.parametrize("key", CHANGES)
def test_what_changes_the_result_changes_the_identity(key: str) -> None:
    changed = dataclasses.replace(BASE, **CHANGES[key])
    assert identity(changed, {}) != identity(BASE, {})
    assert identity(BASE, {"sha256": "a"}) != identity(BASE, {"sha256": "b"})


def test_where_it_runs_does_not() -> None:
    elsewhere = dataclasses.replace(BASE, trainer=TrainerConfig(accelerator="cpu", threads=7))
    assert identity(elsewhere, {}) == identity(BASE, {})
    text = dataclasses.replace(BASE, task=Text(name="text", path="here"))
    moved = dataclasses.replace(BASE, task=Text(name="text", path="there"))
    assert identity(text, {}) == identity(moved, {})


def test_settings_younger_than_the_first_records_leave_them_valid() -> None:
    rl = dataclasses.replace(BASE, arm=RLArm(name="rl_grpo"))
    # Computed by the code that wrote the first records.
    assert identity(rl, {}) == "7b2865e3e3b07257"
    for changes in ({"micro_batch": 8}, {"credit": "random"}, {"entropy": "bonus"}, {"group": 4}):
        changed = dataclasses.replace(rl, arm=dataclasses.replace(rl.arm, **changes))
        assert identity(changed, {}) != identity(rl, {})


def plan(*overrides: str):
    given = ("+experiment=scaling", *overrides)
    request = Request(root=root(*given), overrides=given)
    return narrow(expand(request), request)


def test_the_command_line_narrows_the_grid() -> None:
    everything = plan()
    assert {p.cell.arm.name for p in plan("arm=rl_gppo")} == {"rl_gppo"}
    assert {p.study for p in plan("task=text")} == {"text"}
    assert {p.cell.seed for p in plan("seed=1")} == {1}
    assert {p.cell.seed for p in plan("experiment.seeds=[7]")} == {7}
    some = plan("arm=ebt_s1", "seed=2")
    assert {p.identity for p in some} < {p.identity for p in everything}


def test_trainer_settings_reach_every_cell() -> None:
    assert {p.cell.trainer.clip for p in plan("trainer.clip=0.5")} == {0.5}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=99", "no cell of experiment scaling"),
        ("task.batch=3", r"experiment\.studies\.NAME\.overrides"),
        ("experiment.seeds=[1,1]", "twice"),
        ("experiment.seeds=[]", "at least one"),
        ('experiment.studies.text.overrides=["arm.steps=9"]', "neither task"),
    ],
)
def test_what_an_experiment_cannot_mean_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(override)
