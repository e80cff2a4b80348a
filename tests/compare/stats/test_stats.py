"""Intervals cover what they promise, p-values and verdicts follow their definitions."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from compare.stats import intervals as stats


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
