"""Every configuration file composes to dataclasses that pass their own checks."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from arena.config import ConfigError, Size, Text
from compare.analysis.registry import quantities
from compare.folders import conf_folder
from compare.plan.cells import expand
from compare.plan.config import Request, Root, register
from compare.plan.families import FAMILIES
from rl_baseline.config import RLArm

GROUPS = ("arm", "task", "size", "budget", "trainer", "logger", "experiment")
FILES = [(g, p.stem) for g in GROUPS for p in sorted((conf_folder() / g).glob("*.yaml"))]


@pytest.fixture(autouse=True)
def hydra():
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def root(*overrides: str) -> Root:
    config = OmegaConf.to_object(compose("config", overrides=list(overrides)))
    assert isinstance(config, Root)
    return config


def test_the_groups_are_those_of_the_folder() -> None:
    # conf/tuned is there once a search has written it.
    assert {p.name for p in conf_folder().iterdir() if p.is_dir()} - {"tuned"} == set(GROUPS)
    assert len(FILES) > 30


@pytest.mark.parametrize(("group", "name"), FILES, ids=lambda x: x)
def test_every_file_composes(group: str, name: str) -> None:
    config = root(f"{'+' if group == 'experiment' else ''}{group}={name}")
    part = getattr(config, group)
    if group not in ("budget", "experiment"):
        part.validate()
    if group not in ("budget", "trainer"):
        assert part.name == name


@pytest.mark.parametrize("name", [p.stem for p in (conf_folder() / "experiment").glob("*.yaml")])
def test_every_experiment_expands_and_names_contrasts_of_its_own_arms(name: str) -> None:
    config = root(f"+experiment={name}")
    plan = expand(Request(root=config, overrides=(f"+experiment={name}",)))
    assert len({p.identity for p in plan}) == len(plan) > 1
    planned = {(p.study, p.cell.arm.name) for p in plan}
    for contrast in config.experiment.contrasts:
        assert (contrast.study, contrast.arm) in planned
        own = contrast.baseline in quantities()[contrast.quantity].baselines
        assert own or (contrast.study, contrast.baseline) in planned


def test_the_default_study_spans_two_decades_in_five_points_and_three_seeds() -> None:
    config = root("+experiment=scaling")
    assert len(config.experiment.seeds) >= 3
    for study in config.experiment.studies.values():
        budgets = [r.flops for r in study.rungs]
        assert len(budgets) >= 5
        assert max(budgets) / min(budgets) >= 99


def test_arms_differ_in_backbone_parameters_by_less_than_two_per_cent() -> None:
    plan = expand(Request(root=root("+experiment=scaling"), overrides=()))
    for study, size in {(p.study, p.cell.size.name) for p in plan}:
        counts = {p.non_embedding for p in plan if (p.study, p.cell.size.name) == (study, size)}
        assert max(counts) <= 1.02 * min(counts)


def test_every_family_of_arms_has_its_schema_and_every_file_its_family() -> None:
    kinds = {root(f"arm={n}").arm.kind for g, n in FILES if g == "arm"}
    assert kinds == set(FAMILIES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Size(name="s", layers=1, heads=3, width=64, lr=1e-3), "size.heads=3"),
        (lambda: Size(name="s", layers=0, heads=2, width=64, lr=1e-3), "size.layers=0"),
        (lambda: Text(name="t", context=1), "task.context=1"),
        (lambda: RLArm(name="r", group=1), "arm.group=1"),
        (lambda: RLArm(name="r", loss="kl_cov", updates=1), "arm.updates=1"),
        (lambda: RLArm(name="r", cov_low=0.9, cov_high=0.2), "arm.cov_low=0.9"),
        (lambda: RLArm(name="r", cov_low=1.0, cov_high=5.0), "arm.cov_bounds=absolute"),
        (lambda: RLArm(name="r", loss="pppo"), "choose one of ppo"),
        (lambda: RLArm(name="r", warm_start=1.0), "arm=transformer"),
    ],
)
def test_values_that_cannot_be_used_are_named(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")) as error:
        make().validate()
    assert "\n" not in str(error.value)


def test_reward_needs_a_verifiable_task_and_the_budget_one_step() -> None:
    with pytest.raises(ConfigError, match="arm=rl_grpo with task=text"):
        expand(Request(root=root("arm=rl_grpo", "task=text"), overrides=()))
    with pytest.raises(ConfigError, match=r"budget\.flops=1000: too small"):
        expand(Request(root=root("budget.flops=1000"), overrides=()))


def test_configuration_lies_where_the_wheel_will_look() -> None:
    text = Path("pyproject.toml").read_text()
    assert 'conf = "compare/conf"' in text
    assert (conf_folder() / "config.yaml").is_file()
