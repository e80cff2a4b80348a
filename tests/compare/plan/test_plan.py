"""A cell's identity holds what changes its result and nothing else; the command line narrows a grid."""

import dataclasses
import math

import pytest
from hydra import initialize_config_dir

from arena.config import Addition, Budget, Cell, ConfigError, Text, TrainerConfig
from arena.tasks import build_task
from compare.folders import conf_folder
from compare.plan.cells import expand, expected_flops, narrow
from compare.plan.config import Request, register
from compare.plan.families import family
from compare.run.outcome import blank_record
from ebt.config import EBTArm
from tests.compare.plan.test_config import root
from tests.compare.planted.cells import identity
from tests.conftest import TINY
from tests.rl_baseline.tiny_models import FAMILIES, byte_level, save


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
    "data": {"budget": Budget(flops=1e9, problems=512)},
    "pool": {"trainer": TrainerConfig(pool=64)},
}


@pytest.mark.parametrize("key", CHANGES)
def test_what_changes_the_result_changes_the_identity(key: str) -> None:
    changed = dataclasses.replace(BASE, **CHANGES[key])
    assert identity(changed, {}) != identity(BASE, {})
    assert identity(BASE, {"sha256": "a"}) != identity(BASE, {"sha256": "b"})


def test_a_setting_added_later_leaves_older_cells_their_names() -> None:
    # Taken from the version before budget.problems and trainer.pool existed.
    assert identity(BASE, {}) == "94bfc61a1b30141e"


def test_where_it_runs_does_not() -> None:
    elsewhere = dataclasses.replace(BASE, trainer=TrainerConfig(accelerator="cpu", threads=7, devices=2))
    assert identity(elsewhere, {}) == identity(BASE, {})
    text = dataclasses.replace(BASE, task=Text(name="text", path="here"))
    moved = dataclasses.replace(BASE, task=Text(name="text", path="there"))
    assert identity(text, {}) == identity(moved, {})


def plan(*overrides: str):
    given = ("+experiment=scaling", *overrides)
    request = Request(root=root(*given), overrides=given)
    return narrow(expand(request), request)


def test_the_command_line_narrows_the_grid() -> None:
    everything = plan()
    assert {p.cell.arm.name for p in plan("arm=rl_gppo")} == {"rl_gppo"}
    assert {p.study for p in plan("task=text")} == {"text"}
    assert {p.cell.seed for p in plan("seed=101")} == {101}
    assert {p.cell.seed for p in plan("experiment.seeds=[7]")} == {7}
    some = plan("arm=ebt_s1", "seed=102")
    assert {p.identity for p in some} < {p.identity for p in everything}


def test_trainer_settings_reach_every_cell() -> None:
    assert {p.cell.trainer.clip for p in plan("trainer.clip=0.5")} == {0.5}


def test_what_is_set_for_a_family_reaches_its_arms_and_no_other() -> None:
    changed = plan('+experiment.studies.addition.family_overrides={rl:["arm.warm_until=0.3"]}')
    assert {p.cell.arm.warm_until for p in changed if p.cell.arm.kind == "rl"} == {0.3}
    others = {p.identity for p in plan() if p.cell.arm.kind != "rl"}
    assert {p.identity for p in changed if p.cell.arm.kind != "rl"} == others


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=99", "no cell of experiment scaling"),
        ("task.batch=3", r"experiment\.studies\.NAME\.overrides"),
        ("experiment.seeds=[1,1]", "twice"),
        ("experiment.seeds=[]", "at least one"),
        ('experiment.studies.text.overrides=["arm.steps=9"]', "neither task"),
        (
            '+experiment.studies.addition.family_overrides={rl:["task.batch=9"]}',
            "sets no setting of an arm",
        ),
        ('+experiment.studies.addition.family_overrides={lr:["arm.steps=1"]}', "choose one of ebt"),
        ('+experiment.studies.addition.family_overrides={rl:["arm.name=x"]}', "sets no setting of an arm"),
        (
            '+experiment.studies.addition.family_overrides={rl:["arm.nope=1"]}',
            "arm.nope=1: Key 'nope' not in",
        ),
        ('+experiment.studies.addition.family_overrides={rl:["arm.updates=x"]}', "arm.updates=x: Value 'x'"),
    ],
)
def test_what_an_experiment_cannot_mean_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(override)


def test_shifts_that_a_task_lacks_are_refused_and_the_default_takes_what_there_is(tmp_path) -> None:
    for severities in (5, 6):
        given = ("arm=transformer", "task=sudoku", f"trainer.severities={severities}")
        request = Request(root=root(*given), overrides=given)
        if severities == 5:
            assert len(expand(request)) == 1
            continue
        with pytest.raises(ConfigError, match=r"trainer\.severities=6: .* blanks 0 to 4; use at most 5"):
            expand(request)
    (tmp_path / "own.txt").write_text("\n".join(f"line {i} of a text" for i in range(999)))
    given = ("arm=transformer", "task=text", f"task.path={tmp_path / 'own.txt'}")
    assert len(expand(Request(root=root(*given), overrides=given))) == 1


def test_a_pretrained_arm_is_planned_from_its_files_wherever_they_lie(tmp_path) -> None:
    folders = [save(tmp_path / name / "model", FAMILIES["llama"], byte_level()) for name in "ab"]
    plans = []
    for folder in folders:
        given = ("arm=transformer", f"arm.pretrained={folder}", "budget.flops=1e10")
        plans += expand(Request(root=root(*given), overrides=given))
    first, second = plans
    assert first.identity == second.identity
    assert first.identity != expand(Request(root=root("arm=transformer"), overrides=()))[0].identity
    assert first.parameters > first.non_embedding > 0
    record = blank_record(first, "commit")
    assert record.config["arm"]["pretrained"] == "model"
    assert str(tmp_path) not in str(record)
    given = ("arm=transformer", f"arm.pretrained={folders[0]}", "budget.flops=1000")
    request = Request(root=root(*given), overrides=given)
    with pytest.raises(ConfigError, match=r"budget\.flops=1000: too small"):
        expand(request)


def ceiling(*overrides: str):
    given = ("+experiment=ceiling", *overrides)
    return expand(Request(root=root(*given), overrides=given))


def contrast(arm: str, baseline: str, quantity: str) -> str:
    one = f"{{study: addition, arm: {arm}, baseline: {baseline}, quantity: {quantity}, margin: 0.1}}"
    return f"experiment.contrasts=[{one}]"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (contrast("rl_grpo", "warm_start", "charm"), "choose one of"),
        (contrast("ebt_s1", "rl_grpo", "ceiling"), "ebt_s1 is of family ebt, which no reward trains"),
        (contrast("rl_grpo", "transformer", "above_ceiling"), "transformer is of family transformer"),
        (contrast("transformer", "carry_last", "forecast_error"), "transformer is of family transformer"),
        (contrast("rl_grpo", "rl_hicra", "ceiling"), "does not plan"),
        (contrast("ebt_s1", "rl_grpo", "extra_gain"), "ebt_s1 is of family ebt, which no reward trains"),
        (contrast("rl_grpo", "rl_gppo", "entropy_lag"), "goes with baseline execute_tokens, not rl_gppo"),
        (
            "experiment.contrasts=[{study: addition, arm: ebt_s1, baseline: transformer, "
            "quantity: final_error, margin: 0.1, severity: 2}]",
            "study addition measures 2 severities, from 0; raise trainer.severities",
        ),
        ("experiment.axis=batch", "all rungs of axis=batch share"),
        ("experiment.fit_share=0", "needs fit_share"),
        ("experiment.fit_share=1.5", "fit_share=1.5"),
    ],
)
def test_a_contrast_that_its_arms_cannot_answer_is_refused_before_training(
    override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        ceiling(override)
    assert "\n" not in str(error.value)
    assert "experiment ceiling: " in str(error.value)


def test_the_ceiling_is_measured_at_one_compute_on_every_update() -> None:
    cells = ceiling()
    assert len({p.cell.budget.flops for p in cells}) == 1
    assert {p.cell.trainer.history for p in cells} == {1000}
    assert {p.cell.arm.kind for p in cells} == {"ebt", "transformer", "rl"}


def test_a_cell_that_runs_out_of_problems_is_not_expected_to_spend_its_budget() -> None:
    task = build_task(BASE.task)
    few = dataclasses.replace(BASE, budget=Budget(flops=1e15, problems=10 * BASE.task.batch))
    assert expected_flops(few, task) == 10 * family(few).step_flops(few, task)
    assert expected_flops(dataclasses.replace(BASE, budget=Budget(flops=1e9, problems=10**9)), task) == 1e9


def test_arms_trained_by_reward_are_compared_at_equal_compute_only() -> None:
    request = Request(root=root("arm=rl_grpo", "task=addition", "budget.problems=64"), overrides=())
    with pytest.raises(ConfigError, match=r"arm=rl_grpo with budget.problems=64: .*leave budget.problems"):
        expand(request)


def test_the_anatomy_compares_choices_of_tokens_and_nothing_else() -> None:
    given = ("+experiment=anatomy",)
    request = Request(root=root(*given), overrides=given)
    cells = expand(request)
    arms = {p.cell.arm.name: p.cell.arm for p in cells}
    every = dataclasses.asdict(arms["rl_clip_higher"])
    for name in ("rl_forking", "rl_non_forking", "rl_random_tokens"):
        own = dataclasses.asdict(arms[name])
        differing = {key for key in own if own[key] != every[key]}
        # The dual clip bounds what no ratio here comes near (DAPO: 10).
        assert differing <= {"name", "credit", "credit_share", "credit_denominator", "dual_clip"}
    # The true labelling alone must be able to pass Holm's first step.
    problem = build_task(cells[0].cell.task).problem("train", 0, 0)
    plan, execute = (problem.classes.count(name) for name in ("plan", "execute"))
    contrasts = len(request.root.experiment.contrasts)
    assert contrasts / math.comb(plan + execute, plan) < 0.05


def test_forking_tokens_are_asked_about_at_two_sizes_that_differ_in_nothing_else() -> None:
    given = ("+experiment=forking_sizes",)
    request = Request(root=root(*given), overrides=given)
    small, large = ([p for p in expand(request) if p.study == name] for name in ("small", "large"))
    assert [(p.cell.arm, p.cell.task, p.cell.trainer, p.cell.seed) for p in small] == [
        (p.cell.arm, p.cell.task, p.cell.trainer, p.cell.seed) for p in large
    ]
    grown = large[0].non_embedding / small[0].non_embedding
    assert grown == pytest.approx(large[0].flops / small[0].flops, rel=0.02) == pytest.approx(4, rel=0.02)
    assert {p.cell.arm.warm_until for p in small} == {0.3}
    asked = {(c.study, c.baseline) for c in request.root.experiment.contrasts}
    assert asked == {(s, b) for s in ("small", "large") for b in ("rl_clip_higher", "rl_random_tokens")}


def ood(*overrides: str):
    given = ("+experiment=ood", *overrides)
    return expand(Request(root=root(*given), overrides=given))


def along(arm: str, baseline: str, quantity: str, axis: str) -> str:
    named = f"arm: {arm}, baseline: {baseline}, quantity: {quantity}, axis: {axis}"
    one = f"{{study: sudoku, {named}, margin: 0.1}}"
    return f"experiment.contrasts=[{one}]"


def test_an_experiment_along_axes_of_shift_is_planned() -> None:
    cells = ood()
    assert {p.cell.trainer.severities for p in cells if p.study == "sudoku"} == {5}
    assert all(p.cell.arm.ladder == ["think_1", "think_4"] for p in cells if p.cell.arm.kind == "ebt")
    assert ood(along("ebt_s1", "severity", "thinking_shift", "blanks"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            along("ebt_s1", "transformer", "decay_slope", "colour"),
            "axis colour: study sudoku has blanks; name",
        ),
        (along("ebt_s1", "transformer", "final_error", "blanks"), "axis blanks goes with decay_slope"),
        (
            along("rl_grpo", "severity", "thinking_shift", "blanks"),
            "rl_grpo is of family rl, which does not think",
        ),
        (along("ebt_s1", "transformer", "thinking_shift", "blanks"), "goes with baseline severity"),
        ("trainer.severities=1", "severities=1 measures in distribution only"),
    ],
)
def test_a_contrast_along_an_axis_that_cannot_be_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        ood(override)
    assert "\n" not in str(error.value)
