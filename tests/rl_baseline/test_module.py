from dataclasses import replace

import lightning
import pytest
import torch

from arena.data import collate, held_out
from rl_baseline.config import LOSSES, RLArm, TransformerArm
from rl_baseline.module import RLModule
from rl_baseline.supervised import TransformerModule

TRANSFORMER = TransformerArm(name="transformer")
SMALL = RLArm(name="rl", prompts=8, group=4, updates=2)
ARMS = [
    TRANSFORMER,
    *(replace(SMALL, name=loss, loss=loss) for loss in ("ppo", "clip_cov", "kl_cov", "gppo")),
]
MANAGED = [
    *(replace(SMALL, name=loss, loss=loss) for loss in ("ce_gppo", "cispo", "nll")),
    replace(SMALL, name="bonus", entropy="bonus"),
    replace(SMALL, name="adaptive", entropy="adaptive"),
    replace(SMALL, name="shaped", entropy="shaped", advantage="reinforce_pp"),
    replace(SMALL, name="temperature", entropy="temperature", advantage="rloo"),
    replace(SMALL, name="forking", credit="top_entropy", credit_denominator="selected"),
    replace(SMALL, name="bottom", credit="bottom_entropy", credit_share=0.8, advantage="pass_at_k"),
    replace(SMALL, name="random", credit="random", loss="kl_cov", entropy="bonus"),
    replace(SMALL, name="coin", reward="coin"),
]


def train(
    make, trainer, arm, flops: float, *callbacks: lightning.Callback, seed: int = 0
) -> TransformerModule:
    module = make(arm, flops, seed=seed)
    runner, data = trainer(module, *callbacks)
    runner.fit(module, data)
    return module


class FirstDigit(RLModule):
    """Pays for a completion that begins with the prompt's first digit."""

    def rewards(self, problems, rollout):
        self.reward_queries += len(problems)
        pairs = zip(problems, rollout.completions, strict=True)
        return torch.tensor([float(c[0] == p.prompt[0]) for p, c in pairs])


class Stages(lightning.Callback):
    """What a watcher sees after each batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append(
            (pl_module.stage, pl_module.flops_by["train"], pl_module.flops_by.get("rollout", 0.0))
        )


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_the_budget_is_spent_and_not_exceeded(make, trainer, arm):
    module = train(make, trainer, arm, 3e9)
    assert 0.8 < module.share_spent <= 1
    assert module.steps > 0
    assert module.problems > 0


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_the_same_seed_gives_the_same_parameters(make, trainer, arm):
    first, second, other = (train(make, trainer, arm, 6e8, seed=seed) for seed in (0, 0, 1))
    parameters = [torch.cat([p.flatten() for p in m.parameters()]) for m in (first, second, other)]
    assert torch.equal(parameters[0], parameters[1])
    assert not torch.equal(parameters[0], parameters[2])
    assert first.history.columns(50) == second.history.columns(50)


@pytest.mark.parametrize("arm", MANAGED, ids=lambda arm: arm.name)
def test_every_way_to_manage_entropy_keeps_to_its_budget_and_repeats_itself(make, trainer, arm):
    runs = []
    for _ in range(2):
        module = make(arm, 5e8, kind=FirstDigit)
        runner, data = trainer(module)
        runner.fit(module, data)
        runs.append(module)
    first, second = runs
    assert 0.5 < first.share_spent <= 1
    assert first.taught > 0
    assert first.history.columns(50) == second.history.columns(50)
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


def test_next_token_training_lowers_the_loss(make, trainer):
    module = train(make, trainer, TRANSFORMER, 3e9)
    losses = [x for x in module.history.columns(4)["loss"] if x is not None]
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_is_the_mean_over_supervised_tokens(make, trainer):
    module = train(make, trainer, TRANSFORMER, 2e8)  # a few steps
    fresh = make(TRANSFORMER, 2e8)
    batch = collate([fresh.task.problem("train", 0, i) for i in range(64)], fresh.task.pad)
    likelihood = fresh.evaluate(batch)
    module.history.flush()
    assert module.history.rows[0]["loss"] == pytest.approx(
        (likelihood.nats_B.sum() / likelihood.tokens_B.sum()).item(), rel=1e-5
    )


def test_warm_start_and_reward_stages_follow_each_other(make, trainer):
    stages = Stages()
    arm = replace(SMALL, warm_start=0.4)
    module = train(make, trainer, arm, 3e9, stages)
    names = [name for name, _, _ in stages.seen]
    assert sorted(names, reverse=True) == names
    assert set(names) == {"warm_start", "rl"}
    # The stage changes after the last step on next tokens, before anything is spent on reward.
    _, warm, reward = stages.seen[names.index("rl")]
    assert reward == 0
    assert 0.3 < warm / 3e9 <= 0.4
    assert module.flops_by["train"] == warm
    assert module.flops_by["rollout"] > 0
    rollouts = [row for row in module.history.columns(10_000)["reward"] if row is not None]
    assert module.reward_queries == len(rollouts) * 32


def test_the_warm_start_is_the_transformers_own_training(make, trainer):
    """The same problems, the same rates: half of 2e9 by reward's arm is 1e9 by the transformer's."""
    states = {}

    class Keep(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            if pl_module.stage == "rl" and not states:
                states.update({k: v.clone() for k, v in pl_module.state_dict().items()})

    train(make, trainer, replace(SMALL, warm_start=0.5), 2e9, Keep())
    alone = train(make, trainer, TRANSFORMER, 1e9)
    assert alone.steps > 5
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(states[name], value)


LEARNERS = {
    **{loss: {"loss": loss} for loss in LOSSES},
    "shaped": {"entropy": "shaped"},
    "forking": {"credit": "top_entropy", "credit_denominator": "selected"},
    "pass_at_k": {"advantage": "pass_at_k"},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_reward_rises(make, trainer, name):
    arm = RLArm(name=name, warm_start=0.05, lr_scale=1.0, prompts=16, group=8, updates=2, probe=0)
    arm = replace(arm, **LEARNERS[name])
    module = make(arm, 8e9, kind=FirstDigit)
    runner, data = trainer(module)
    runner.fit(module, data)
    reward = [r for r in module.history.columns(8)["reward"] if r is not None]
    assert reward[0] < 0.4
    # pass@k stops paying once two of a group are right.
    assert reward[-1] > reward[0] + (0.1 if name == "pass_at_k" else 0.15)


class NoReward(RLModule):
    def rewards(self, problems, rollout):
        return torch.zeros(len(problems))


def test_groups_without_signal_cost_rollouts_and_change_nothing(make, trainer):
    arm = replace(SMALL, warm_start=0.5)
    module = make(arm, 1e9, kind=NoReward)
    runner, data = trainer(module)
    runner.fit(module, data)
    warm = train(make, trainer, TRANSFORMER, 5e8)
    for name, value in warm.state_dict().items():
        torch.testing.assert_close(module.state_dict()[name], value)
    assert "update" not in module.flops_by
    assert module.flops_by["rollout"] > 0
    assert module.history.columns(10)["signal"][-1] == 0


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_first_update_on_a_rollout_is_on_policy(make, trainer, temperature):
    """One update a rollout: rollout and update agree on every log-probability, so KL and clipping are nil."""
    arm = RLArm(
        name="rl", warm_start=0.5, prompts=8, group=4, updates=1, lr_scale=1.0, temperature=temperature
    )
    module = train(make, trainer, arm, 2e9)
    columns = module.history.columns(10_000)
    assert any(columns["signal"][i] for i, r in enumerate(columns["reward"]) if r is not None)
    assert all(abs(kl) < 1e-5 for kl in columns["kl"] if kl is not None)
    assert all(c == 0 for c in columns["clip_fraction"] if c is not None)


@pytest.mark.parametrize("arm", [TRANSFORMER, SMALL], ids=lambda arm: arm.name)
def test_validate_test_and_predict(make, trainer, arm):
    module = make(arm, 1e9)
    runner, data = trainer(module)
    runner.limit_val_batches = 1.0
    (validated,) = runner.validate(module, data, verbose=False)
    (tested,) = runner.test(module, data, verbose=False)
    assert validated["val/loss"] > 0
    assert tested["test/loss"] > 0
    predictions = runner.predict(module, data)
    expected = module.solve(held_out(module.task, "test", 64), "greedy").completions
    assert [c for batch in predictions for c in batch] == expected


def test_solving_is_repeatable_and_follows_its_key(make):
    module = make(TRANSFORMER, 1e9)
    drawn = held_out(module.task, "val", 40) + held_out(module.task, "val", 20, severity=1)
    problems = list({p.prompt: p for p in drawn}.values())
    first, again, other = (module.solve(problems, "sample", key).completions for key in ((0,), (0,), (1,)))
    assert first == again != other
    assert module.solve(problems[5:], "sample", (0,)).completions == first[5:]
    assert (
        module.solve(problems, "greedy", (0,)).completions
        == module.solve(problems, "greedy", (1,)).completions
    )
    longest = module.task.longest(1)[1]
    assert max(map(len, first)) <= longest
    assert first[0] != module.solve([problems[0]] * 2, "sample", (0,)).completions[1]


def test_an_unknown_effort_is_named(make):
    module = make(TRANSFORMER, 1e9)
    problems = held_out(module.task, "val", 2)
    with pytest.raises(ValueError, match="effort=think: choose greedy, sample, or RULE@K"):
        module.solve(problems, "think")
    with pytest.raises(ValueError, match="effort=greedy: the only likelihood of transformer is `likelihood`"):
        module.evaluate(collate(problems, module.task.pad), "greedy")
