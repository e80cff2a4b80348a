"""Which settings a search tries: as many for every arm, the same values, evenly over each range."""

import dataclasses

import pytest

from arena.config import ConfigError
from compare.plan.config import Search
from compare.plan.trials import trials, with_settings
from tests.compare.planted.search import EBT, PLAIN, RANGES, SEARCH
from tests.conftest import TINY


def test_every_arm_gets_as_many_trials_and_tries_the_same_rates() -> None:
    plain, energy = trials(PLAIN, SEARCH), trials(EBT, SEARCH)
    assert len(plain) == len(energy) == 6
    assert plain[0] == energy[0] == {}  # what the files say is tried, too
    assert [t["size.lr"] for t in plain[1:]] == [t["size.lr"] for t in energy[1:]]
    assert all(set(t) == {"size.lr", "arm.alpha_target"} for t in energy[1:])
    assert trials(PLAIN, SEARCH) == plain
    assert trials(PLAIN, dataclasses.replace(SEARCH, seed=1)) != plain


def test_the_draws_are_those_of_every_process_and_day() -> None:
    # What conf/tuned names as the n-th trial of a seed must stay that.
    assert [t["size.lr"] for t in trials(PLAIN, SEARCH)[1:]] == [
        0.006556,
        0.002684,
        0.001772,
        0.001184,
        0.004678,
    ]


def test_a_range_is_covered_evenly_in_its_logarithm() -> None:
    # Five drawn trials between 1e-3 and 1e-2: one in each fifth of the decade.
    import math

    places = sorted((math.log10(t["size.lr"]) + 3) * 5 for t in trials(PLAIN, SEARCH)[1:])
    assert [int(place) for place in places] == [0, 1, 2, 3, 4]


def test_the_narrower_range_wins() -> None:
    ranges = {"all": {"size.lr": [1e-3, 1e-2]}, "transformer": {"size.lr": [1e-5, 1e-4]}}
    narrow = trials(PLAIN, Search(trials=3, seed=0, ranges=ranges))
    assert all(1e-5 <= t["size.lr"] <= 1e-4 for t in narrow[1:])


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ({}, "none for arm transformer"),
        ({"all": {"size.width": [1.0, 2.0]}}, "size.width: no number of arm transformer"),
        ({"all": {"arm.pretrained": [1.0, 2.0]}}, "arm.pretrained: no number"),
        ({"all": {"size.lr": [0.0, 1.0]}}, "need [low, high]"),
        ({"all": {"size.lr": [2.0, 1.0]}}, "need [low, high]"),
        ({"all": {"size.lr": [1.0]}}, "need [low, high]"),
    ],
)
def test_a_range_of_no_use_is_refused(ranges: dict[str, dict[str, list[float]]], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("[", r"\[").replace("]", r"\]")):
        trials(PLAIN, Search(trials=3, ranges=ranges))


def test_one_trial_is_no_search() -> None:
    with pytest.raises(ConfigError, match=r"trials=1: at least 2"):
        trials(PLAIN, Search(trials=1, ranges=RANGES))


def test_a_setting_reaches_its_arm_and_leaves_the_size_its_name() -> None:
    changed = with_settings(EBT, {"size.lr": 0.005, "arm.alpha_target": 3.0})
    assert (changed.size.lr, changed.arm.alpha_target, changed.size.name) == (0.005, 3.0, TINY.name)
    assert dataclasses.replace(changed, size=EBT.size, arm=EBT.arm) == EBT
