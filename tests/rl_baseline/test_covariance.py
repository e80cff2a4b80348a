"""Covariances, their selection, and what they say of the entropy to come."""

import pytest
import torch
from torch import Tensor

from rl_baseline.config import RLArm
from rl_baseline.covariance import covariances, quantiles, sequence_covariance
from tests.rl_baseline.cases import COV_A, COV_LOGP, generator, make_samples, whole


def test_covariances_centre_over_real_tokens_only() -> None:
    padded = torch.nn.functional.pad
    logp, advantages = padded(COV_LOGP, (0, 3), value=-50), padded(COV_A + 5, (0, 3), value=9)
    full = torch.ones(2, 2, dtype=torch.bool)
    result = covariances(logp, advantages, padded(full, (0, 3)))
    torch.testing.assert_close(result[:, :2], torch.tensor([[3.0, 0], [0, 2]], dtype=torch.float64))


def test_covariance_of_sequences_is_taken_within_groups() -> None:
    logp = torch.tensor([[-1.0, -1], [-3, -1], [-9, 7], [-9, 7]])
    advantages = torch.tensor([[1.0], [-1], [5], [-5]]).expand(4, 2)
    mask = torch.tensor([[1, 1], [1, 1], [1, 0], [1, 0]], dtype=torch.bool)
    # First group: log-probabilities -2 and -4, advantages 1 and -1: 1. Second: -9 twice: 0.
    assert sequence_covariance(logp, advantages, mask, group=2).item() == pytest.approx(0.5)


def test_quantiles_are_those_of_the_real_tokens() -> None:
    values = torch.arange(101.0).flip(0).reshape(1, 101)
    padded = torch.nn.functional.pad(values, (0, 9), value=1e9)
    found = quantiles(padded, torch.nn.functional.pad(values >= 0, (0, 9)))
    assert {k: v.item() for k, v in found.items()} == {"p50": 50, "p80": 80, "p99": 99, "max": 100}


# Three actions with advantages 1, -1, -1, and four tokens in proportion to their probabilities.
P = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
A = torch.tensor([1.0, -1, -1], dtype=torch.float64)
TOKENS = torch.tensor([[0, 0, 1, 2]])
PREDICTED = {"pg": -0.129965, "npg": -0.346574}
ACTUAL = {"pg": -1.30035e-4, "npg": -3.47073e-4}
MOVES = {"pg": P * (A - (P * A).sum()), "npg": A}


def entropy_of(logits: Tensor) -> Tensor:
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


@pytest.mark.parametrize("kind", ["pg", "npg"])
def test_t7_the_sampled_covariance_predicts_the_change_of_entropy(kind: str) -> None:
    torch.testing.assert_close(MOVES["pg"], torch.tensor([0.5, -0.25, -0.25], dtype=torch.float64))
    weights = {"pg": P * A, "npg": A}[kind]
    mask = torch.ones_like(TOKENS, dtype=torch.bool)
    slope = -covariances(P.log()[TOKENS], weights[TOKENS], mask).mean().item()
    assert slope == pytest.approx(PREDICTED[kind], abs=1e-6)


@pytest.mark.parametrize("kind", ["pg", "npg"])
def test_t7_the_error_of_first_order_shrinks_with_the_square_of_the_step(kind: str) -> None:
    def error(eta: float) -> float:
        change = entropy_of(P.log() + eta * MOVES[kind]) - entropy_of(P.log())
        if eta == 1e-3:
            assert change.item() == pytest.approx(ACTUAL[kind], abs=1e-9)
        mask = torch.ones_like(TOKENS, dtype=torch.bool)
        weights = {"pg": P * A, "npg": A}[kind]
        return abs(change.item() + eta * covariances(P.log()[TOKENS], weights[TOKENS], mask).mean().item())

    assert 80 < error(1e-2) / error(1e-3) < 120


def cov_arguments(tokens: int = 40) -> tuple[Tensor, Tensor]:
    draw = generator(3)
    return -torch.rand(4, tokens // 4, generator=draw) * 3, torch.randn(4, tokens // 4, generator=draw)


def freed_by(logp: Tensor, advantages: Tensor, *, seed: int = 0, **changes: object) -> Tensor:
    settings = {"cov_share": 1.0, "cov_low": 0.8, "cov_high": 1.0} | changes
    arm = RLArm(name="c", loss="clip_cov", clip_low=1.0, clip_high=1.0, **settings)  # pyright: ignore
    return whole(arm, logp, make_samples(logp, advantages), seed=seed)[2].selected_BT


def test_quantile_bounds_make_the_top_share_eligible_at_any_scale() -> None:
    logp, advantages = cov_arguments()
    mask = torch.ones_like(logp, dtype=torch.bool)
    freed = freed_by(logp, advantages)
    assert freed.sum() == 8  # the fifth of 40 above the quantile .8
    values = covariances(logp, advantages, mask)
    assert values[freed].min() > values[~freed].max()
    assert torch.equal(freed, freed_by(logp, advantages * 1e-3))
    below = freed_by(logp, advantages, cov_low=0.0, cov_high=0.5)
    assert below.sum() == 20
    assert values[below].max() < values[~below].min()


def test_clip_cov_draws_a_random_subset_of_the_eligible_from_its_generator() -> None:
    logp, advantages = cov_arguments(400)
    eligible = freed_by(logp, advantages)
    some = [freed_by(logp, advantages, cov_share=0.02, seed=seed) for seed in (0, 0, 1)]
    assert [int(s.sum()) for s in some] == [8, 8, 8]
    assert torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])
    assert not (some[0] & ~eligible).any()


def test_clip_cov_frees_one_token_where_its_share_is_less_than_one() -> None:
    logp, advantages = cov_arguments()
    assert freed_by(logp, advantages, cov_share=0.001).sum() == 1


@pytest.mark.parametrize(("bounds", "low", "high"), [("absolute", 0.0, 5.0), ("quantile", 0.2, 1.0)])
def test_clip_cov_frees_nothing_where_all_covariances_are_equal(bounds: str, low: float, high: float) -> None:
    logp = torch.full((2, 3), -1.0)
    assert not freed_by(logp, torch.ones(2, 3), cov_bounds=bounds, cov_low=low, cov_high=high).any()
