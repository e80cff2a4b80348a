"""A ceiling decides nothing if its line misses the end, is passed, or has a rival that is not ruled out."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from compare.stats.intervals import Array
from compare.store.evidence import Run
from tests.compare.analysis.ceiling.test_ceiling import finding, section, with_levels
from tests.compare.planted import ceiling as planted


def runs(reward_T: Array, entropy_T: Array, seeds: int = 3, size: float = 0.005) -> tuple[Run, ...]:
    """A course with a little noise."""
    rng = np.random.default_rng(5)
    noise = partial(planted.noise, rng, size)
    return planted.runs("rl_grpo", lambda _: planted.history(entropy_T, reward_T + noise()), seeds)


def doubt(reward_T: Array, entropy_T: Array, **changes: Any) -> str:
    return section(runs(reward_T, entropy_T, **changes)).arms[0].doubt


LONG = planted.falling(0.05, start=1.2)
"""Entropy that falls nearly all the way."""


def test_a_law_that_holds_to_the_end_is_not_doubted() -> None:
    every = with_levels(runs(planted.lawful(LONG, a=0.2, b=0.9), LONG))
    assert section(every).arms[0].doubt == ""
    judged = finding(every, "ebt_s1", "rl_grpo", "above_ceiling")
    assert (judged.withheld, judged.verdict) == ("", "ahead")


def test_a_line_that_misses_the_end_withholds_the_verdict() -> None:
    """Reward stops half-way, while entropy goes on falling."""
    reward = np.minimum(planted.lawful(LONG, a=0.2, b=0.9), 0.5)
    every = with_levels(runs(reward, LONG))
    assert "told the entropies, misses the rewards at the end by -0.1" in section(every).arms[0].doubt
    judged = finding(every, "ebt_s1", "rl_grpo", "above_ceiling")
    assert judged.low > 0
    assert judged.verdict == "undecided"
    assert judged.withheld.startswith("rl_grpo: its line of the first part")
    # What is measured, not fitted, is judged all the same.
    assert finding(every, "rl_grpo", "warm_start", "entropy_held").verdict == "behind"


def test_the_miss_is_the_last_tenth_less_the_line_by_hand() -> None:
    reward = planted.lawful(LONG) + np.where(np.arange(planted.ROWS) < planted.ROWS - 20, 0.0, 0.03)
    (fit, *_) = section(runs(reward, LONG, size=1e-12)).arms[0].fits
    assert fit.missed("law") == pytest.approx(0.03)
    assert fit.missed("linear") != pytest.approx(0.03, abs=0.01)


def test_rewards_that_end_above_the_ceiling_withhold_the_verdict() -> None:
    """Reward rises as entropy does, in a straight line that misses nothing, away from its end at H = 0."""
    entropy = planted.falling(0.05, start=1.2)[::-1]
    reward = planted.lawful(entropy, a=-0.2, b=0.1)
    every = with_levels(runs(reward, entropy))
    assert section(every).arms[0].doubt.startswith("its rewards end above its fitted ceiling by 0.4")
    assert finding(every, "ebt_s1", "rl_grpo", "above_ceiling").verdict == "undecided"


def test_a_rival_that_the_end_does_not_rule_out_withholds_the_verdict() -> None:
    """Entropy hardly falls: whether reward goes with exp(H) or H cannot be seen, and the ceilings differ."""
    entropy = planted.falling(0.8)
    said = doubt(planted.lawful(entropy), entropy, seeds=5, size=0.01)
    assert said.startswith("a line in H is not ruled out, and its ceiling is 0.79")
    # Where H goes on to nothing, the end rules it out.
    assert doubt(planted.lawful(LONG, a=0.2, b=0.9), LONG, seeds=5) == ""


def test_a_single_run_is_not_tested() -> None:
    """It decides nothing anyway."""
    (only,) = section(runs(np.minimum(planted.lawful(LONG), 0.6), LONG)[:1]).arms
    assert "misses" not in only.doubt
