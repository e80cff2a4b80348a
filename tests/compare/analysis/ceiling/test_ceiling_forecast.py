"""Forecasts are frozen, know nothing of what comes after, and are the formulas that they say."""

from dataclasses import replace

import numpy as np
import pytest

from compare.analysis.ceiling.forecast import METHODS, TOLD, errors, foretold_entropy
from compare.stats.entropy_law import fit_law
from compare.stats.rl_history import Trace, Unfit, rl_trace
from tests.compare.analysis.ceiling.test_ceiling import section
from tests.compare.planted import ceiling as planted

COMPUTE = 2e9 * np.arange(1.0, 101)


def trace(entropy: np.ndarray, reward: np.ndarray) -> Trace:
    return replace(planted.trace(entropy, reward), pass_at_k_T=np.array([0.6] + [np.nan] * (len(reward) - 1)))


def forecast(method: str, reward: np.ndarray, entropy: np.ndarray | None = None) -> float:
    """The largest error when 15 of 100 rows are seen."""
    seen, after = trace(planted.falling(0.5, rows=100) if entropy is None else entropy, reward).split(15)
    return float(errors(method, seen, after).max())


def test_what_comes_after_is_not_read() -> None:
    rng = np.random.default_rng(0)
    entropy = planted.falling(0.3, rows=100)
    seen, after = trace(entropy, planted.lawful(entropy) + planted.noise(rng, 0.01, 100)).split(36)
    other = replace(after, entropy_T=after.entropy_T[::-1] + 0.1)
    for method in METHODS:
        assert errors(method, seen, other) == pytest.approx(errors(method, seen, after))
    for method in TOLD:
        assert errors(method, seen, other).max() > errors(method, seen, after).max() + 0.05


def test_each_curve_is_foretold_by_its_own_formula() -> None:
    rise = 1 - 0.8 * np.exp(-COMPUTE / 1e11)
    assert forecast("exponential", rise) == pytest.approx(0)
    assert forecast("power_law", rise) > 0.05
    slow = 1 - 0.8 * (COMPUTE / 1e9) ** -0.3
    assert forecast("power_law", slow) == pytest.approx(0)
    assert forecast("exponential", slow) > 0.05
    assert forecast("pass_at_k", np.full(100, 0.52)) == pytest.approx(0.08)
    assert forecast("carry_last", np.where(np.arange(100) < 15, 0.3, 0.5)) == pytest.approx(0.2)


@pytest.mark.parametrize("form", ["law", "linear", "quadratic"])
def test_a_law_foretells_the_entropy_by_an_exponential_and_then_reward(form: str) -> None:
    entropy = 0.7 * np.exp(-COMPUTE / 8e10)
    seen, after = trace(entropy, np.full(100, 0.5)).split(15)
    assert foretold_entropy(seen, after.compute_T) == pytest.approx(after.entropy_T)
    feature = {"law": np.exp(entropy), "linear": entropy, "quadratic": entropy**2}[form]
    assert forecast(form, 0.9 - 0.3 * feature, entropy) == pytest.approx(0)


def test_a_forecast_lies_where_rewards_do() -> None:
    """The line goes on to 2 by the end; what is told the entropies says so, a forecast stops at 1."""
    entropy = planted.falling(0.0, start=2.0, rows=100)
    reward = np.minimum(0.1 + 0.02 * np.arange(100.0), 1.0)
    assert forecast("linear", reward, entropy) <= 0.9
    assert forecast("told_linear", reward, entropy) > 0.9


def test_pass_at_k_is_that_of_the_largest_k_at_the_first_probe() -> None:
    columns = planted.history(planted.falling(0.5), planted.falling(0.9))
    found = rl_trace(columns)
    assert found.pass_at_k_T[0] == planted.PASS_AT["pass_at_16"]
    assert np.isnan(found.pass_at_k_T[1:]).all()
    bare = rl_trace({name: x for name, x in columns.items() if not name.startswith("pass_at")})
    seen, after = bare.split(50)
    with pytest.raises(Unfit, match="not probed"):
        errors("pass_at_k", seen, after)
    # Where no record has it, nothing is missing.
    (arm,) = section(
        planted.runs("rl_grpo", lambda _: {n: x for n, x in columns.items() if "pass" not in n})
    ).arms
    assert (arm.error("pass_at_k"), arm.reasons) == (None, ())
    assert arm.error("carry_last") is not None


def test_forecasts_are_frozen_at_three_shares() -> None:
    entropy = planted.falling(0.3)
    reward = planted.lawful(entropy)
    (arm,) = section(planted.runs("rl_grpo", lambda _: planted.history(entropy, reward))).arms
    for share, rows in ((0.05, 10), (0.15, 30), (None, 72)):
        seen, after = rl_trace(planted.history(entropy, reward)).split(rows)
        error = arm.error("carry_last", share)
        assert error is not None
        assert error.value == pytest.approx(errors("carry_last", seen, after).mean())


def test_a_law_is_judged_on_recipes_that_it_was_not_fitted_on() -> None:
    """Two arms of one law, and one whose rewards lie .1 higher: seeds by seeds, never one arm on itself."""
    courses = {"rl_grpo": (0.2, 0.0), "rl_kl_cov": (0.6, 0.0), "rl_gppo": (0.4, 0.1), "rl_coin": (0.3, 0.4)}
    every = ()
    for arm, (left, lift) in courses.items():
        entropy = planted.falling(left)
        columns = planted.history(entropy, planted.lawful(entropy) + lift)
        made = planted.runs(arm, lambda _, c=columns: c)
        if arm == "rl_coin":
            config = {"arm": {"reward": "coin"}}
            made = tuple(replace(run, record=replace(run.record, config=config)) for run in made)
        every += made
    study = section(every)
    # On kl_cov 0 and on gppo .1; a coin's rewards are not looked at.
    arm = study.arm("rl_grpo")
    assert arm is not None
    told = study.elsewhere(arm, lambda fit, other: other.error_by(fit.whole))
    assert told is not None
    assert (told.value, told.n) == (pytest.approx(0.05), 3)
    lifted = study.elsewhere(arm, lambda fit, other: other.error_by(fit.whole), "rl_gppo")
    assert lifted is not None
    assert lifted.value == pytest.approx(0.1)
    spread = study.elsewhere(arm, lambda _, other: other.error_by(None))
    assert spread is not None
    assert spread.value > 0.02
    law = fit_law(rl_trace(planted.history(planted.falling(0.2), planted.lawful(planted.falling(0.2)))))
    assert (law.a, law.b) == pytest.approx((planted.A, planted.B))
