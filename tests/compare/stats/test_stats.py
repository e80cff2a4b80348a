"""Intervals cover what they promise, p-values and verdicts follow their definitions."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from compare.stats import intervals as stats


def test_inflation_makes_the_variance_of_a_bootstrap_mean_unbiased() -> None:
    rng = np.random.default_rng(0)
    values, strata = np.array([1.0, 2.0, 6.0]), np.zeros(3, dtype=np.int64)
    means = stats.resample(values, strata, strata, 200_000, rng).mean(axis=1)
    assert means.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.02)
    assert means.mean() == pytest.approx(3.0, abs=0.02)


def test_resampling_stays_within_its_stratum() -> None:
    values = np.array([0.0, 1.0, 10.0, 11.0])
    strata = np.array([0, 0, 1, 1])
    drawn = stats.resample(values, strata, np.zeros(4, dtype=np.int64), 500, np.random.default_rng(0))
    assert drawn[:, :2].max() < 2 < 9 < drawn[:, 2:].min()


def test_a_single_run_borrows_the_spread_of_its_arm_only() -> None:
    values = np.array([0.0, 1.0, 5.0, 100.0, 200.0])
    strata, arms = np.array([0, 0, 1, 2, 2]), np.array([0, 0, 0, 1, 1])
    lone = stats.resample(values, strata, arms, 2000, np.random.default_rng(0))[:, 2]
    # Deviations of (0, 1) about their mean, times sqrt(2).
    assert sorted(set(np.round(lone - 5, 6))) == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], abs=1e-5)


def test_flipping_puts_each_run_on_either_side_of_the_fit_by_its_own_deviation() -> None:
    # Deviations -3, -1, 4 of mean 3, times sqrt(3 / 2), about a fit at 10 that is not that mean.
    values, strata, centre = np.array([0.0, 2.0, 7.0]), np.zeros(3, dtype=np.int64), np.full(3, 10.0)
    drawn = stats.flip(values, strata, strata, centre, 4000, np.random.default_rng(0))
    for i, size in enumerate((3.0, 1.0, 4.0)):
        assert np.unique(np.round(drawn[:, i], 9)) == pytest.approx(
            [10 - size * math.sqrt(1.5), 10 + size * math.sqrt(1.5)]
        )
    assert drawn.mean(axis=0) == pytest.approx(centre, abs=0.3)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.06  # signs are drawn run by run


def test_a_single_run_is_flipped_by_what_it_borrows() -> None:
    values, strata = np.array([0.0, 1.0, 5.0, 100.0, 200.0]), np.array([0, 0, 1, 2, 2])
    arms, centre = np.array([0, 0, 0, 1, 1]), np.zeros(5)
    lone = stats.flip(values, strata, arms, centre, 500, np.random.default_rng(0))[:, 2]
    assert np.unique(np.round(lone, 6)) == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], abs=1e-5)


def test_an_arm_of_single_runs_borrows_of_all_others() -> None:
    values, strata = np.array([0.0, 1.0, 5.0, 7.0]), np.array([0, 0, 1, 2])
    arms = np.array([0, 0, 1, 1])
    for drawn in (
        stats.resample(values, strata, arms, 500, np.random.default_rng(0)) - values,
        stats.flip(values, strata, arms, values, 500, np.random.default_rng(0)) - values,
    ):
        for i in (2, 3):
            assert np.unique(np.round(drawn[:, i], 6)) == pytest.approx(
                [-math.sqrt(0.5), math.sqrt(0.5)], abs=1e-5
            )


def test_where_draws_do_not_resolve_the_percentiles_t_stands_in() -> None:
    samples = distributions.norm.ppf((np.arange(2000) + 0.5) / 2000) + 3
    low, high = stats.percentile_interval(samples, degrees=2)
    assert (low, high) == pytest.approx((3 - 4.303, 3 + 4.303), abs=0.01)
    # Of as many draws as resolve them both are the same.
    many = distributions.norm.ppf((np.arange(2_000_000) + 0.5) / 2_000_000) + 3
    assert stats.percentile_interval(many, degrees=2) == pytest.approx((low, high), abs=0.02)


def test_percentiles_are_widened_to_students_t() -> None:
    samples = distributions.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    low, high = stats.percentile_interval(samples, degrees=20)
    assert (low, high) == pytest.approx((-2.086, 2.086), abs=0.01)
    assert stats.percentile_interval(samples, degrees=0) == (-math.inf, math.inf)


def test_bootstrap_p_agrees_with_students_t_and_has_a_floor() -> None:
    samples = distributions.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    assert stats.bootstrap_p(1.5, samples + 1.5, 20) == pytest.approx(
        2 * distributions.t.sf(1.5, 20), rel=0.01
    )
    assert stats.bootstrap_p(0.0, samples, 20) == pytest.approx(1, abs=0.01)
    assert stats.bootstrap_p(50.0, samples[::100] + 50.0, 20) == 1 / 1001
    assert stats.bootstrap_p(5.0, samples + 5.0, 0) == 1.0


def test_over_seeds_is_a_one_sample_t_test() -> None:
    values = np.array([0.1, 0.3, 0.35])
    result = stats.over_seeds(values)
    error = float(distributions.sem(values))
    low, high = distributions.t.interval(0.95, 2, values.mean(), error)
    p = 2 * distributions.t.sf(values.mean() / error, 2)
    assert (result.low, result.high, result.p) == pytest.approx((low, high, p))
    lone = stats.over_seeds(values[:1])
    assert lone.single_run
    assert (lone.low, lone.high) == (-math.inf, math.inf)


def test_holm_by_hand() -> None:
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


@pytest.mark.parametrize(
    ("numbers", "higher", "expected"),
    [
        ((0.5, 0.2, 0.8, 0.1, 0.01), True, "ahead"),
        ((0.5, 0.2, 0.8, 0.1, 0.01), False, "behind"),
        ((-0.5, -0.8, -0.2, 0.1, 0.01), True, "behind"),
        ((-0.5, -0.8, -0.2, 0.1, 0.01), False, "ahead"),
        ((0.5, 0.2, 0.8, 0.1, 0.06), True, "undecided"),
        ((0.5, -0.1, 1.1, 0.1, 0.01), True, "undecided"),
        ((0.01, -0.05, 0.07, 0.1, 0.9), True, "equivalent"),
        ((0.05, 0.02, 0.08, 0.1, 0.001), True, "equivalent"),
        ((0.01, -0.05, 0.11, 0.1, 0.9), True, "undecided"),
        ((0.0, 0.0, 0.0, 0.0, 1.0), True, "undecided"),
    ],
)
def test_verdicts(numbers: tuple[float, float, float, float, float], higher: bool, expected: str) -> None:
    assert stats.verdict(*numbers, higher) == expected


def test_degrees_of_freedom_by_hand() -> None:
    even, sizes = np.ones(4), np.full(4, 3)
    assert stats.satterthwaite(even, sizes) == pytest.approx(8)
    assert stats.satterthwaite(np.array([1.0, 0.0, 0.0, 0.0]), sizes) == pytest.approx(2)
    # v = 4/2 and 1/4: (9/4)^2 / (4 / 1 + (1/16) / 3).
    assert stats.satterthwaite(np.array([2.0, 1.0]), np.array([2, 4])) == pytest.approx(
        (9 / 4) ** 2 / (4 + 1 / 48)
    )
    # A lone run knows its spread from the other two, 2 degrees; without others nothing is known.
    assert stats.satterthwaite(np.array([1.0, 0.0]), np.array([1, 3])) == pytest.approx(2)
    assert stats.satterthwaite(np.ones(2), np.ones(2, dtype=int)) == 0
