"""Where seeds share their problems, what these happen to be enters the interval."""

import math

import numpy as np
import pytest
from scipy import stats as distributions
from scipy.stats import rankdata

from compare.stats import crossed
from compare.stats import intervals as stats
from compare.stats.ranks import ranks


def outcomes(
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
        differences = outcomes(rng, 3, 60, by_seed, by_problem)
        result = crossed.over_seeds_and_problems(differences)
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
    result = crossed.over_seeds_and_problems(differences)
    degrees = 1  # the seeds' alone
    assert result.value == 2
    half = distributions.t.ppf(0.975, degrees) * math.sqrt(10)
    assert (result.low, result.high) == pytest.approx((2 - half, 2 + half))


def test_the_residual_is_not_counted_twice() -> None:
    # Rows mean 1 and 0, columns 0 and 1, residuals +-0.5: 1/4 by seeds, 1/4 by problems, residual 1/4.
    result = crossed.over_seeds_and_problems(np.array([[0.0, 2.0], [0.0, 0.0]]))
    half = distributions.t.ppf(0.975, 1) * math.sqrt(1 / 4 + 1 / 4 - 1 / 4)
    assert (result.low, result.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_equal_outcomes_are_not_taken_for_certainty() -> None:
    result = crossed.over_seeds_and_problems(np.zeros((3, 300)))
    assert result.high == pytest.approx(3 / 300, rel=0.05)
    assert result.p == 1.0
    assert crossed.over_seeds_and_problems(np.ones((3, 300))).p < 0.01


def test_a_contrast_of_sets_by_hand() -> None:
    """Rows of the contrast 2 - 1 = 1 and 2 - 3 = -1: 2/2 by seeds. Columns of the first set 0 and 4, no
    residual: 8/2 by problems; of the second 2 and 2, all seeds': 0. Weights 1 and -1, degrees 1."""
    first = np.array([[0.0, 4.0], [0.0, 4.0]])
    second = np.array([[1.0, 1.0], [3.0, 3.0]])
    result = crossed.over_seeds_and_sets([first, second], np.array([1.0, -1.0]))
    half = distributions.t.ppf(0.975, 1) * math.sqrt(1 + 4)
    assert (result.low, result.high) == pytest.approx((-half, half))
    doubled = crossed.over_seeds_and_sets([first, second], np.array([2.0, -2.0]))
    assert doubled.high == pytest.approx(2 * half)


def test_a_contrast_of_sets_counts_no_residual_twice() -> None:
    # As above: 1/4 by seeds, 1/4 by problems, residual 1/4; a constant set adds nothing.
    sets = [np.array([[0.0, 2.0], [0.0, 0.0]]), np.ones((2, 3))]
    result = crossed.over_seeds_and_sets(sets, np.array([1.0, -1.0]))
    half = distributions.t.ppf(0.975, 1) * math.sqrt(1 / 4)
    assert (result.low, result.high) == pytest.approx((-0.5 - half, -0.5 + half))
    equal = crossed.over_seeds_and_sets([np.zeros((3, 300)), np.zeros((3, 300))], np.array([1.0, -1.0]))
    assert (equal.value, equal.p) == (0, 1)
    assert 0 < equal.high < 0.05
    lone = crossed.over_seeds_and_sets([np.array([[0.0, 1.0, 1.0]])], np.ones(1))
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
        sets = [outcomes(rng, 3, 50, by_seed, by_problem) for _ in weights]
        result = crossed.over_seeds_and_sets(sets, weights)
        decided += not result.low <= 0 <= result.high
    assert decided <= 0.05 * trials + 2 * (0.05 * 0.95 * trials) ** 0.5


def test_one_seed_is_marked() -> None:
    assert crossed.over_seeds_and_problems(np.random.default_rng(0).standard_normal((1, 50))).single_run


def test_of_a_weighted_sum_the_redrawn_problems_give_what_the_formula_gives() -> None:
    rng = np.random.default_rng(7)
    weights = np.array([-0.3, -0.1, 0.1, 0.3])
    halves = []
    for _ in range(12):
        sets = [outcomes(rng, 3, 80, 0.3, 1.0) for _ in weights]
        exact = crossed.over_seeds_and_sets(sets, weights)
        drawn = crossed.over_seeds_of_means(
            lambda means: np.tensordot(weights, means[:, 0], 1), [each[None] for each in sets]
        )
        assert drawn.value == pytest.approx(exact.value)
        assert drawn.degrees == exact.degrees == 2
        halves.append((drawn.high - drawn.value) / (exact.high - exact.value))
    assert np.mean(halves) == pytest.approx(1, abs=0.1)


def slope_of_ranks(means: np.ndarray) -> np.ndarray:
    """Rank correlation of the second quantity less the first with the number of the set."""
    gains = means[:, 1] - means[:, 0]
    x = np.arange(len(gains)) - (len(gains) - 1) / 2
    ranks = rankdata(gains, axis=0) - (len(gains) + 1) / 2
    return np.tensordot(x, ranks, 1) / np.sqrt((x @ x) * (ranks**2).sum(axis=0))


def test_a_correlation_that_the_problems_alone_made_is_not_decided() -> None:
    """Thinking helps with some problems and not with others, alike for every seed, at no severity more."""
    rng = np.random.default_rng(5)
    trials, alone, shared = 250, 0, 0
    for _ in range(trials):
        sets = []
        for _ in range(4):
            helps, base = rng.normal(0, 1, (1, 60)), rng.normal(0, 1, (1, 60))
            before = base + 0.3 * rng.normal(size=(3, 60))
            after = base + helps + 0.3 * rng.normal(size=(3, 60))
            sets.append(np.stack([before, after]))
        result = crossed.over_seeds_of_means(slope_of_ranks, sets)
        shared += not result.low <= 0 <= result.high
        values = slope_of_ranks(np.stack([each.mean(axis=-1) for each in sets])[..., None])[:, 0]
        seeds = stats.over_seeds(values)
        alone += not seeds.low <= 0 <= seeds.high
    assert shared / trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
    assert alone / trials > 0.15  # what seeds alone would have called a correlation


def test_the_same_numbers_give_the_same_interval_and_one_seed_none() -> None:
    sets = [np.random.default_rng(k).random((2, 3, 30)) for k in range(4)]
    assert crossed.over_seeds_of_means(slope_of_ranks, sets) == crossed.over_seeds_of_means(
        slope_of_ranks, sets
    )
    lone = crossed.over_seeds_of_means(slope_of_ranks, [each[:, :1] for each in sets])
    assert lone.single_run
    assert (lone.low, lone.high) == (-math.inf, math.inf)


def test_ranks_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).integers(0, 4, (9, 5)).astype(float)
    np.testing.assert_array_equal(ranks(values), rankdata(values, axis=0))
    np.testing.assert_array_equal(ranks(values[:, 0]), rankdata(values[:, 0]))
