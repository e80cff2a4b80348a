"""Entropy and its controllers."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rl_baseline.config import RLArm
from rl_baseline.entropy import (
    AdaptiveCoefficient,
    Controller,
    MatchedTemperature,
    controller,
    mean_entropy,
    shape,
    token_entropies,
)
from rl_baseline.update import policy_loss
from tests.rl_baseline.cases import generator, random_case, slopes_by_differences, whole


def test_t7_entropy_is_that_of_the_whole_distribution() -> None:
    logits = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]).log() + 3
    found = token_entropies(logits, torch.tensor([[True, False]]))
    assert found[0].tolist() == pytest.approx([0.562335, 0], abs=1e-6)


def test_entropy_has_the_gradient_of_finite_differences() -> None:
    logits = torch.randn(2, 3, 4, generator=generator(), dtype=torch.float64)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    at = logits.clone().requires_grad_()
    slopes = torch.autograd.grad(token_entropies(at, mask).sum(), at)[0]
    expected = slopes_by_differences(lambda x: token_entropies(x, mask).sum(), logits)
    torch.testing.assert_close(slopes, expected, rtol=1e-6, atol=1e-9)


def test_mean_entropy_is_over_tokens_then_over_responses() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    values = torch.tensor([[1.0, 2, 3], [4, 9, 9]])
    assert mean_entropy(values, mask).item() == 3


def test_t12_the_entropy_shaped_advantage() -> None:
    advantages = torch.tensor([[0.75] * 2, [-0.25] * 2])
    entropy = torch.tensor([[0.5, 2], [0.1, 2]])
    found = shape(advantages, entropy, scale=0.4, bound=2.0)
    assert found.tolist() == [
        pytest.approx([0.95, 1.125], abs=1e-6),
        pytest.approx([-0.21, -0.125], abs=1e-6),
    ]


def test_an_advantage_carries_no_gradient_of_the_entropy() -> None:
    entropy = torch.ones(1, 2, requires_grad=True)
    assert not shape(torch.ones(1, 2), entropy, scale=0.4, bound=2.0).requires_grad


def test_shaping_reads_the_current_entropy_and_gives_it_no_gradient() -> None:
    logp, samples = random_case(8)
    entropy = torch.rand(6, 5, generator=generator(2), dtype=torch.float64).requires_grad_()
    arm = RLArm(name="s", entropy="shaped")
    loss, _, step = whole(arm, logp.clone().requires_grad_(), samples, entropy=entropy)
    assert torch.autograd.grad(loss, entropy, allow_unused=True) == (None,)
    expected = shape(samples.advantages_BT, entropy.detach(), scale=0.4, bound=2.0)
    assert torch.equal(step.samples.advantages_BT, expected)
    assert (expected >= samples.advantages_BT).all()
    assert (expected.sign() == samples.advantages_BT.sign()).all()


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean_token_mean"])
def test_the_bonus_lowers_the_loss_by_its_share_of_the_mean_entropy(aggregation: str) -> None:
    logp, samples = random_case(9)
    entropy = torch.rand(6, 5, generator=generator(3), dtype=torch.float64).requires_grad_()
    arm = RLArm(name="b", aggregation=aggregation)
    plain, _, step = whole(arm, logp, samples)
    raised, _ = policy_loss(arm, logp, entropy, step, coefficient=0.01)
    tokens = samples.mask_BT.sum(1)
    if aggregation == "token_mean":
        mean = entropy[samples.mask_BT].mean()
    else:
        mean = mean_entropy(entropy, samples.mask_BT)
    torch.testing.assert_close(raised, plain - 0.01 * mean)
    slopes = torch.autograd.grad(raised, entropy)[0]
    weights = 1 / tokens.sum() if aggregation == "token_mean" else 1 / (6 * tokens[:, None])
    torch.testing.assert_close(slopes, (-0.01 * weights * samples.mask_BT).double())


def test_t13_the_adaptive_coefficient() -> None:
    adaptive = AdaptiveCoefficient(RLArm(name="a", entropy="adaptive", entropy_target=0.2))
    applied = [adaptive.step(entropy)["entropy_coef"] for entropy in (0.3, 0.1, 0.1, 0.25, 0.1, 0.2)]
    assert applied == pytest.approx([0, 0, 1e-4, 2e-4, 0, 2e-4], abs=1e-12)


def test_the_adaptive_coefficient_stays_within_its_bounds() -> None:
    arm = RLArm(
        name="a", entropy="adaptive", entropy_target=0.2, entropy_step=0.3, entropy_max=0.5, entropy_min=0.1
    )
    adaptive = AdaptiveCoefficient(arm)
    rows = []
    for entropy in (0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.1):
        adaptive.step(entropy)
        rows.append(adaptive.coefficient)
    assert rows == pytest.approx([0.4, 0.5, 0.5, 0, 0, 0, 0.4])


def test_without_a_target_the_first_rollouts_entropy_is_kept() -> None:
    adaptive = AdaptiveCoefficient(RLArm(name="a", entropy="adaptive"))
    adaptive.step(0.7)
    assert (adaptive.target, adaptive.coefficient) == (0.7, 0.0)
    adaptive.step(0.69)
    assert adaptive.coefficient == 1e-4


def test_an_annealed_target_falls_in_a_straight_line_over_the_compute() -> None:
    arm = RLArm(name="a", entropy="adaptive", entropy_target_end=0.2, entropy_step=0.1, entropy_max=0.5)
    adaptive = AdaptiveCoefficient(arm)
    adaptive.step(0.6)
    # Targets .6, .4, .4 and, whatever is overspent, .2.
    rows = []
    for entropy, share in ((0.5, 0.0), (0.45, 0.5), (0.39, 0.5), (0.21, 1.1), (0.19, 1.1)):
        adaptive.step(entropy, share)
        rows.append(adaptive.coefficient)
    assert rows == pytest.approx([0.1, 0.0, 0.1, 0.0, 0.1])
    assert adaptive.target == 0.6


def test_the_temperature_follows_an_annealed_target() -> None:
    arm = RLArm(name="t", entropy="temperature", entropy_target=1.0, entropy_target_end=0.5)
    matched = MatchedTemperature(arm)
    # Half-way the target is .75: what lies there is left as it is.
    matched.step(0.75, 1.0, 0.5)
    assert matched.temperature == pytest.approx(arm.temperature)
    matched.step(0.75, 1.0, 1.0)
    assert matched.temperature == pytest.approx(arm.temperature * math.exp(max(-0.25, -arm.temperature_step)))


def sampled_from(logits: Tensor, temperature: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a rollout of one token from each of many equal states would report."""
    logp = (logits / temperature).log_softmax(-1)
    tokens = torch.multinomial(logp.exp(), 512, replacement=True, generator=generator(seed))
    shape = (64, 8)
    entropy = torch.full(shape, -(logits.softmax(-1) * logits.log_softmax(-1)).sum().item())
    return entropy, logp[tokens].reshape(shape), torch.ones(shape, dtype=torch.bool)


def test_the_temperature_keeps_the_sampled_entropy_where_it_was() -> None:
    arm = RLArm(name="t", entropy="temperature")
    matched = MatchedTemperature(arm)
    start = torch.tensor([2.0, 1, 0, 0, -1, -1])
    (first,) = {matched.observe(*sampled_from(start, matched.temperature, 0))["temperature"]}
    assert first == 1.0
    rows = []
    for seed in range(1, 60):  # the policy sharpens, threefold in all
        sharp = start * min(3.0, 1 + seed / 15)
        rows.append(matched.observe(*sampled_from(sharp, matched.temperature, seed)))
    assert matched.target is not None
    late = [row["entropy_sampled"] for row in rows[40:]]
    assert sum(late) / len(late) == pytest.approx(matched.target, rel=0.03)
    assert matched.temperature == pytest.approx(3.0, rel=0.15)
    steps = [b["temperature"] / a["temperature"] for a, b in itertools.pairwise(rows)]
    assert max(steps) <= 1.1052
    assert min(steps) >= 0.9048


def test_the_temperature_stays_within_its_bounds() -> None:
    arm = RLArm(name="t", entropy="temperature", entropy_target=1.0, temperature=0.5, temperature_max=2.0)
    for entropy, end in ((0.0, 1.0), (9.0, 0.25)):
        matched = MatchedTemperature(arm)
        for _ in range(30):
            matched.step(entropy, 0.0)
        assert matched.temperature == pytest.approx(end)


def test_each_choice_has_its_controller() -> None:
    arm = RLArm(name="c", temperature=0.7)
    for entropy, kind, coefficient in (
        ("none", Controller, 0.0),
        ("shaped", Controller, 0.0),
        ("bonus", Controller, 0.005),
        ("adaptive", AdaptiveCoefficient, 0.0),
        ("temperature", MatchedTemperature, 0.0),
    ):
        chosen = controller(replace(arm, entropy=entropy))
        assert type(chosen) is kind
        assert (chosen.coefficient, chosen.temperature) == (coefficient, 0.7)
    entropy, logp, mask = torch.ones(2, 2), -torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bool)
    assert controller(arm).observe(entropy, logp, mask) == {}
