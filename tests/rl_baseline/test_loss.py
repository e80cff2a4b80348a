import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl_baseline.config import AGGREGATIONS, RLArm
from rl_baseline.loss import (
    aggregate,
    clip_cov,
    covariances,
    gppo,
    kl_cov,
    likelihood_of_correct,
    policy_loss,
    ppo,
)

FULL = torch.ones(2, 2, dtype=torch.bool)
# One row of log-probabilities each for a correct and an incorrect sample; three ratios a row.
OLD = torch.tensor([[0.5, 0.4, 0.2], [0.1, 0.8, 0.25]]).log()
RATIO = torch.tensor([[1, 1.5, 0.5], [2, 0.5, 4]])
ROWS = torch.tensor([[1.0] * 3, [-1.0] * 3])
PPO = {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 3.0, "aggregation": "token_mean"}
# The case of the covariance losses: covariances [[3, 0], [0, 2]].
COV_A = torch.tensor([[3.0, 1], [-2, -2]])
COV_LOGP = torch.tensor([[-1.0, -2], [-2, -3]])


def gradient(loss: Tensor, logp: Tensor, scale: int) -> list[list[float]]:
    return (torch.autograd.grad(loss, logp)[0] * scale).tolist()


def moved(*changes: tuple[int, int, float]) -> Tensor:
    old = COV_LOGP.clone()
    for row, column, change in changes:
        old[row, column] += change
    return old


def approx(rows: list[list[float]]):
    return [pytest.approx(row, abs=1e-5) for row in rows]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ppo_clips_high_low_and_twice():
    logp = (OLD + RATIO.log()).requires_grad_()
    loss, metrics = ppo(logp, OLD, ROWS, torch.ones(2, 3, dtype=torch.bool), **PPO)
    assert loss.item() == pytest.approx(0.503333, abs=1e-6)
    assert gradient(loss, logp, 6) == approx([[-1, 0, -0.5], [2, 0, 0]])
    assert metrics["clip_fraction"].item() == pytest.approx(1 / 3)
    assert metrics["kl"].item() == pytest.approx(-0.183102, abs=1e-6)


@pytest.mark.parametrize("loss_of", [ppo, gppo])
@pytest.mark.parametrize(("ratio", "advantage", "expected"), [(1.5, 1.0, -1.28), (0.5, -1.0, 0.8)])
def test_each_bound_is_on_its_own_side(loss_of, ratio: float, advantage: float, expected: float):
    """In the case above, the two bounds exchanged would give the same sum."""
    one = torch.ones(1, 1)
    loss, _ = loss_of(one * math.log(ratio), one * 0, one * advantage, one > 0, **PPO)
    assert loss.item() == pytest.approx(expected)


def test_gppo_keeps_the_value_and_the_gradient_of_the_bound():
    logp = (OLD + RATIO.log()).requires_grad_()
    loss, metrics = gppo(logp, OLD, ROWS, torch.ones(2, 3, dtype=torch.bool), **PPO)
    assert loss.item() == pytest.approx(0.503333, abs=1e-6)
    assert gradient(loss, logp, 6) == approx([[-1, -1.28, -0.5], [2, 0.8, 0]])
    assert metrics["clip_fraction"].item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("loss_of", [ppo, gppo])
def test_on_policy_the_gradient_is_that_of_the_policy_gradient(loss_of):
    logp = OLD.clone().requires_grad_()
    loss, _ = loss_of(logp, OLD, ROWS, torch.ones(2, 3, dtype=torch.bool), **PPO)
    assert gradient(loss, logp, 6) == approx((-ROWS).tolist())


@pytest.mark.parametrize(
    ("bounds", "old", "clip", "expected", "slopes"),
    [
        ({"share": 2e-4, "low": 1, "high": 2.5}, moved(), (1, 1), -0.5, [[-3, -1], [2, 0]]),
        ({"share": 0.5, "low": 1, "high": 5}, moved(), (1, 1), 0.25, [[0, -1], [2, 0]]),
        ({"share": 0.5, "low": 3, "high": 5}, moved(), (1, 1), 0.0, [[-3, -1], [2, 2]]),
        (
            {"share": 0.5, "low": 1, "high": 5},
            moved((1, 1, math.log(2))),
            (0.2, 0.28),
            0.65,
            [[0, -1], [2, 0]],
        ),
        ({"share": 0.5, "low": 1, "high": 5}, moved((1, 1, math.log(2))), (1, 1), 0.25, [[0, -1], [2, 0]]),
    ],
    ids=["upper bound", "both", "strict lower bound", "PPO clips one", "PPO clips none"],
)
def test_clip_cov_frees_tokens_of_high_covariance(bounds, old, clip, expected, slopes):
    logp = COV_LOGP.clone().requires_grad_()
    low, high = clip
    loss, metrics = clip_cov(
        logp,
        old,
        COV_A,
        FULL,
        clip_low=low,
        clip_high=high,
        bounds="absolute",
        generator=generator(),
        aggregation="token_mean",
        **bounds,
    )
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert gradient(loss, logp, 4) == approx(slopes)
    assert metrics["covariance"].item() == pytest.approx(1.25)


def test_covariances_centre_over_real_tokens_only():
    padded = torch.nn.functional.pad
    logp, advantages = padded(COV_LOGP, (0, 3), value=-50), padded(COV_A + 5, (0, 3), value=9)
    result = covariances(logp, advantages, padded(FULL, (0, 3)))
    torch.testing.assert_close(result[:, :2], torch.tensor([[3.0, 0], [0, 2]]))


def cov_arguments(tokens: int = 40) -> tuple[Tensor, Tensor]:
    draw = generator(3)
    return -torch.rand(4, tokens // 4, generator=draw) * 3, torch.randn(4, tokens // 4, generator=draw)


def freed_by(logp: Tensor, advantages: Tensor, mask: Tensor, **changes) -> Tensor:
    settings = {
        "share": 1.0,
        "bounds": "quantile",
        "low": 0.8,
        "high": 1.0,
        "generator": generator(),
    } | changes
    logp = logp.clone().requires_grad_()
    loss, _ = clip_cov(
        logp, logp.detach(), advantages, mask, clip_low=1, clip_high=1, aggregation="token_mean", **settings
    )
    return (torch.autograd.grad(loss, logp)[0] == 0) & mask


def test_quantile_bounds_make_the_top_share_eligible_at_any_scale():
    logp, advantages = cov_arguments()
    mask = torch.ones_like(logp, dtype=torch.bool)
    freed = freed_by(logp, advantages, mask)
    assert freed.sum() == 8  # the fifth of 40 above the quantile .8
    values = covariances(logp, advantages, mask)
    assert values[freed].min() > values[~freed].max()
    assert torch.equal(freed, freed_by(logp, advantages * 1e-3, mask))
    below = freed_by(logp, advantages, mask, low=0.0, high=0.5)
    assert below.sum() == 20
    assert values[below].max() < values[~below].min()


def test_clip_cov_draws_a_random_subset_of_the_eligible_from_its_generator():
    logp, advantages = cov_arguments(400)
    mask = torch.ones_like(logp, dtype=torch.bool)
    eligible = freed_by(logp, advantages, mask)
    some = [freed_by(logp, advantages, mask, share=0.02, generator=generator(seed)) for seed in (0, 0, 1)]
    assert [int(s.sum()) for s in some] == [8, 8, 8]
    assert torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])
    assert not (some[0] & ~eligible).any()


@pytest.mark.parametrize(("bounds", "low", "high"), [("absolute", 0.0, 5.0), ("quantile", 0.2, 1.0)])
def test_clip_cov_frees_nothing_where_all_covariances_are_equal(bounds: str, low: float, high: float):
    logp = torch.full((2, 3), -1.0)
    mask = torch.ones(2, 3, dtype=torch.bool)
    advantages = torch.ones(2, 3)
    assert not freed_by(logp, advantages, mask, bounds=bounds, low=low, high=high).any()


@pytest.mark.parametrize(
    ("share", "coef", "expected", "first", "last"),
    [
        (0.25, 1.0, -0.101459, -2.315513, 1.809675),
        (0.5, 1.0, -0.076459, -2.315513, 0.809675),
        (0.5, 0.0, -0.126459, -3.315513, 1.809675),
    ],
)
def test_kl_cov_penalises_the_highest_covariances(share, coef, expected, first, last):
    logp = COV_LOGP.clone().requires_grad_()
    old = moved((0, 0, -0.1), (1, 1, 0.1))
    loss, metrics = kl_cov(logp, old, COV_A, FULL, share=share, coef=coef, aggregation="token_mean")
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert gradient(loss, logp, 4) == approx([[first, -1], [2, last]])
    assert metrics["selected"].item() == share


def test_kl_cov_is_plain_policy_gradient_on_policy():
    logp = COV_LOGP.clone().requires_grad_()
    loss, _ = kl_cov(logp, COV_LOGP, COV_A, FULL, share=1.0, coef=1.0, aggregation="token_mean")
    assert loss.item() == 0
    assert gradient(loss, logp, 4) == approx([[-3, -1], [2, 2]])


def arm(loss: str, aggregation: str) -> RLArm:
    return RLArm(name=loss, loss=loss, aggregation=aggregation, cov_share=0.2, cov_low=0.5, nll_coef=0.1)


LOSSES = ["ppo", "clip_cov", "kl_cov", "gppo"]


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    draw = generator(seed)
    logp, change = -torch.rand(6, 5, generator=draw) * 4, torch.randn(6, 5, generator=draw) * 0.3
    advantages = torch.randn(6, 1, generator=draw).expand(6, 5)
    lengths = torch.randint(1, 6, (6,), generator=draw)
    return logp, logp + change, advantages, torch.arange(5) < lengths[:, None], advantages[:, 0] > 0


def value_and_gradient(config: RLArm, case, length: int = 5) -> tuple[Tensor, Tensor]:
    logp, old, advantages, mask, correct = case
    logp = logp.clone().requires_grad_()
    loss, _ = policy_loss(config, logp, old, advantages, mask, correct, generator=generator(), length=length)
    return loss.detach(), torch.autograd.grad(loss, logp)[0]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_padding_changes_nothing(loss: str, aggregation: str):
    config, case = arm(loss, aggregation), random_case(1)
    pad = torch.nn.functional.pad
    logp, old, advantages, mask, correct = case
    padded = (pad(logp, (0, 3), value=-7), pad(old, (0, 3), value=3), pad(advantages, (0, 3), value=5))
    value, slope = value_and_gradient(config, case)
    longer, slopes = value_and_gradient(config, (*padded, pad(mask, (0, 3)), correct))
    torch.testing.assert_close((longer, slopes), (value, pad(slope, (0, 3))))
    assert not slope[~mask].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_the_samples_changes_nothing(loss: str):
    # A share of one: which tokens are drawn from the eligible is then no matter of chance.
    config = RLArm(name=loss, loss=loss, cov_share=1.0 if loss == "clip_cov" else 0.2, cov_low=0.5)
    case, order = random_case(2), torch.tensor([3, 1, 5, 0, 2, 4])
    value, slope = value_and_gradient(config, case)
    shuffled, slopes = value_and_gradient(config, tuple(x[order] for x in case))
    torch.testing.assert_close((shuffled, slopes), (value, slope[order]))


@settings(deadline=None, max_examples=50)
@given(
    loss=st.sampled_from(LOSSES),
    aggregation=st.sampled_from(AGGREGATIONS),
    gap=st.floats(-1e4, 1e4),
    advantage=st.floats(-3, 3),
    lengths=st.lists(st.integers(0, 3), min_size=2, max_size=2),
)
def test_no_loss_is_ever_infinite_or_undefined(loss, aggregation, gap, advantage, lengths):
    logp = torch.full((2, 3), -1.0)
    mask = torch.arange(3) < torch.tensor(lengths)[:, None]
    advantages = torch.tensor([[advantage], [-advantage]]).expand(2, 3)
    case = (logp, logp + gap, advantages, mask, torch.tensor([True, False]))
    value, slope = value_and_gradient(arm(loss, aggregation), case)
    assert value.isfinite()
    assert slope.isfinite().all()


VALUES = torch.tensor([[1.0, 2, 3], [4, 9, 9]])


@pytest.mark.parametrize(
    ("how", "expected", "with_an_empty_row"),
    [
        ("token_mean", 2.5, 2),
        ("seq_mean_token_sum", 5, 6),
        ("seq_mean_token_mean", 3, 2),
        ("sum_norm", 10 / 6, 1),
    ],
)
def test_aggregation(how: str, expected: float, with_an_empty_row: float):
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    assert aggregate(VALUES, mask, how).item() == pytest.approx(expected)
    mask[1, 0] = False
    assert aggregate(VALUES, mask, how).item() == pytest.approx(with_an_empty_row)
    assert aggregate(VALUES, torch.zeros_like(mask), how).item() == 0


def test_sum_norm_divides_by_a_given_length():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    assert aggregate(VALUES, mask, "sum_norm", length=10).item() == pytest.approx(0.5)


def test_an_unknown_aggregation_is_named():
    with pytest.raises(ValueError, match="aggregation mean: choose token_mean"):
        aggregate(VALUES, VALUES > 0, "mean")


def test_likelihood_term_reads_correct_samples_only():
    mask = torch.tensor([[True, True], [True, False]])
    logp = torch.tensor([[-1.0, -3], [-5, -9]])
    assert likelihood_of_correct(logp, mask, torch.tensor([True, False])).item() == 2
    assert likelihood_of_correct(logp, mask, torch.tensor([True, True])).item() == 3
    assert likelihood_of_correct(logp, mask, torch.tensor([False, False])).item() == 0
