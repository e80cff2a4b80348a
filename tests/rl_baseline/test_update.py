"""An optimiser step in parts is the optimiser step; loss, credit and shaping compose."""

import itertools
from dataclasses import replace

import pytest
import torch

from arena.config import ConfigError
from rl_baseline.config import AGGREGATIONS, CREDITS, LOSSES, RLArm
from rl_baseline.covariance import covariances
from rl_baseline.credit import plan_bonus
from rl_baseline.entropy import shape
from rl_baseline.update import decide, merge, policy_loss
from tests.rl_baseline.cases import generator, random_case, slopes_by_differences, whole

SHAPES = ("none", "shaped")
COMBINATIONS = list(itertools.product(LOSSES, CREDITS, SHAPES))


def combined(loss: str, credit: str, entropy: str, **changes: object) -> RLArm | None:
    arm = RLArm(
        name="c", loss=loss, credit=credit, entropy=entropy, cov_share=0.2, cov_low=0.5, credit_share=0.5
    )
    arm = replace(arm, nll_coef=0.0 if loss == "nll" else 0.1, **changes)  # pyright: ignore[reportArgumentType]
    try:
        arm.validate()
    except ConfigError:
        return None
    return arm


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("denominator", ["all", "selected"])
def test_parts_sum_to_the_whole_in_loss_gradient_and_metrics(denominator, aggregation, size) -> None:
    tried = 0
    for loss, credit, entropy in COMBINATIONS:
        arm = combined(loss, credit, entropy, aggregation=aggregation, credit_denominator=denominator)
        if arm is None:
            continue
        tried += 1
        logp, samples = random_case(11)
        entropies = torch.rand(6, 5, generator=generator(4), dtype=torch.float64)
        at = (logp.clone().requires_grad_(), entropies.requires_grad_())
        seen = (logp, entropies.detach())
        step = decide(arm, samples, *seen, generator=generator(), length=7)
        one, metrics = policy_loss(arm, *at, step, coefficient=0.01)
        expected = torch.autograd.grad(one, at)

        parts, slopes, rows = [], [torch.zeros_like(x) for x in at], []
        for chosen in torch.arange(6).split(size):
            part, row = policy_loss(arm, at[0][chosen], at[1][chosen], step.part(chosen), coefficient=0.01)
            slopes = [s + g for s, g in zip(slopes, torch.autograd.grad(part, at), strict=True)]
            parts.append(part.detach())
            rows.append(row)
        torch.testing.assert_close(sum(parts), one.detach())
        torch.testing.assert_close(tuple(slopes), expected)
        torch.testing.assert_close(merge(rows), dict(metrics))
    assert tried > 50


def test_selecting_in_parts_would_be_something_else() -> None:
    """The test above would notice: selection over a part is not the part of the selection."""
    logp, samples = random_case(11)
    for arm in (
        RLArm(name="c", loss="clip_cov", cov_bounds="absolute", cov_low=0.1, cov_high=5.0, cov_share=1.0),
        RLArm(name="c", loss="clip_cov", cov_low=0.5, cov_share=1.0),
        RLArm(name="c", loss="kl_cov", cov_share=0.2),
        RLArm(name="c", credit="top_entropy"),
    ):
        _, _, step = whole(arm, logp, samples, entropy=-logp)
        alone = []
        for rows in torch.arange(6).split(1):
            _, _, one = whole(arm, logp[rows], samples.part(rows), entropy=-logp[rows])
            alone.append((one.selected_BT, one.kept_BT))
        together = (step.selected_BT, step.kept_BT)
        parts = [torch.cat(column) for column in zip(*alone, strict=True)]
        assert not all(torch.equal(a, b) for a, b in zip(parts, together, strict=True))


def test_credit_comes_first_then_shaping_then_covariance_over_the_tokens_that_learn() -> None:
    logp, samples = random_case(12)
    entropy = torch.rand(6, 5, generator=generator(5), dtype=torch.float64)
    arm = RLArm(name="c", loss="kl_cov", credit="hicra", entropy="shaped", cov_share=0.2)
    _, _, step = whole(arm, logp, samples, entropy=entropy)
    raised = plan_bonus(samples.advantages_BT, samples.planning_BT & samples.mask_BT, 0.2)
    expected = shape(raised, entropy, scale=0.4, bound=2.0)
    torch.testing.assert_close(step.samples.advantages_BT, expected)
    covariance = covariances(logp, expected, samples.mask_BT).masked_fill(~samples.mask_BT, -torch.inf)
    count = int(0.2 * int(samples.mask_BT.sum()))
    assert set(covariance[step.selected_BT].tolist()) == set(covariance.flatten().topk(count).values.tolist())

    forking = replace(arm, credit="top_entropy", credit_share=0.5)
    _, _, step = whole(forking, logp, samples, entropy=entropy)
    assert not (step.selected_BT & ~step.kept_BT).any()
    assert step.selected_BT.sum() == max(1, int(0.2 * int(step.kept_BT.sum())))


@pytest.mark.parametrize("loss", ["ppo", "clip_cov", "kl_cov"])
@pytest.mark.parametrize("credit", CREDITS)
def test_gradients_under_every_credit_rule_are_those_of_finite_differences(loss: str, credit: str) -> None:
    arm = combined(loss, credit, "shaped")
    assert arm is not None
    logp, samples = random_case(13)
    entropy = torch.rand(6, 5, generator=generator(6), dtype=torch.float64)
    at = logp.clone().requires_grad_()
    value, _, step = whole(arm, at, samples, entropy=entropy)
    expected = slopes_by_differences(lambda x: policy_loss(arm, x, entropy, step)[0], logp)
    torch.testing.assert_close(torch.autograd.grad(value, at)[0], expected, rtol=1e-5, atol=1e-8)
