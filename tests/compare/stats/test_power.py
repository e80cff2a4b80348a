"""The seeds that are named decide as often as is said."""

import math

import numpy as np
import pytest
from scipy import stats as distributions

from compare.stats import intervals as stats
from compare.stats import power
from compare.stats.power import seeds_needed


def estimate(value: float, low: float, high: float, n: int = 3, degrees: float = 0) -> stats.Estimate:
    return stats.Estimate(value=value, low=low, high=high, p=1.0, n=n, single_run=False, degrees=degrees)


def test_with_a_known_spread_by_hand() -> None:
    # Half-width .3 by 1.95996, power by .84162: 3 (.3 * 2.80158 / 1.95996 / .1)^2 = 55.16.
    assert seeds_needed(estimate(0.1, -0.2, 0.4), 0.0) == 56
    # Three comparisons left: the normal at .05 / 6 is 2.39398, so 3 (.3 * 3.23560 / 1.95996 / .1)^2 = 73.6.
    assert seeds_needed(estimate(0.1, -0.2, 0.4), 0.0, comparisons=3) == 74
    # Equivalence at no difference, .1 lost at each end: 3 (.3 * (1.95996 + 1.28155) / 1.95996 / .2)^2 = 18.5.
    assert seeds_needed(estimate(0.0, -0.3, 0.3), 0.2) == 19
    # At .1, half of the margin, the far end is safe: .84162 at the near one, 3 (.3 * 1.42940 / .1)^2 = 55.2.
    assert seeds_needed(estimate(0.1, -0.2, 0.4), 0.2) == 56
    assert seeds_needed(estimate(0.1, -0.2, 0.4), 0.2, comparisons=3) == 56  # Holm corrects no margin


def test_what_cannot_be_said_and_what_is_certain() -> None:
    assert seeds_needed(estimate(0.1, -math.inf, math.inf), 0.05) is None
    assert seeds_needed(estimate(0.0, -1.0, 1.0), 0.0) is None
    assert seeds_needed(estimate(9.0, 8.8, 9.2), 0.0) == 4
    assert seeds_needed(estimate(0.1, 0.1, 0.1), 0.0) == 4


def test_the_fewest_are_named() -> None:
    e = estimate(0.1, -0.2, 0.4, degrees=2)
    needed = seeds_needed(e, 0.0)
    assert needed is not None

    def at(seeds: int) -> float:
        error = 0.3 / power.beyond(0.025, 2) * math.sqrt(3 / seeds)
        return power.chance([0.1 / error], 2, 0.025, seeds - 1)

    assert at(needed) >= power.POWER > at(needed - 1)


@pytest.mark.parametrize(("apart", "pilot", "final"), [(1.5, 3, 3), (1.2, 3, 6), (0.7, 5, 12)])
def test_the_chance_is_that_of_a_pilot_and_a_second_study(apart: float, pilot: int, final: int) -> None:
    """Against two t tests, simulated: true spread 1, the plan made of each pilot's own."""
    rng = np.random.default_rng(0)
    trials = 40_000
    spread = rng.standard_normal((trials, pilot)).std(axis=1, ddof=1)
    # The difference that is planned for is `apart` of the pilot's standard errors of the second study.
    second = rng.standard_normal((trials, final)) + (apart * spread / math.sqrt(final))[:, None]
    t = second.mean(axis=1) / (second.std(axis=1, ddof=1) / math.sqrt(final))
    found = (t > distributions.t.ppf(0.975, final - 1)).mean()
    assert power.chance([apart], pilot - 1, 0.025, final - 1) == pytest.approx(found, abs=0.008)


def test_a_fits_degrees_grow_as_the_root_of_the_seeds() -> None:
    e = estimate(0.1, -0.2, 0.4, degrees=6.6)
    needed = seeds_needed(e, 0.0)
    assert needed is not None

    def at(seeds: int) -> float:
        error = 0.3 / power.beyond(0.025, 6.6) * math.sqrt(3 / seeds)
        return power.chance([0.1 / error], 6.6, 0.025, 6.6 * math.sqrt(seeds / 3))

    assert at(needed) >= power.POWER > at(needed - 1)


def test_both_ends_of_a_margin_are_to_be_told() -> None:
    """Against a second study's t interval, simulated: true effect 0, spread 1."""
    rng = np.random.default_rng(1)
    final, trials, apart = 8, 40_000, 2.9
    values = rng.standard_normal((trials, final))
    half = distributions.t.ppf(0.975, final - 1) * values.std(axis=1, ddof=1) / math.sqrt(final)
    inside = (np.abs(values.mean(axis=1)) + half < apart / math.sqrt(final)).mean()
    assert power.chance([apart, apart], 0, 0.025, final - 1) == pytest.approx(inside, abs=0.008)


def test_a_known_spread_is_the_limit_of_many_degrees() -> None:
    assert power.chance([2.8], 1e7, 0.025, 1e7) == pytest.approx(power.chance([2.8], 0, 0.025, 0), abs=1e-3)
    assert power.chance([2.80158], 0, 0.025, 0) == pytest.approx(0.8, abs=1e-4)
