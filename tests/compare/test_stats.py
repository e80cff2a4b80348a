"""Intervals cover what they promise, p-values and verdicts follow their definitions."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from compare import stats


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


def crossed(
    rng: np.random.Generator, seeds: int, problems: int, by_seed: float, by_problem: float
) -> np.ndarray:
    """Differences with effects of seeds and of problems and noise, mean zero."""
    rows, columns = rng.standard_normal((seeds, 1)), rng.standard_normal((1, problems))
    return by_seed * rows + by_problem * columns + rng.standard_normal((seeds, problems))


def two_level_bootstrap(
    differences: np.ndarray, rng: np.random.Generator, draws: int = 300
) -> tuple[float, float]:
    """The alternative that was not chosen: resample seeds, then problems, percentiles."""
    S, P = differences.shape
    means = [differences[rng.integers(0, S, S)][:, rng.integers(0, P, P)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(("by_seed", "by_problem"), [(0.5, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_three_seeds_need_students_t_where_the_two_level_bootstrap_undercovers(
    by_seed: float, by_problem: float
) -> None:
    rng = np.random.default_rng(1)
    covered = bootstrap_covered = 0
    trials = 300
    for trial in range(trials):
        differences = crossed(rng, 3, 60, by_seed, by_problem)
        result = stats.over_seeds_and_problems(differences)
        covered += result.low <= 0 <= result.high
        if trial < 100:
            low, high = two_level_bootstrap(differences, rng)
            bootstrap_covered += low <= 0 <= high
    assert covered / trials >= 0.92
    if by_seed > by_problem:
        assert bootstrap_covered / 100 < 0.90


def test_problems_and_seeds_both_enter_the_variance() -> None:
    # Rows (seeds) mean 1 and 3, columns -1 and 5, no residual: variance 2/2 + 18/2 = 10 by hand.
    differences = np.array([[-2.0, 4.0], [0.0, 6.0]])
    result = stats.over_seeds_and_problems(differences)
    degrees = 1  # the seeds' alone
    assert result.value == 2
    half = distributions.t.ppf(0.975, degrees) * math.sqrt(10)
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))


def test_the_residual_is_not_counted_twice() -> None:
    # Rows mean 1 and 0, columns 0 and 1, residuals +-0.5: 1/4 by seeds, 1/4 by problems, residual 1/4.
    result = stats.over_seeds_and_problems(np.array([[0.0, 2.0], [0.0, 0.0]]))
    half = distributions.t.ppf(0.975, 1) * math.sqrt(1 / 4 + 1 / 4 - 1 / 4)
    assert (result.low, result.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_equal_outcomes_are_not_taken_for_certainty() -> None:
    result = stats.over_seeds_and_problems(np.zeros((3, 300)))
    assert result.high == pytest.approx(3 / 300, rel=0.05)
    assert result.p == 1.0
    assert stats.over_seeds_and_problems(np.ones((3, 300))).p < 0.01


def test_a_contrast_of_sets_by_hand() -> None:
    """Rows of the contrast 2 - 1 = 1 and 2 - 3 = -1: 2/2 by seeds. Columns of the first set 0 and 4, no
    residual: 8/2 by problems; of the second 2 and 2, all seeds': 0. Weights 1 and -1, degrees 1."""
    first = np.array([[0.0, 4.0], [0.0, 4.0]])
    second = np.array([[1.0, 1.0], [3.0, 3.0]])
    result = stats.over_seeds_and_sets([first, second], np.array([1.0, -1.0]))
    half = distributions.t.ppf(0.975, 1) * math.sqrt(1 + 4)
    assert (result.low, result.high) == pytest.approx((-half, half))
    doubled = stats.over_seeds_and_sets([first, second], np.array([2.0, -2.0]))
    assert doubled.high == pytest.approx(2 * half)


def test_a_contrast_of_sets_counts_no_residual_twice() -> None:
    # As above: 1/4 by seeds, 1/4 by problems, residual 1/4; a constant set adds nothing.
    sets = [np.array([[0.0, 2.0], [0.0, 0.0]]), np.ones((2, 3))]
    result = stats.over_seeds_and_sets(sets, np.array([1.0, -1.0]))
    half = distributions.t.ppf(0.975, 1) * math.sqrt(1 / 4)
    assert (result.low, result.high) == pytest.approx((-0.5 - half, -0.5 + half))
    equal = stats.over_seeds_and_sets([np.zeros((3, 300)), np.zeros((3, 300))], np.array([1.0, -1.0]))
    assert (equal.value, equal.p) == (0, 1)
    assert 0 < equal.high < 0.05
    lone = stats.over_seeds_and_sets([np.array([[0.0, 1.0, 1.0]])], np.ones(1))
    assert lone.single_run
    assert lone.value == pytest.approx(2 / 3)
    assert lone.low < 2 / 3 < lone.high


@pytest.mark.parametrize(("by_seed", "by_problem"), [(0.0, 0.0), (0.3, 0.0), (0.0, 1.0), (0.1, 1.0)])
def test_a_contrast_of_sets_covers_nothing_at_three_seeds(by_seed: float, by_problem: float) -> None:
    """At most 5 of 100 comparisons of equals are decided, whether seeds or problems differ."""
    rng = np.random.default_rng(4)
    weights = np.array([-0.3, -0.1, 0.1, 0.3])
    trials = 600
    decided = 0
    for _ in range(trials):
        sets = [crossed(rng, 3, 50, by_seed, by_problem) for _ in weights]
        result = stats.over_seeds_and_sets(sets, weights)
        decided += not result.low <= 0 <= result.high
    assert decided <= 0.05 * trials + 2 * (0.05 * 0.95 * trials) ** 0.5


def test_one_seed_is_marked() -> None:
    assert stats.over_seeds_and_problems(np.random.default_rng(0).standard_normal((1, 50))).single_run


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
