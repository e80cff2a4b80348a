"""What is said of ceilings that cannot be, that a run has passed, or that are none of answers."""

from dataclasses import replace

from compare.stats.entropy_law import possible, surely_impossible
from compare.stats.intervals import Estimate
from tests.compare.analysis.ceiling.test_ceiling import finding, with_levels
from tests.compare.planted import ceiling as planted


def test_estimates_outside_are_impossible_only_by_their_value() -> None:
    inside = Estimate(value=0.9, low=0.5, high=1.3, p=1.0, n=3, single_run=False)
    assert possible(inside)
    assert not possible(replace(inside, value=1.01))
    assert not possible(replace(inside, value=-0.01))


def test_a_ceiling_is_surely_impossible_only_by_its_whole_interval() -> None:
    above = Estimate(value=1.2, low=1.01, high=1.4, p=1.0, n=3, single_run=False)
    assert surely_impossible(above)
    assert not surely_impossible(replace(above, low=0.99))
    assert surely_impossible(replace(above, value=-0.2, low=-0.4, high=-0.01))
    assert not surely_impossible(replace(above, value=-0.2, low=-0.4, high=0.01))


def test_a_run_above_its_own_ceiling_is_named() -> None:
    """The law holds on what is seen of it, .3 less than what comes after."""
    entropy = planted.falling(0.5)
    rewards = planted.lawful(entropy)
    late = rewards.copy()
    late[int(0.6 * len(late)) :] = 0.95
    runs = planted.runs("rl_grpo", lambda seed: planted.history(entropy, rewards if seed else late))
    runs += planted.runs("rl_kl_cov", lambda seed: planted.history(entropy, rewards))
    judged = finding(runs, "rl_kl_cov", "rl_grpo", "ceiling")
    said = [caveat for caveat in judged.caveats if "above its own fitted ceiling" in caveat]
    assert [caveat.split(":")[0] for caveat in said] == ["rl_grpo, seed 0"]
    assert "ended at 0.95" in said[0]


def test_a_coins_ceiling_is_said_to_be_none_of_answers() -> None:
    entropy = planted.falling(0.5)
    honest = planted.runs("rl_grpo", lambda seed: planted.history(entropy, planted.lawful(entropy)))
    coins = tuple(
        replace(run, record=replace(run.record, config={"arm": {"reward": "coin"}}))
        for run in planted.runs(
            "rl_random_reward", lambda seed: planted.history(entropy, planted.lawful(entropy))
        )
    )
    runs = honest + coins
    coin = "rl_random_reward: its reward is a coin, which says nothing of answers"
    for quantity in ("ceiling", "final_reward"):
        assert coin in finding(runs, "rl_random_reward", "rl_grpo", quantity).caveats
    answered = with_levels(runs)
    assert coin in finding(answered, "ebt_s1", "rl_random_reward", "above_ceiling").caveats
    own = finding(answered, "ebt_s1", "rl_grpo", "above_ceiling")
    assert coin not in own.caveats
