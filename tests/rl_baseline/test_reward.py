"""The reward stage through the real module: micro-batches, measurements, controls, warnings."""

import itertools
import math
import warnings
from dataclasses import replace
from types import SimpleNamespace

import lightning
import pytest
import torch
from torch import Tensor

from arena.config import Addition, Budget, Cell, ConfigError, TrainerConfig
from arena.contender import Diverged
from arena.data import Problems, collate
from arena.seeding import seed_everything
from arena.shape import supervised_step
from arena.tasks import build_task
from arena.tasks.addition import AdditionTask
from arena.tasks.base import Problem
from arena.token_classes import EXECUTE, PLAN
from rl_baseline import cost
from rl_baseline.config import RLArm
from rl_baseline.entropy import Controller
from rl_baseline.module import COMPETENCE_RATE, NothingToLearn, RLModule
from tests.conftest import parameters_of
from tests.rl_baseline.conftest import SIZE

SMALL = RLArm(name="rl", warm_start=0.05, prompts=8, group=4, updates=2, probe=0)


class Planned(AdditionTask):
    """Addition whose carries are its plan."""

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        problem = super().problem(split, seed, index, severity, axis)
        return replace(problem, classes=tuple(PLAN if c == EXECUTE else c for c in problem.classes))


class EasyReward(RLModule):
    """Pays for a completion whose first token is even, and keeps every gradient.

    The steps are plain gradient descent: Adam would divide the rounding of tiny gradients by itself.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # pyright: ignore[reportArgumentType]
        self.gradients: list[Tensor] = []

    def rewards(self, problems, rollout):
        self.reward_queries += len(problems)
        return torch.tensor([float(c[0] % 2 == 0) for c in rollout.completions])

    def optimise(self, factor: float) -> Tensor:
        if self.stage == "rl":
            found = [p.grad for p in self.parameters()]
            self.gradients.append(torch.cat([g.flatten() for g in found if g is not None]))
            with torch.no_grad():
                for p in self.parameters():
                    assert p.grad is not None
                    p -= 0.5 * p.grad
            for group in self.optimizers().optimizer.param_groups:  # pyright: ignore
                group["peak_lr"] = 0.0
                group["weight_decay"] = 0.0
        return super().optimise(factor)


def fit(
    arm: RLArm,
    flops: float,
    *,
    kind: type[RLModule] = RLModule,
    chain: bool = False,
    precision: str = "32-true",
) -> RLModule:
    config = Addition(name="addition", min_digits=1, max_digits=2, batch=16, chain=chain)
    cell = Cell(
        arm=arm,
        task=config,
        size=SIZE,
        budget=Budget(flops=flops),
        trainer=TrainerConfig(accelerator="cpu", problems=16),
        seed=0,
    )
    cell.validate()
    seed_everything(0)
    task = Planned(config) if chain else build_task(config)
    module = kind(cell, task)
    data = Problems(task, seed=0, batch=16, problems=16)
    runner = lightning.Trainer(
        accelerator="cpu",
        precision=precision,  # pyright: ignore[reportArgumentType]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
        limit_val_batches=0,
    )
    runner.fit(module, data)
    return module


INVARIANT = {
    "clip_cov, the papers' absolute bounds": {
        "loss": "clip_cov",
        "cov_bounds": "absolute",
        "cov_low": 1.0,
        "cov_high": 5.0,
    },
    "clip_cov, quantile bounds": {"loss": "clip_cov"},
    # On-policy the sign of the penalty's gradient would be that of a rounding: hence the slack.
    "kl_cov": {"loss": "kl_cov", "kl_slack": 1e-5},
    "forking": {"credit": "top_entropy", "credit_denominator": "selected"},
    "bottom": {"credit": "bottom_entropy", "credit_share": 0.8, "aggregation": "seq_mean_token_mean"},
    "random": {"credit": "random", "aggregation": "seq_mean_token_sum"},
    "hicra placebo": {"credit": "hicra_placebo", "aggregation": "sum_norm"},
    "hicra": {"credit": "hicra", "advantage": "dr_grpo"},
    "shaped": {"entropy": "shaped"},
    "bonus": {"entropy": "bonus", "nll_coef": 0.1},
    "all at once": {
        "loss": "kl_cov",
        "kl_slack": 1e-5,
        "credit": "top_entropy",
        "credit_share": 0.5,
        "entropy": "shaped",
    },
    "nll": {"loss": "nll"},
}


@pytest.mark.parametrize("name", INVARIANT)
def test_the_size_of_a_micro_batch_changes_no_gradient(name: str) -> None:
    arm = replace(SMALL, **{"cov_share": 0.1, **INVARIANT[name]})
    runs = {
        size: fit(replace(arm, micro_batch=size), 2.5e8, kind=EasyReward, chain=True)
        for size in (None, 16, 5, 1)
    }
    whole = runs[None]
    # Several rollouts, and second updates on them, where the policy is no longer the one that sampled.
    assert len(whole.gradients) >= 4
    assert any(g.norm() > 1e-3 for g in whole.gradients)
    for size, module in runs.items():
        extra = module.flops_by.get("survey", 0.0)
        assert (extra > 0) == (size in (5, 1) and arm.reads_policy)
        assert len(module.gradients) >= 4
        for one, other in zip(whole.gradients[:6], module.gradients[:6], strict=False):
            assert (other - one).norm() < 2e-4 * one.norm() + 1e-6
        for column in ("kl", "clip_fraction", "selected", "gradient_norm", "entropy"):
            one, other = (m.history.columns(10**6)[column] for m in (whole, module))
            values = [(a, b) for a, b in zip(one, other, strict=False) if a is not None and b is not None][:2]
            assert [a for a, _ in values] == pytest.approx([b for _, b in values], rel=1e-3, abs=1e-6)


def test_selection_by_covariance_and_entropy_does_select_in_those_runs() -> None:
    """Else the test above would say nothing: with nothing selected, every size agrees."""
    for name in INVARIANT:
        arm = replace(SMALL, **{"cov_share": 0.1, **INVARIANT[name]})
        columns = fit(arm, 2.5e8, kind=EasyReward, chain=True).history.columns(10**6)
        if arm.loss in ("clip_cov", "kl_cov"):
            assert max(x for x in columns["selected"] if x is not None) > 0, name
        if arm.credit != "all":
            assert 0 < max(x for x in columns["credited"] if x is not None) < 1, name


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_sampling_and_training_agree_on_log_probabilities(precision: str) -> None:
    columns = fit(SMALL, 4e8, kind=EasyReward, precision=precision).history.columns(10**6)
    gaps = [x for x in columns["logp_gap"] if x is not None]
    assert gaps  # some processors round both alike: then every gap is zero
    assert max(gaps) < (1e-4 if precision == "32-true" else 0.3)


class WrongTemperature(EasyReward):
    """Trains on other log-probabilities than it sampled with."""

    def policy(self, batch, temperature):
        return super().policy(batch, 0.9 * temperature)


def test_a_gap_between_sampling_and_training_stops_the_run_and_is_named() -> None:
    with pytest.raises(Diverged, match=r"logp_gap is 0\.\d+ nats at step \d+, more than 0\.001") as error:
        fit(SMALL, 4e8, kind=WrongTemperature)
    assert "\n" not in str(error.value)
    assert fit(replace(SMALL, logp_tolerance=5.0), 4e8, kind=WrongTemperature).rollouts > 2


def test_the_probe_is_an_evaluation_and_changes_nothing_else() -> None:
    without, probed = (fit(replace(SMALL, probe=n, probe_samples=4), 6e8, kind=EasyReward) for n in (0, 8))
    assert without.flops_by == probed.flops_by
    assert without.reward_queries == probed.reward_queries
    for one, two in zip(without.parameters(), probed.parameters(), strict=True):
        assert torch.equal(one, two)
    columns = probed.history.columns(10**6)
    added = set(columns) - set(without.history.columns(10**6))
    assert {name for name in added if not name.startswith("tokens_above_")} == {
        "entropy_in_forks",
        "pass_at_1",
        "pass_at_2",
        "pass_at_4",
        "probe_flops",
    }
    rows = [i for i, x in enumerate(columns["pass_at_4"]) if x is not None]
    rewarded = [i for i, x in enumerate(columns["reward"]) if x is not None]
    assert len(rows) == 3
    assert (rows[0], rows[-1]) == (rewarded[0], rewarded[-1])


def test_entropy_is_recorded_by_class_where_the_task_has_chains() -> None:
    columns = fit(SMALL, 4e8, kind=EasyReward, chain=True).history.columns(10**6)
    for name in ("entropy_plan", "entropy_format", "entropy_answer"):
        assert any(x is not None for x in columns[name]), name
    assert "entropy_execute" not in columns  # the carries of this task are its plan
    assert not any(x.startswith("entropy_plan") for x in fit(SMALL, 4e8).history.columns(10**6))


def test_every_column_is_finite_and_the_forecast_matches_the_change_it_names() -> None:
    columns = fit(SMALL, 6e8, kind=EasyReward).history.columns(10**6)
    assert all(math.isfinite(x) for column in columns.values() for x in column if x is not None)
    entropies = [x for x in columns["entropy"] if x is not None]
    changes = [x for x in columns["entropy_change"] if x is not None]
    differences = [b - a for a, b in itertools.pairwise(entropies)]
    assert changes == pytest.approx(differences, abs=1e-6)
    assert any(x for x in columns["entropy_change_npg"])


def test_coins_are_blind_to_the_sample_and_follow_the_seed() -> None:
    module = fit(replace(SMALL, reward="coin"), 4e8)
    assert module.reward_queries == 0
    assert module.taught > 0
    rewards = [x for x in module.history.columns(10**6)["reward"] if x is not None]
    assert 0.3 < sum(rewards) / len(rewards) < 0.7
    problems = [module.task.problem("train", 0, i) for i in range(2000)]
    first = module.rewards(problems, None)  # pyright: ignore[reportArgumentType]
    assert torch.equal(first, module.rewards(problems[::-1], None))  # pyright: ignore[reportArgumentType]
    assert first.mean().item() == pytest.approx(0.5, abs=0.05)
    module.problems += 1  # the next rollout
    assert not torch.equal(first, module.rewards(problems, None))  # pyright: ignore[reportArgumentType]


def test_shuffled_rewards_are_as_many_as_earned_and_say_nothing() -> None:
    module = fit(replace(SMALL, reward="shuffled"), 1e8)
    problems = [module.task.problem("train", 0, i) for i in range(2000)]
    # The first tenth is answered rightly, the rest wrongly.
    said = [p.completion if i < 200 else (module.task.pad,) for i, p in enumerate(problems)]
    rollout = SimpleNamespace(completions=said)
    asked = module.reward_queries
    first = module.rewards(problems, rollout)  # pyright: ignore[reportArgumentType]
    assert module.reward_queries == asked + 2000
    assert first.sum() == 200
    # Of the 200 right ones a tenth is paid, give or take four standard deviations.
    assert first[:200].sum().item() == pytest.approx(20, abs=4 * (200 * 0.1 * 0.9) ** 0.5)
    assert torch.equal(first, module.rewards(problems, rollout))  # pyright: ignore[reportArgumentType]
    module.problems += 1  # the next rollout
    assert not torch.equal(first, module.rewards(problems, rollout))  # pyright: ignore[reportArgumentType]
    # Dealt out within groups, the groups that earned nothing would get nothing.
    assert (first.unflatten(0, (20, 100)).sum(1) > 0).all()


class Never(RLModule):
    def rewards(self, problems, rollout):
        return torch.zeros(len(problems))


@pytest.mark.parametrize("loss", ["ppo", "nll", "kl_cov"])
@pytest.mark.parametrize("advantage", ["grpo", "reinforce_pp", "pass_at_k"])
def test_a_run_without_any_signal_says_so_at_its_end(loss: str, advantage: str) -> None:
    with pytest.warns(
        NothingToLearn, match=r"rl: none of \d+ rollouts taught anything.*raise arm\.warm_start"
    ):
        module = fit(replace(SMALL, loss=loss, advantage=advantage), 2e8, kind=Never)
    columns = module.history.columns(10**6)
    assert "update" not in module.flops_by
    assert all(math.isfinite(x) for column in columns.values() for x in column if x is not None)


def test_a_run_with_signal_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NothingToLearn)
        fit(SMALL, 3e8, kind=EasyReward)


def test_likelihood_alone_pays_for_correct_samples_only() -> None:
    module = fit(replace(SMALL, loss="nll"), 6e8, kind=EasyReward)
    rewards = [x for x in module.history.columns(10**6)["reward"] if x is not None]
    every = supervised_step(module.model.shape, module.task, 32)
    assert module.flops_by["update"] == pytest.approx(sum(rewards) * every, rel=0.15)


def test_the_bonus_works_without_reward() -> None:
    arm = replace(SMALL, entropy="bonus", entropy_coef=0.5)
    with pytest.warns(NothingToLearn):
        module = fit(arm, 6e8, kind=type("Dry", (Never, EasyReward), {}))
    entropies = [x for x in module.history.columns(10**6)["entropy"] if x is not None]
    assert module.flops_by["update"] > 0
    assert entropies[-1] > entropies[0] + 0.05


def test_a_matched_temperature_moves_and_is_recorded() -> None:
    arm = replace(SMALL, entropy="temperature", entropy_target=2.6, lr_scale=0.05)
    columns = fit(arm, 1e9).history.columns(10**6)
    temperatures = [x for x in columns["temperature"] if x is not None]
    sampled = [x for x in columns["entropy_sampled"] if x is not None]
    assert temperatures[0] == 1.0
    assert temperatures[-1] > 1.05
    assert abs(sampled[-1] - 2.6) < abs(sampled[0] - 2.6)
    assert max(abs(x) for x in columns["logp_gap"] if x is not None) < 1e-4


def test_an_annealed_target_is_told_the_share_of_rl_that_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    told = Controller.annealed
    monkeypatch.setattr(
        Controller, "annealed", lambda self, start, share: (shares.append(share), told(self, start, share))[1]
    )
    fit(replace(SMALL, entropy="adaptive", entropy_target_end=0.1), 6e8)
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert abs(shares[0]) < 0.1
    assert 0.8 < shares[-1] < 1.1


def test_hicra_needs_a_task_that_plans() -> None:
    arm = RLArm(name="rl_hicra", advantage="dr_grpo", credit="hicra")
    for chain in (False, True):
        config = Addition(name="addition_chain", chain=chain)
        cell = Cell(
            arm=arm, task=config, size=SIZE, budget=Budget(flops=1e9), trainer=TrainerConfig(), seed=0
        )
        with pytest.raises(
            ConfigError, match=r"arm\.credit=hicra with task=addition_chain: its chains hold no"
        ):
            cost.minimum_flops(cell, build_task(config))
        if chain:
            assert cost.minimum_flops(cell, Planned(config)) > 0


def test_the_warm_start_ends_at_a_competence_or_with_its_share() -> None:
    share = fit(replace(SMALL, warm_start=0.6), 3e8)
    never = fit(replace(SMALL, warm_start=0.6, warm_until=0.99), 3e8)
    assert parameters_of(never).equal(parameters_of(share))
    early = fit(replace(SMALL, warm_start=0.8, warm_until=0.02), 1.5e9)
    # Reward begins with its own warm-up and its own first probe, wherever that is.
    assert float(early.began) < 0.6
    assert early.flops_by["train"] == pytest.approx(float(early.began) * 1.5e9)


def test_competence_is_what_greedy_decoding_gets_right() -> None:
    module = fit(replace(SMALL, warm_start=0.9), 1e9)
    problems = [module.task.problem("train", 5, i) for i in range(64)]
    batch = collate(problems, module.task.pad)
    with torch.no_grad():
        logits_BMV = module.model.predicted(batch)
        module.solved.zero_()
        found = module.competence(logits_BMV, batch) / COMPETENCE_RATE
    answers = module.solve(problems, "greedy").completions
    right = [module.task.verify(p, c).correct for p, c in zip(problems, answers, strict=True)]
    assert found == pytest.approx(sum(right) / 64)
    assert 0 < sum(right) < 64
