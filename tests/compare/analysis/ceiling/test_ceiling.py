"""The entropy law and its forecasts find what was planted, and say why where nothing can be found."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import linregress

from compare.analysis.ceiling.analysis import ANALYSIS
from compare.analysis.ceiling.forecast import FROZEN, LABELS, METHODS, errors
from compare.analysis.ceiling.measure import SENSITIVITY, ArmCeiling, CeilingStudy, measure
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Finding, judge
from compare.analysis.paired import level
from compare.calibrate import builders
from compare.stats.entropy_law import FORMS, bootstrap_ceilings, ceiling_of_one_run, fit_law, possible
from compare.stats.intervals import over_seeds
from compare.stats.rl_history import Unfit, rl_trace, stretches
from compare.store.evidence import Run
from tests.compare.planted import ceiling as planted


def cohort(*runs: Run) -> Cohort:
    arms = tuple(dict.fromkeys(run.planned.arm for run in runs))
    manifest = planted.manifest(tuple(run.planned for run in runs))
    return Cohort(study="addition", arms=arms, runs=runs, manifest=manifest, draws=50)


def section(*groups: tuple[Run, ...]) -> CeilingStudy:
    found = measure(cohort(*(run for group in groups for run in group)))
    assert found is not None
    return found


def finding(runs: tuple[Run, ...], arm: str, baseline: str, quantity: str) -> Finding:
    of = cohort(*runs)
    (judged,) = judge([ANALYSIS.compare(of, measure(of), of.contrast(arm, baseline, quantity))])
    return judged


def explored(runs: tuple[Run, ...]) -> list[Finding]:
    """Everything that is explored, judged one by one."""
    of = cohort(*runs)
    measured = measure(of)
    return [judge([ANALYSIS.compare(of, measured, c)])[0] for c in ANALYSIS.explore(of, measured)]


def numbers(arm: ArmCeiling) -> list[float]:
    """Every number that a report would print of an arm."""
    means = [arm.ceiling, arm.end_reward, *map(arm.ceiling_at, SENSITIVITY)]
    means += [arm.mean(lambda fit: fit.law.a if fit.law else None)]
    means += [arm.mean(lambda fit: fit.start_entropy), arm.mean(lambda fit: fit.end_entropy)]
    means += [arm.error(m, part) for m in LABELS for part in (None, *FROZEN)]
    return [x for e in means if e is not None for x in (e.value, e.low, e.high, e.p)]


# The law by hand, and recovered.


def test_the_law_by_hand() -> None:
    """Times -2 to 2: their products with x sum to 3, with R to -.32; the means are 2 and .404."""
    x = np.array([1.0, 2.0, 3.0, 1.0, 3.0])
    reward = np.array([0.5, 0.42, 0.3, 0.5, 0.3])
    law = fit_law(planted.trace(np.log(x), reward))
    assert (law.a, law.b) == pytest.approx((0.32 / 3, 0.404 + 2 * 0.32 / 3))
    assert law.ceiling == pytest.approx(law.b - law.a)
    assert law(np.log(np.array([2.0])))[0] == pytest.approx(0.404)
    # Of the line in H the ceiling is b, where H = 0.
    straight = fit_law(planted.trace(x, reward), "linear")
    assert (straight.a, straight.ceiling) == pytest.approx((0.32 / 3, 0.404 + 2 * 0.32 / 3))


@pytest.mark.parametrize("form", FORMS)
def test_the_line_is_two_stage_least_squares_with_time(form: str) -> None:
    rng = np.random.default_rng(11)
    entropy = planted.falling(0.3, rows=60) * (1 + 0.1 * rng.standard_normal(60))
    reward = planted.lawful(entropy) + planted.noise(rng, 0.05, 60)
    feature, stages = FORMS[form](entropy), np.vander(np.arange(60.0), 2)
    first = stages @ np.linalg.lstsq(stages, feature, rcond=None)[0]
    slope, intercept = np.linalg.lstsq(np.stack([first, np.ones(60)], 1), reward, rcond=None)[0]
    law = fit_law(planted.trace(entropy, reward), form)
    assert (-law.a, law.b) == pytest.approx((slope, intercept))


@pytest.mark.parametrize(("together", "size"), [(0.0, 0.03), (0.7, 0.1)])
def test_noise_in_the_measured_entropy_does_not_bend_the_line(together: float, size: float) -> None:
    """Neither alone nor with a reward that is lower where the entropy is measured higher."""
    rng = np.random.default_rng(12)
    entropy, fitted, bent = planted.falling(0.4, rows=72), [], []
    for _ in range(400):
        shock, own = rng.standard_normal((2, 72))
        reward = planted.lawful(entropy) + size * (-together * shock + math.sqrt(1 - together**2) * own)
        measured = planted.trace(entropy * (1 + 0.1 * shock), reward)
        fitted.append(fit_law(measured).ceiling)
        line = linregress(np.exp(measured.entropy_T), reward)
        bent.append(line.slope + line.intercept)
    assert np.median(fitted) == pytest.approx(planted.B - planted.A, abs=0.01)
    assert abs(np.mean(bent) - (planted.B - planted.A)) > 0.03


def test_a_planted_law_is_recovered_exactly_without_noise() -> None:
    entropy = planted.falling(0.1)
    seen, after = planted.trace(entropy, planted.lawful(entropy)).split(72)
    law = fit_law(seen)
    assert (law.a, law.b) == pytest.approx((planted.A, planted.B))
    assert errors("told_law", seen, after).mean() == pytest.approx(0, abs=1e-12)
    for method in ("told_linear", "told_quadratic"):
        assert errors(method, seen, after).mean() > 0.005


def test_the_bootstrap_is_the_refit() -> None:
    """The ceiling's weights, against refits of the line on the very same resampled rewards."""
    rng = np.random.default_rng(0)
    entropy = planted.falling(0.5, rows=40)
    seen = planted.trace(entropy, planted.lawful(entropy) + planted.noise(rng, 0.02, 40))
    law = fit_law(seen)
    drawn = bootstrap_ceilings(law, seen, 7, np.random.default_rng(5))
    starts = np.random.default_rng(5).integers(40, size=(7, 10))
    residuals = (seen.reward_T - law(entropy)) * math.sqrt(40 / 38)
    for b in range(7):
        rows = np.concatenate([(start + np.arange(4)) % 40 for start in starts[b]])
        refit = fit_law(planted.trace(entropy, law(entropy) + residuals[rows]))
        assert drawn[b] == pytest.approx(refit.ceiling)


@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_over_seeds_the_interval_covers_the_planted_ceiling_19_times_in_20(memory: float) -> None:
    rng = np.random.default_rng(17)
    entropy, studies, covered = planted.falling(0.4, rows=72), 600, 0
    for _ in range(studies):
        ceilings = []
        for _ in range(3):
            # Seeds differ in truth as well: the interval is of their mean.
            b = planted.B + 0.03 * rng.standard_normal()
            rewards = planted.lawful(entropy, b=b) + planted.noise(rng, 0.04, 72, memory)
            ceilings.append(fit_law(planted.trace(entropy, rewards)).ceiling)
        e = over_seeds(np.array(ceilings))
        covered += e.low <= planted.B - planted.A <= e.high
    assert 0.93 <= covered / studies <= 0.97


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.92), (0.3, 0.86)])
def test_within_a_run_the_block_bootstrap_covers_nearly_as_often(memory: float, least: float) -> None:
    rng = np.random.default_rng(23)
    entropy, runs, covered = planted.falling(0.4, rows=72), 600, 0
    for _ in range(runs):
        rewards = planted.lawful(entropy) + planted.noise(rng, 0.04, 72, memory)
        seen = planted.trace(entropy, rewards)
        e = ceiling_of_one_run(fit_law(seen), seen, 200, rng)
        covered += e.low <= planted.B - planted.A <= e.high
    assert least <= covered / runs <= 0.98


# Forecasts.


def test_a_law_that_does_not_hold_is_reported_as_worse() -> None:
    """Reward rises while entropy falls, then both go back."""
    rng = np.random.default_rng(1)
    entropy = np.concatenate([np.linspace(0.6, 0.3, 72), np.linspace(0.3, 0.9, 128)])
    reward = np.concatenate([np.linspace(0.3, 0.5, 72), np.full(128, 0.42)])
    runs = planted.runs("rl_grpo", lambda seed: planted.history(entropy, reward + planted.noise(rng, 0.02)))
    judged = finding(runs, "rl_grpo", "carry_last", "forecast_error")
    assert judged.verdict == "behind"
    assert judged.estimate is not None
    assert judged.estimate > 0.05
    assert "the entropy law's forecast of rl_grpo is behind the carry last forecast" in judged.claim


def test_where_it_holds_the_law_is_ahead_of_carrying_on() -> None:
    rng = np.random.default_rng(2)
    entropy = planted.falling(0.05)
    runs = planted.runs(
        "rl_grpo",
        lambda seed: planted.history(entropy, planted.lawful(entropy) + planted.noise(rng, 0.01)),
    )
    assert finding(runs, "rl_grpo", "carry_last", "forecast_error").verdict == "ahead"


def test_a_planted_sigmoid_in_compute_is_foretold_by_the_sigmoid() -> None:
    compute = 2e9 * np.arange(1.0, 201)
    reward = 0.3 + 0.5 / (1 + (1e11 / compute) ** 2)
    seen, after = planted.trace(planted.falling(0.9), reward).split(100)
    mine = {method: errors(method, seen, after).mean() for method in METHODS if method != "pass_at_k"}
    assert mine["sigmoid"] < 0.02
    assert min(mine, key=lambda method: mine[method]) == "sigmoid"


def test_errors_are_of_stretches_and_the_end_is_the_last() -> None:
    entropy = planted.falling(0.5, rows=120)
    reward = np.concatenate([np.linspace(0.3, 0.4, 20), np.repeat(0.4 + 0.01 * np.arange(10), 10)])
    seen, after = planted.trace(entropy, np.concatenate([reward])).split(20)
    carried = float(seen.reward_T[-2:].mean())
    expected = [abs(0.4 + 0.01 * k - carried) for k in range(10)]
    assert errors("carry_last", seen, after) == pytest.approx(expected)
    assert stretches(np.arange(5.0), 2) == pytest.approx([1.0, 3.5])


def test_the_null_model_fits_well_and_has_an_impossible_ceiling() -> None:
    """Exact policy gradient on one state with 50 answers, one of them right: nothing but a softmax."""
    logits, right = np.zeros(50), np.eye(50)[0]
    rows = []
    for _ in range(94):
        p = np.exp(logits - logits.max())
        p /= p.sum()
        rows.append((float(-(p * np.log(p)).sum()), float(p @ right)))
        logits = logits + p * (right - p @ right)
    entropy, reward = np.array(rows).T
    assert reward[-1] > 0.95
    whole = planted.trace(entropy, reward)
    seen, after = whole.split(round(planted.SHARE * len(whole)))
    assert np.corrcoef(np.exp(seen.entropy_T), seen.reward_T)[0, 1] ** 2 > 0.9
    ceiling = ceiling_of_one_run(fit_law(seen), seen, 200, np.random.default_rng(0))
    assert ceiling.value > 1.5
    assert not possible(ceiling)
    # Its forecast is off by more than a third of all the reward there is.
    assert errors("law", seen, after).mean() > 0.3


# Ceilings outside [0, 1], and comparisons.


def test_a_ceiling_above_one_is_called_impossible() -> None:
    rng = np.random.default_rng(4)
    entropy = planted.falling(0.7)
    runs = planted.runs(
        "rl_grpo",
        lambda seed: planted.history(entropy, planted.lawful(entropy, 0.9, 2.2) + planted.noise(rng, 0.01)),
    )
    found = section(runs)
    ceiling = found.arms[0].ceiling
    assert ceiling is not None
    assert ceiling.value == pytest.approx(1.3, abs=0.1)
    assert not possible(ceiling)
    judged = finding(with_levels(runs), "ebt_s1", "rl_grpo", "above_ceiling")
    assert any("lies outside [0, 1]" in caveat for caveat in judged.caveats)


def with_levels(runs: tuple[Run, ...], share: float = 0.9) -> tuple[Run, ...]:
    rng = np.random.default_rng(8)
    extra = []
    for seed in range(len(runs)):
        cell = planted.planned("ebt_s1", seed)
        extra.append(builders.run(cell, builders.exact(rng.random(512) < share)))
    return runs + tuple(extra)


def test_above_the_ceiling_counts_seeds_and_problems() -> None:
    entropy = planted.falling(0.1)
    runs = with_levels(
        planted.runs("rl_grpo", lambda seed: planted.history(entropy, planted.lawful(entropy)))
    )
    judged = finding(runs, "ebt_s1", "rl_grpo", "above_ceiling")
    exact = [e.value for run in runs if (e := run.find("exact")) is not None]
    assert judged.estimate == pytest.approx(np.mean(exact) - 0.7)
    assert judged.verdict == "ahead"
    assert "ebt_s1 is ahead of the entropy ceiling of rl_grpo" in judged.claim


def test_a_level_is_a_share_of_these_seeds_and_problems() -> None:
    """One of .99: an interval that knows no bounds would end above 1."""
    entropy = planted.falling(0.1)
    trained = planted.runs("rl_grpo", lambda seed: planted.history(entropy, planted.lawful(entropy)))
    runs = with_levels(trained, 0.99)
    answered = [e for run in runs if (e := run.find("exact")) is not None]
    (found,) = section(runs).levels
    assert found.arm == "ebt_s1"
    assert found.estimate == level(answered)
    assert found.estimate.high <= 1
    assert found.cells == ("ebt_s1-0", "ebt_s1-1", "ebt_s1-2")


def test_the_ceiling_is_that_of_the_largest_budget_trained_by_reward() -> None:
    entropy = planted.falling(0.1)
    runs = planted.runs("rl_grpo", lambda seed: planted.history(entropy, planted.lawful(entropy)))

    def at(budget: float, run: Run) -> Run:
        cell = f"{run.planned.cell}-{budget:g}"
        return replace(run, planned=replace(run.planned, cell=cell, budget=budget))

    smaller = [at(1e11, run) for run in runs]
    larger = [at(1e13, run) for run in with_levels(runs)[len(runs) :]]
    every = (*with_levels(runs), *smaller, *larger)
    found = section(every)
    assert found.budget == planted.BUDGET
    assert [one.cells for one in (*found.arms, *found.levels)] == [
        tuple(f"{arm}-{seed}" for seed in range(3)) for arm in ("rl_grpo", "ebt_s1")
    ]
    judged = finding(every, "ebt_s1", "rl_grpo", "above_ceiling")
    assert judged.records == tuple(f"{arm}-{seed}" for arm in ("ebt_s1", "rl_grpo") for seed in range(3))
    assert judged.caveats == ("at budget 5e+11; the largest, 1e+13, has not all of it",)


def test_comparisons_are_paired_by_seed() -> None:
    """Seeds differ by .2 in b, the arms by .1 in every seed: the difference has no spread."""
    entropy = planted.falling(0.5)

    def lawful(seed: int, b: float) -> dict[str, list[float | None]]:
        return planted.history(entropy, planted.lawful(entropy, b=b + 0.1 * seed))

    runs = planted.runs("rl_grpo", lambda seed: lawful(seed, 0.9))
    runs += planted.runs("rl_kl_cov", lambda seed: lawful(seed, 1.0))
    for quantity in ("ceiling", "final_reward"):
        judged = finding(runs, "rl_kl_cov", "rl_grpo", quantity)
        assert (judged.estimate, judged.low, judged.high) == pytest.approx((0.1, 0.1, 0.1))
        assert judged.verdict == "ahead"


def test_the_share_of_entropy_left_is_a_ratio_with_its_null_at_one() -> None:
    entropies = {"rl_grpo": planted.falling(0.25, rows=1000), "rl_kl_cov": planted.falling(0.5, rows=1000)}
    runs: tuple[Run, ...] = ()
    for arm, entropy in entropies.items():
        runs += planted.runs(
            arm, lambda seed, e=entropy: planted.history(e * (1 + 0.01 * seed), planted.lawful(e))
        )
    fell = finding(runs, "rl_grpo", "warm_start", "entropy_held")
    # Start: mean of the first 2%; end: mean of the last tenth.
    assert fell.estimate == pytest.approx((0.25 + 0.75 * 0.05) / (1 - 0.75 * 0.01), rel=2e-3)
    assert (fell.verdict, fell.unit) == ("behind", "×")
    assert "behind where its RL began" in fell.claim
    kept = finding(runs, "rl_kl_cov", "rl_grpo", "entropy_held")
    assert kept.estimate == pytest.approx((0.525 / 0.995) / (0.2875 / 0.9925), rel=2e-3)
    assert kept.verdict == "ahead"


def test_an_entropy_of_zero_is_a_large_fall_and_no_error() -> None:
    entropy = np.concatenate([np.linspace(0.6, 0.3, 100), np.zeros(100)])
    runs = planted.runs("rl_grpo", lambda seed: planted.history(entropy, planted.lawful(entropy)))
    judged = finding(runs, "rl_grpo", "warm_start", "entropy_held")
    assert judged.estimate is not None
    assert 0 < judged.estimate < 0.01
    assert math.isfinite(judged.low)


def test_any_arm_that_is_trained_by_reward_is_taken() -> None:
    entropy = planted.falling(0.5)
    columns = planted.history(entropy, planted.lawful(entropy))
    assert [arm.arm for arm in section(planted.runs("my_own_arm", lambda seed: columns)).arms] == [
        "my_own_arm"
    ]


def test_one_seed_has_its_own_interval_and_decides_nothing() -> None:
    rng = np.random.default_rng(6)
    entropy = planted.falling(0.3)
    runs = with_levels(
        planted.runs(
            "rl_grpo",
            lambda seed: planted.history(entropy, planted.lawful(entropy) + planted.noise(rng, 0.02)),
            1,
        )
    )
    found = section(runs)
    (arm,) = found.arms
    assert arm.ceiling is not None
    assert arm.ceiling.low < arm.ceiling.value < arm.ceiling.high
    for judged in explored(runs):
        assert judged.single_run
        assert judged.verdict == "undecided"
    above = finding(runs, "ebt_s1", "rl_grpo", "above_ceiling")
    assert above.high - above.low > arm.ceiling.high - arm.ceiling.low


# What cannot be fitted.

CONSTANT = np.full(planted.ROWS, 0.4)
FALL = planted.falling(0.5)
DEGENERATE = {
    "entropy is constant": planted.history(CONSTANT, planted.lawful(FALL)),
    "reward is constant": planted.history(FALL, CONSTANT),
    "2 rows of reinforcement learning, 1 of them": planted.history(FALL[:2], FALL[:2]),
    "1 rows of reinforcement learning, 0 of them": planted.history(FALL[:1], FALL[:1]),
    "its history has no column entropy": {
        k: v for k, v in planted.history(FALL, FALL).items() if k != "entropy"
    },
    "no row of reinforcement learning": planted.history(FALL, FALL)
    | {"entropy": [None] * (planted.WARM + planted.ROWS)},
    "its counted FLOPs do not rise": planted.history(FALL, FALL)
    | {"flops": [1e9] * (planted.WARM + planted.ROWS)},
}


@pytest.mark.parametrize("reason", DEGENERATE)
def test_what_cannot_be_fitted_has_a_named_reason_and_no_nan(reason: str) -> None:
    runs = with_levels(planted.runs("rl_grpo", lambda seed: DEGENERATE[reason]))
    with np.errstate(all="raise"):
        found = section(runs)
        judged = explored(runs)
    (arm,) = found.arms
    assert {seed for seed, said in arm.reasons if said.startswith(reason)} == {0, 1, 2}
    assert arm.ceiling is None
    assert not any(math.isnan(x) for x in numbers(arm))
    for f in judged:
        assert not any(math.isnan(x) for x in (f.low, f.high, f.p, f.p_holm, f.estimate or 0.0))
        if f.quantity == "above_ceiling":
            assert f.estimate is None
            assert reason in f.claim


def test_a_run_that_cannot_be_fitted_is_named_and_the_others_count() -> None:
    entropy = planted.falling(0.5)
    good = planted.runs("rl_grpo", lambda seed: planted.history(entropy, planted.lawful(entropy)), 2)
    bad = planted.run("rl_grpo", 2, DEGENERATE["reward is constant"])
    runs = with_levels((*good, bad))
    judged = finding(runs, "ebt_s1", "rl_grpo", "above_ceiling")
    assert judged.n == 2
    assert judged.caveats == ("rl_grpo, seed 2: reward is constant where the law is fitted",)


def test_without_reward_there_is_no_section_and_a_contrast_says_so() -> None:
    runs = with_levels(())
    assert measure(cohort(*runs)) is None
    assert "no finished run was trained by reward" in finding(runs, "rl_kl_cov", "rl_grpo", "ceiling").claim


def test_a_trace_is_the_rows_with_reward_and_its_compute_starts_at_zero() -> None:
    columns: dict[str, list[float | None]] = {
        "step": [0, 1, 2, 3],
        "flops": [10, 20, 25, 32],
        "reward": [None, None, 0.5, 0.6],
        "entropy": [None, None, 0.7, 0.6],
    }
    found = rl_trace(columns)
    assert found.compute_T.tolist() == [5, 12]
    assert found.reward_T.tolist() == [0.5, 0.6]
    without = rl_trace({name: values[2:] for name, values in columns.items()})
    assert without.compute_T.tolist() == [7, 14]
    with pytest.raises(Unfit, match="no row"):
        rl_trace({name: values[:2] for name, values in columns.items()})
