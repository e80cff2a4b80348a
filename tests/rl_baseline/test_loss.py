"""Losses of single tokens against hand-computed values and gradients, and against finite differences."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rl_baseline.config import AGGREGATIONS, LOSSES, RLArm
from rl_baseline.loss import divergences
from rl_baseline.update import policy_loss
from tests.rl_baseline.cases import (
    COV_A,
    COV_LOGP,
    MOVED,
    OLD,
    ROWS,
    approx,
    make_samples,
    random_case,
    slopes_by_differences,
    value_and_gradient,
    whole,
)

DAPO = RLArm(name="ppo", clip_low=0.2, clip_high=0.28, dual_clip=3.0)
UNCLIPPED = [[-1, -1.28, -0.5], [2, 0.8, 0]]


def moved(*changes: tuple[int, int, float]) -> Tensor:
    old = COV_LOGP.clone()
    for row, column, change in changes:
        old[row, column] += change
    return old


@pytest.mark.parametrize(
    ("arm", "expected", "slopes"),
    [
        (DAPO, 3.02 / 6, [[-1, 0, -0.5], [2, 0, 0]]),
        (replace(DAPO, loss="gppo"), 3.02 / 6, UNCLIPPED),
        (replace(DAPO, loss="ce_gppo", beta_low=0.25), 2.42 / 6, [UNCLIPPED[0], [2, 0.2, 0]]),
        (replace(DAPO, loss="ce_gppo", beta_low=0.5), 2.62 / 6, [UNCLIPPED[0], [2, 0.4, 0]]),
        (replace(DAPO, loss="ce_gppo", beta_low=0.75), 2.82 / 6, [UNCLIPPED[0], [2, 0.6, 0]]),
        (
            replace(DAPO, loss="ce_gppo", beta_low=0.0, beta_high=0.0),
            3.5 / 6,
            [[-1, 0, -0.5], [2, 0, 0]],
        ),
        (replace(DAPO, loss="cispo"), 0.065993, [[-1, -1.28, -0.8], [1.28, 0.8, 1.28]]),
    ],
    ids=["ppo", "gppo", "ce_gppo .25", "ce_gppo .5", "ce_gppo .75", "ce_gppo 0 0", "cispo"],
)
def test_t1_values_and_gradients_of_the_clipped_losses(arm, expected, slopes) -> None:
    value, gradient, _ = value_and_gradient(arm, MOVED, make_samples(OLD, ROWS))
    assert value.item() == pytest.approx(expected, abs=1e-6)
    assert (gradient * 6).tolist() == approx(slopes)


def test_t1_clip_fractions_and_divergence() -> None:
    _, _, metrics = value_and_gradient(DAPO, MOVED, make_samples(OLD, ROWS))
    assert metrics["clip_fraction"].item() == pytest.approx(1 / 3)
    assert metrics["clip_fraction_high"].item() == pytest.approx(1 / 6)
    assert metrics["clip_fraction_dual"].item() == pytest.approx(1 / 6)
    assert metrics["kl"].item() == pytest.approx(-0.183102, abs=1e-6)
    assert metrics["logp_gap"].item() == pytest.approx(math.log(4), abs=1e-6)
    cispo = replace(DAPO, loss="cispo")
    _, _, metrics = value_and_gradient(cispo, MOVED, make_samples(OLD, ROWS))
    # CISPO's weight is bounded on both sides whatever the advantage's sign: all but the ratio of 1.
    assert metrics["clip_fraction"].item() == pytest.approx(5 / 6)
    assert metrics["clip_fraction_high"].item() == pytest.approx(2 / 6)  # those of the row with A > 0


@pytest.mark.parametrize("loss", ["ppo", "gppo"])
@pytest.mark.parametrize(("ratio", "advantage", "expected"), [(1.5, 1.0, -1.28), (0.5, -1.0, 0.8)])
def test_each_bound_is_on_its_own_side(loss: str, ratio: float, advantage: float, expected: float) -> None:
    """In the case above, the two bounds exchanged would give the same sum."""
    one = torch.ones(1, 1)
    samples = make_samples(one * 0, one * advantage)
    value, _, _ = value_and_gradient(replace(DAPO, loss=loss), one * math.log(ratio), samples)
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"), [(1.5, 1.0, -1.28 * 0.9), (0.5, -1.0, 0.8 * 0.3)]
)
def test_ce_gppo_weighs_each_side_by_its_own_beta(ratio: float, advantage: float, expected: float) -> None:
    arm = replace(DAPO, loss="ce_gppo", beta_low=0.3, beta_high=0.9)
    one = torch.ones(1, 1)
    value, slope, _ = value_and_gradient(arm, one * math.log(ratio), make_samples(one * 0, one * advantage))
    assert value.item() == pytest.approx(expected)
    assert slope.item() == pytest.approx(expected)


def test_ce_gppo_with_both_weights_one_is_gppo() -> None:
    logp, samples = random_case(4)
    gppo = value_and_gradient(replace(DAPO, loss="gppo"), logp, samples)
    ce_gppo = value_and_gradient(replace(DAPO, loss="ce_gppo", beta_low=1.0), logp, samples)
    torch.testing.assert_close(gppo, ce_gppo)


@pytest.mark.parametrize("loss", ["ppo", "gppo", "ce_gppo", "cispo", "kl_cov"])
def test_on_policy_the_gradient_is_that_of_the_policy_gradient(loss: str) -> None:
    _, gradient, _ = value_and_gradient(replace(DAPO, loss=loss), OLD, make_samples(OLD, ROWS))
    assert (gradient * 6).tolist() == approx((-ROWS).tolist())


CLIP_COV = RLArm(name="clip_cov", loss="clip_cov", cov_bounds="absolute", clip_low=1.0, clip_high=1.0)


@pytest.mark.parametrize(
    ("arm", "old", "expected", "slopes"),
    [
        (replace(CLIP_COV, cov_share=2e-4, cov_low=1, cov_high=2.5), moved(), -0.5, [[-3, -1], [2, 0]]),
        (replace(CLIP_COV, cov_share=0.5, cov_low=1, cov_high=5), moved(), 0.25, [[0, -1], [2, 0]]),
        (replace(CLIP_COV, cov_share=0.5, cov_low=3, cov_high=5), moved(), 0.0, [[-3, -1], [2, 2]]),
        (
            replace(CLIP_COV, cov_share=0.5, cov_low=1, cov_high=5, clip_low=0.2, clip_high=0.28),
            moved((1, 1, math.log(2))),
            0.65,
            [[0, -1], [2, 0]],
        ),
        (
            replace(CLIP_COV, cov_share=0.5, cov_low=1, cov_high=5),
            moved((1, 1, math.log(2))),
            0.25,
            [[0, -1], [2, 0]],
        ),
    ],
    ids=["upper bound", "both", "strict lower bound", "PPO clips one", "PPO clips none"],
)
def test_t2_clip_cov_frees_tokens_of_high_covariance(arm, old, expected, slopes) -> None:
    value, gradient, _ = value_and_gradient(arm, COV_LOGP, make_samples(old, COV_A))
    assert value.item() == pytest.approx(expected, abs=1e-6)
    assert (gradient * 4).tolist() == approx(slopes)


@pytest.mark.parametrize(
    ("share", "coef", "expected", "first", "last"),
    [
        (0.25, 1.0, -0.101459, -2.315513, 1.809675),
        (0.5, 1.0, -0.076459, -2.315513, 0.809675),
        (0.5, 0.0, -0.126459, -3.315513, 1.809675),
    ],
)
def test_t3_kl_cov_penalises_the_highest_covariances(share, coef, expected, first, last) -> None:
    arm = RLArm(name="kl_cov", loss="kl_cov", cov_share=share, kl_coef=coef)
    samples = make_samples(moved((0, 0, -0.1), (1, 1, 0.1)), COV_A)
    value, gradient, metrics = value_and_gradient(arm, COV_LOGP, samples)
    assert value.item() == pytest.approx(expected, abs=1e-6)
    assert (gradient * 4).tolist() == approx([[first, -1], [2, last]])
    assert metrics["selected"].item() == share


def test_t3_kl_cov_is_plain_policy_gradient_on_policy() -> None:
    arm = RLArm(name="kl_cov", loss="kl_cov", cov_share=1.0, kl_coef=1.0)
    value, gradient, _ = value_and_gradient(arm, COV_LOGP, make_samples(COV_LOGP, COV_A))
    assert value.item() == 0
    assert (gradient * 4).tolist() == approx([[-3, -1], [2, 2]])


def test_kl_cov_takes_differences_within_its_slack_for_rounding() -> None:
    arm = RLArm(name="kl_cov", loss="kl_cov", cov_share=1.0)
    samples = make_samples(moved((0, 0, -1e-7), (1, 1, 0.1)), COV_A)
    _, penalised, _ = value_and_gradient(arm, COV_LOGP, samples)
    _, spared, _ = value_and_gradient(replace(arm, kl_slack=1e-5), COV_LOGP, samples)
    assert (penalised * 4).tolist() == approx([[-2, -1], [2, 0.809675]])
    assert (spared * 4).tolist() == approx([[-3, -1], [2, 0.809675]])


def test_t10_estimates_of_the_divergence() -> None:
    found = divergences(torch.tensor(-1.0), torch.tensor(-1.5))
    assert found["k1"].item() == pytest.approx(0.5, abs=1e-6)
    assert found["k2"].item() == pytest.approx(0.125, abs=1e-6)
    assert found["k3"].item() == pytest.approx(0.106531, abs=1e-6)


def test_k1_and_k3_are_unbiased() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    exact = (p * (p / q).log()).sum()
    found = divergences(p.log(), q.log())
    torch.testing.assert_close((p * found["k1"]).sum(), exact)
    torch.testing.assert_close((p * found["k3"]).sum(), exact)
    assert (found["k3"] >= 0).all()


def test_likelihood_alone_reads_correct_samples_only() -> None:
    arm = RLArm(name="rejection_sampling", loss="nll")
    logp = torch.tensor([[-1.0, -3], [-5, -9]])
    mask = torch.tensor([[True, True], [True, False]])
    for correct, expected, slopes in (
        ([True, False], 2.0, [[-0.5, -0.5], [0, 0]]),
        ([True, True], 3.0, [[-1 / 3, -1 / 3], [-1 / 3, 0]]),
        ([False, False], 0.0, [[0, 0], [0, 0]]),
    ):
        # Neither the advantages nor the sampling policy have a say.
        samples = make_samples(logp * 3, logp, mask, torch.tensor(correct))
        value, gradient, _ = value_and_gradient(arm, logp, samples)
        assert value.item() == pytest.approx(expected)
        assert gradient.tolist() == approx(slopes)


def test_the_likelihood_term_is_added_with_its_weight() -> None:
    logp, samples = random_case(3)
    plain, slope, _ = value_and_gradient(DAPO, logp, samples)
    extra, extra_slope, _ = value_and_gradient(RLArm(name="n", loss="nll"), logp, samples)
    both, both_slope, _ = value_and_gradient(replace(DAPO, nll_coef=0.1), logp, samples)
    torch.testing.assert_close(both, plain + 0.1 * extra)
    torch.testing.assert_close(both_slope, slope + 0.1 * extra_slope)


# Losses whose gradient is that of their value; GPPO, CE-GPPO and CISPO stop some of it on purpose.
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("loss", ["ppo", "clip_cov", "kl_cov", "nll"])
def test_gradients_are_those_of_finite_differences(loss: str, aggregation: str) -> None:
    arm = RLArm(name=loss, loss=loss, aggregation=aggregation, cov_share=0.2, cov_low=0.5)
    logp, samples = random_case(5)
    _, gradient, _ = value_and_gradient(arm, logp, samples)
    _, _, step = whole(arm, logp, samples)

    def value(at: Tensor) -> Tensor:
        return policy_loss(arm, at, None, step)[0]

    torch.testing.assert_close(gradient, slopes_by_differences(value, logp), rtol=1e-5, atol=1e-8)


def config(loss: str, aggregation: str = "token_mean") -> RLArm:
    nll = 0.0 if loss == "nll" else 0.1
    return RLArm(name=loss, loss=loss, aggregation=aggregation, cov_share=0.2, cov_low=0.5, nll_coef=nll)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_padding_changes_nothing(loss: str, aggregation: str) -> None:
    arm, (logp, samples) = config(loss, aggregation), random_case(1)
    pad = torch.nn.functional.pad
    padded = make_samples(
        pad(samples.old_logp_BT, (0, 3), value=3),
        pad(samples.advantages_BT, (0, 3), value=5),
        pad(samples.mask_BT, (0, 3)),
        samples.correct_B,
    )
    value, slope, metrics = value_and_gradient(arm, logp, samples)
    longer, slopes, wider = value_and_gradient(arm, pad(logp, (0, 3), value=-7), padded)
    torch.testing.assert_close((longer, slopes), (value, pad(slope, (0, 3))))
    torch.testing.assert_close(dict(wider), dict(metrics))
    assert not slope[~samples.mask_BT].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_the_samples_changes_nothing(loss: str) -> None:
    # A share of one: which tokens are drawn from the eligible is then no matter of chance.
    arm = RLArm(name=loss, loss=loss, cov_share=1.0 if loss == "clip_cov" else 0.2, cov_low=0.5)
    (logp, samples), order = random_case(2), torch.tensor([3, 1, 5, 0, 2, 4])
    value, slope, _ = value_and_gradient(arm, logp, samples)
    shuffled, slopes, _ = value_and_gradient(arm, logp[order], samples.part(order))
    torch.testing.assert_close((shuffled, slopes), (value, slope[order]))


@settings(deadline=None, max_examples=50)
@given(
    loss=st.sampled_from(LOSSES),
    aggregation=st.sampled_from(AGGREGATIONS),
    gap=st.floats(-1e4, 1e4),
    advantage=st.floats(-3, 3),
    lengths=st.lists(st.integers(0, 3), min_size=2, max_size=2),
)
def test_no_loss_is_ever_infinite_or_undefined(loss, aggregation, gap, advantage, lengths) -> None:
    logp = torch.full((2, 3), -1.0)
    mask = torch.arange(3) < torch.tensor(lengths)[:, None]
    advantages = torch.tensor([[advantage], [-advantage]]).expand(2, 3)
    samples = make_samples(logp + gap, advantages, mask, torch.tensor([True, False]))
    value, slope, metrics = value_and_gradient(config(loss, aggregation), logp, samples)
    assert value.isfinite()
    assert slope.isfinite().all()
    assert all(x.isfinite() for x in metrics.values())
