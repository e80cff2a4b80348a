"""Settings that cannot work are refused in one line that names key, value and remedy."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from arena.config import ConfigError
from rl_baseline.config import RLArm

ARMS = sorted(Path("conf/arm").glob("r*.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 1}, "arm.group=1: a group of one has no advantage; use >= 2"),
        ({"updates": 3}, "arm.updates=3: must divide prompts * group = 256"),
        ({"loss": "kl_cov", "updates": 1}, "use at least 2 updates a rollout"),
        ({"cov_low": 0.9, "cov_high": 0.2}, "need cov_low < cov_high"),
        ({"cov_low": 1.0, "cov_high": 5.0}, "set arm.cov_bounds=absolute"),
        ({"cov_share": 0.0}, "arm.cov_share=0.0: a share"),
        ({"micro_batch": 0}, "arm.micro_batch=0: at least 1 sample; null takes"),
        ({"reward": "dice"}, "arm.reward=dice: choose one of verifier, coin, shuffled"),
        ({"logp_tolerance": 0.0}, "arm.logp_tolerance=0.0: must be positive; null chooses"),
        ({"advantage": "gae"}, "arm.advantage=gae: choose one of grpo, dr_grpo, rloo"),
        ({"aggregation": "mean"}, "arm.aggregation=mean: choose one of token_mean"),
        ({"loss": "pppo"}, "arm.loss=pppo: choose one of ppo"),
        ({"beta_low": -1.0}, "arm.beta_low=-1.0: must not be negative"),
        ({"clip_low": 1.5}, "arm.clip_low=1.5: must be at most 1"),
        ({"dual_clip": 1.0}, "arm.dual_clip=1.0: must be above 1"),
        ({"loss": "nll", "nll_coef": 0.1}, "arm.nll_coef=0.1 with loss=nll"),
        ({"credit": "some"}, "arm.credit=some: choose one of all, top_entropy"),
        ({"credit_share": 1.0}, "for every token set arm.credit=all"),
        ({"credit_share": 0.0}, "arm.credit_share=0.0: a share"),
        ({"credit_denominator": "kept"}, "arm.credit_denominator=kept: choose one of all, selected"),
        ({"credit_alpha": -0.1}, "arm.credit_alpha=-0.1: must not be negative"),
        ({"loss": "nll", "credit": "hicra"}, "arm.credit=hicra with loss=nll: there is no advantage"),
        ({"entropy": "high"}, "arm.entropy=high: choose one of none, bonus"),
        ({"entropy_coef": 0.0}, "for no bonus set arm.entropy=none"),
        ({"entropy": "adaptive", "entropy_target": 0.0}, "null takes the warm start's"),
        ({"entropy_target_end": 0.2}, "needs arm.entropy=adaptive or temperature to follow it"),
        ({"entropy": "adaptive", "entropy_target_end": 0.0}, "entropy_target_end=0.0 with entropy=adaptive"),
        ({"entropy_target": 0.2}, "arm.entropy_target=0.2 with entropy=none: nothing follows it"),
        ({"entropy_step": 0.0}, "arm.entropy_step=0.0: must be positive"),
        ({"entropy_min": 0.1}, "arm.entropy_min=0.1, arm.entropy_max=0.005: need"),
        ({"shape_scale": 0.0}, "arm.shape_scale=0.0: must be positive"),
        ({"shape_bound": 0.5}, "an advantage could change its sign; use >= 1"),
        ({"loss": "nll", "entropy": "shaped"}, "there is no advantage to shape; use arm.entropy=bonus"),
        ({"temperature_step": 0.0}, "arm.temperature_step=0.0: must be positive"),
        ({"temperature_max": 1.0}, "arm.temperature_max=1.0: must be above 1"),
        ({"temperature": 0.0}, "arm.temperature=0.0: must be positive"),
        ({"probe": -1}, "0 switches the probe off"),
        ({"probe_samples": 0}, "arm.probe_samples=0: must be at least 1"),
        ({"probe_points": 1}, "arm.probe_points=1: at least 2, the start and the end"),
    ],
)
def test_values_of_no_use_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        RLArm(name="r", **changes).validate()  # pyright: ignore[reportArgumentType]
    assert message in str(error.value)
    assert str(error.value).startswith("arm.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ARMS, ids=lambda p: p.stem)
def test_an_arm_is_a_short_file_with_its_source_on_top(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert 3 <= len(lines) <= 8
    assert lines[0].startswith("# ")
    assert "arXiv" in lines[0] or lines[0].startswith("# Control")
    settings = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(settings, dict)
    settings.pop("defaults")
    arm = RLArm(**settings)  # pyright: ignore[reportArgumentType, reportCallIssue]
    arm.validate()
    assert arm.name == path.stem


def test_the_arms_of_the_comparison_are_there() -> None:
    expected = (
        "grpo entropy_bonus adaptive_entropy clip_higher clip_cov kl_cov gppo ce_gppo cispo forking hicra"
    )
    names = {path.stem for path in ARMS}
    assert {f"rl_{name}" for name in expected.split()} <= names
    assert {"rl_random_reward", "rl_shuffled_reward", "rejection_sampling", "rl_matched_temperature"} <= names
    assert {"rl_non_forking", "rl_random_tokens", "rl_hicra_placebo"} <= names


def test_what_a_survey_is_needed_for() -> None:
    split = {"name": "r", "micro_batch": 8}
    assert not RLArm(name="r", loss="clip_cov").surveys
    assert not RLArm(**split).surveys  # pyright: ignore[reportArgumentType]
    for changes in (
        {"loss": "clip_cov"},
        {"loss": "kl_cov"},
        {"credit": "bottom_entropy"},
        {"entropy": "shaped"},
    ):
        assert RLArm(**split, **changes).surveys  # pyright: ignore[reportArgumentType]
    assert not RLArm(name="r", loss="kl_cov", micro_batch=64).surveys  # an optimiser step is no larger
