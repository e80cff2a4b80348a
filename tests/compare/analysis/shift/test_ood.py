"""Decay slopes, retained shares and thinking's correlation with severity, against numbers known by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft, Finding, judge
from compare.analysis.shift.analysis import ANALYSIS
from compare.analysis.shift.measure import Shift, Track, measure, slope_weights, track, worsening
from compare.analysis.shift.quantities import ASKED, INCREASE
from compare.analysis.shift.thinking_gain import (
    correlate,
    gain,
    gained,
    pearson,
    places,
    rank,
    uncorrelated,
)
from compare.calibrate import builders
from compare.stats.intervals import over_seeds
from compare.store.evidence import Run
from tests.compare.planted import shift as planted


def cohort(*runs: Run) -> Cohort:
    arms = tuple(dict.fromkeys(run.planned.arm for run in runs))
    manifest = planted.manifest(tuple(run.planned for run in runs))
    return Cohort(study="letters", arms=arms, runs=runs, manifest=manifest)


def section(*runs: Run) -> Shift:
    found = measure(cohort(*runs))
    assert found is not None
    return found


def draft(runs: list[Run], arm: str, baseline: str, quantity: str, axis: str = "") -> Draft:
    of = cohort(*runs)
    return ANALYSIS.compare(of, measure(of), of.contrast(arm, baseline, quantity, axis=axis))


def finding(runs: list[Run], arm: str, baseline: str, quantity: str, axis: str = "") -> Finding:
    (judged,) = judge([draft(runs, arm, baseline, quantity, axis)])
    return judged


def tracks(runs: list[Run], metric: str) -> list[Track]:
    along = (track(run, metric, "element", (0, 1, 2)) for run in runs)
    return [whole for whole in along if whole is not None]


# Slopes.


@pytest.mark.parametrize("severities", [(0, 1), (0, 1, 2, 3), (0, 2, 3)])
def test_the_weights_are_the_least_squares_slope(severities: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=len(severities))
    assert slope_weights(severities) @ values == pytest.approx(np.polyfit(severities, values, 1)[0])


def test_a_slope_by_hand() -> None:
    """Errors 0, .1, .4: centred severities -1, 0, 1, so (.4 - 0) / 2 = .2 answers lost a severity."""
    runs = [planted.exact_run("transformer", 0, {"element": (1.0, 0.9, 0.6)})]
    (only,) = tracks(runs, "exact")
    assert slope_weights((0, 1, 2)) @ only.worse_K == pytest.approx(0.2)
    assert only.retained == pytest.approx(0.75)


def test_slopes_of_a_loss_are_a_mean_over_seeds() -> None:
    levels = [(0.1, 0.4, 0.8), (0.2, 0.3, 0.5), (0.0, 0.9, 1.0)]
    runs = [planted.loss_run("transformer", seed, {"element": each}) for seed, each in enumerate(levels)]
    fits = np.array([np.polyfit(range(3), each, 1)[0] for each in levels])
    e, reference = worsening(slope_weights((0, 1, 2)), tracks(runs, "loss")), over_seeds(fits)
    assert vars(e) == pytest.approx(vars(reference))


def test_a_difference_of_slopes_is_paired_by_seed_and_by_problem() -> None:
    """The seeds' own levels differ widely, the arms by .1 at every severity: no interval to speak of."""
    levels = [(0.9, 0.5, 0.4), (0.7, 0.6, 0.2), (0.5, 0.5, 0.5)]
    mine, theirs = (
        tracks(
            [
                planted.exact_run("transformer", s, {"element": np.subtract(each, less).tolist()})
                for s, each in enumerate(levels)
            ],
            "exact",
        )
        for less in (np.array([0.0, 0.1, 0.2]), np.zeros(3))
    )
    e = worsening(slope_weights((0, 1, 2)), mine, theirs)
    assert e.value == pytest.approx(0.1)
    assert e.high - e.low < 0.1
    alone = worsening(slope_weights((0, 1, 2)), mine)
    assert alone.value == pytest.approx(
        np.mean([-np.polyfit(range(3), np.subtract(each, (0, 0.1, 0.2)), 1)[0] for each in levels])
    )
    assert alone.high - alone.low > 0.3


def test_who_decays_slower_is_ahead() -> None:
    runs = [planted.exact_run(arm, s, planted.EXACT[arm]) for arm in planted.EXACT for s in range(3)]
    slower = finding(runs, "ebt_s1", "transformer", "decay_slope", "element")
    assert slower.estimate == pytest.approx(0.1 - 0.3)
    assert slower.verdict == "ahead"
    assert "ebt_s1 decays slower than transformer" in slower.claim
    assert "axis element" in slower.label
    # By hand: errors .1, .5, .9, 1 have the slope (3 x .9 + .4) / 10 = .31.
    faster = finding(runs, "rl_grpo", "transformer", "decay_slope")
    assert faster.axis == "element"
    assert faster.estimate == pytest.approx(0.31 - 0.3)
    kept = finding(runs, "ebt_s1", "transformer", "retained_share")
    assert kept.estimate == pytest.approx((0.7 - 0.3) / 0.9)
    assert kept.verdict == "ahead"
    (arm,) = (arm for arm in section(*runs).arms if arm.arm == "ebt_s1")
    decay = arm.decay("exact", "element")
    assert decay is not None
    assert [level.value for level in decay.levels] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert decay.retained is not None
    assert decay.retained.value == pytest.approx(0.7 / 0.9)


def test_a_decay_at_unequal_cost_says_so_and_is_compared_at_matched_cost() -> None:
    """The arm answers at 2 FLOPs and at 8, its rival at 8 alone: the dearer way decays as the rival does."""
    levels = {
        ("ebt_s1", "think_8"): (8.0, (0.9, 0.8, 0.7)),
        ("ebt_s1", "think_2"): (2.0, (0.9, 0.7, 0.5)),
        ("transformer", "greedy"): (8.0, (0.9, 0.8, 0.7)),
    }
    runs = []
    for arm in ("transformer", "ebt_s1"):
        for seed in range(3):
            evaluations = [
                builders.exact(
                    [k < round(10 * share) for k in range(10)],
                    axis="element",
                    severity=severity,
                    effort=effort,
                    flops=flops,
                )
                for (name, effort), (flops, shares) in levels.items()
                if name == arm
                for severity, share in enumerate(shares)
            ]
            runs.append(builders.run(builders.cell(arm, seed, study="letters"), *evaluations))
    of = cohort(*runs)
    contrast = of.contrast("ebt_s1", "transformer", "decay_slope", axis="element")
    plain = ANALYSIS.compare(of, measure(of), contrast)
    assert plain.estimate is not None
    assert plain.estimate.value == pytest.approx(0.1)
    assert "an answer costs 0.25 times the baseline's FLOPs" in plain.caveats
    matched = ANALYSIS.compare(of, measure(of), replace(contrast, effort="think_8", baseline_effort="greedy"))
    assert matched.estimate is not None
    assert matched.estimate.value == pytest.approx(0.0)
    assert not any("costs" in caveat for caveat in matched.caveats)
    assert (matched.arm, matched.baseline) == ("ebt_s1 (think_8)", "transformer (greedy)")


def test_the_floor_and_a_weak_start_are_said() -> None:
    runs = [
        planted.exact_run(arm, s, planted.EXACT[arm]) for arm in ("transformer", "ebt_s1") for s in (0, 1)
    ]
    floor = draft(runs, "ebt_s1", "transformer", "decay_slope", "format")
    assert any("under 0.02 exact at every shift" in caveat for caveat in floor.caveats)
    fine = draft(runs, "ebt_s1", "transformer", "decay_slope", "element")
    assert fine.caveats == ()
    weak = [planted.exact_run("looped", s, {"element": (0.15, 0.1, 0.1, 0.0)}) for s in (0, 1)]
    said = draft([*runs, *weak], "looped", "transformer", "decay_slope")
    assert "looped has 0.15 exact in distribution: there is little to lose" in said.caveats


def test_an_arm_that_answers_nothing_has_no_share_to_retain() -> None:
    runs = [planted.exact_run("transformer", s, {"element": (0.9, 0.5)}) for s in range(3)]
    none = [planted.exact_run("ebt_s1", s, {"element": (0.5 * (s > 0), 0.0)}) for s in range(3)]
    some = draft([*runs, *none], "ebt_s1", "transformer", "retained_share")
    assert some.estimate is not None
    assert some.estimate.n == 2
    assert "ebt_s1, seed 0: no right answer in distribution, so no share of it" in some.caveats
    nobody = [planted.exact_run("ebt_s1", s, {"element": (0.0, 0.0)}) for s in range(3)]
    lost = draft([*runs, *nobody], "ebt_s1", "transformer", "retained_share")
    assert lost.estimate is None
    assert len(lost.caveats) == 3


def test_the_same_arm_under_other_seeds_says_nothing() -> None:
    """A/A: true levels are those of a seed, problems are shared; at most 5% may come out decided."""
    rng = np.random.default_rng(11)
    decided = 0
    trials = 400
    for _ in range(trials):
        hard = rng.normal(0, 1.0, size=(4, 60))
        runs = [
            planted.run("transformer" if s < 3 else "ebt_s1", s % 3, _drawn(rng, hard, 0.4 * rng.normal()))
            for s in range(6)
        ]
        judged = finding(runs, "ebt_s1", "transformer", "decay_slope")
        decided += judged.verdict != "undecided"
    assert decided <= 0.05 * trials + 2 * (0.05 * 0.95 * trials) ** 0.5


def _drawn(rng: np.random.Generator, hard_KP: np.ndarray, seed: float):
    found = []
    for severity, hard_P in enumerate(hard_KP):
        logit = 1.5 - (0.8 + 0.3 * seed) * severity + seed - hard_P
        right = rng.random(len(hard_P)) < 1 / (1 + np.exp(-logit))
        found.append(builders.exact(right, axis="element", severity=severity))
    return found


def test_what_was_not_measured_is_said() -> None:
    runs = [planted.exact_run("transformer", s, {"element": (0.9, 0.5)}) for s in range(2)]
    other = [planted.exact_run("ebt_s1", s, {"element": (0.9, 0.5)}) for s in (7, 8)]
    cases = [
        ([], "ebt_s1", "transformer", "decay_slope", "", "no finished run was measured under shift"),
        (runs, "ebt_s1", "transformer", "decay_slope", "", "ebt_s1: no finished run with `exact`"),
        ([*runs, *other], "ebt_s1", "transformer", "decay_slope", "", "no seed that both"),
        (runs, "ebt_s1", "transformer", "decay_slope", "colour", "nothing was measured along axis"),
        (runs, "transformer", "severity", "thinking_shift", "", "two efforts of thinking"),
        (runs, "nobody", "severity", "thinking_shift", "", "nobody: no finished run"),
    ]
    for own, arm, baseline, quantity, axis, reason in cases:
        blank = draft(own, arm, baseline, quantity, axis)
        assert blank.estimate is None
        assert any(reason in caveat for caveat in blank.caveats)
        (judged,) = judge([blank])
        assert judged.verdict == "undecided"
        assert "could not be measured" in judged.claim


def test_without_a_shift_there_is_no_section() -> None:
    assert measure(cohort()) is None
    alone = planted.exact_run("transformer", 0, {"element": (0.9,)})
    assert measure(cohort(alone)) is None


def test_a_smaller_budget_is_left_out() -> None:
    runs = [planted.exact_run("transformer", s, {"element": (0.9, 0.5)}) for s in range(2)]
    small = planted.exact_run("ebt_s1", 0, {"element": (0.9, 0.5)})
    small = replace(small, planned=replace(small.planned, budget=1e9))
    found = section(*runs, small)
    assert [arm.arm for arm in found.largest] == ["transformer"]
    # The table of increases has it, beside its budget.
    assert [arm.arm for arm in found.arms] == ["transformer", "ebt_s1"]


def test_plan_and_execution_errors_stand_apart_by_severity() -> None:
    cells = [planted.planned("transformer", seed) for seed in range(3)]
    (arm,) = section(*(planted.run(c.arm, c.seed, planted.finished(c)) for c in cells)).arms
    assert places(arm.axes) == [
        ("element", 0),
        *(("element", s) for s in (1, 2, 3)),
        *(("format", s) for s in (1, 2)),
    ]
    third = arm.errors(("element", 3))
    assert {name: e.value for name, e in third.items() if name != "answer"} == pytest.approx(
        {"plan": 0.6, "execution": 0.3, "chain": 0.75, "edit": 0.3}
    )
    assert third["answer"].value == pytest.approx(1 - np.mean([0.0, 0.01, 0.02]))
    assert third["answer"].low < third["answer"].value < third["answer"].high
    planning = arm.planning(("element", 3))
    assert planning is not None
    assert planning.value == pytest.approx(0.3)
    bare = section(*(planted.exact_run("transformer", s, {"element": (0.9, 0.5)}) for s in range(2))).arms[0]
    assert set(bare.errors(("element", 0))) == {"answer"}
    assert bare.planning(("element", 0)) is None


# Thinking.


def thought(
    seed: int, gains: dict[tuple[str, int], float], metric: str = "exact", falling: float = 0.0
) -> Run:
    """Efforts out of order, among others that do not think; the dearest is think_4.

    Args:
        falling: exact answers, or nats, that the cheapest loses a severity.
    """
    evaluations = []
    for (axis, severity), value in gains.items():
        least = 0.5 - falling * severity
        for effort, cost, share in (
            ("think_2", 2e6, 0.55),
            ("sample", 9e9, 0.9),
            ("think_4", 4e6, least + value),
            ("oracle@8", 9e9, 1.0),
            ("start", 1e6, least),
        ):
            if metric == "exact":
                e = planted.answered(share, axis, severity, seed, flops=cost)
            else:
                e = builders.loss(2 - share, axis=axis, severity=severity, flops=cost)
            evaluations.append(replace(e, effort=effort))
    return planted.run("ebt_s1", seed, evaluations)


GAINS = {("a", 0): 0.1, ("a", 1): 0.2, ("a", 2): 0.15, ("b", 1): -0.1, ("b", 2): 0.3}


@pytest.mark.parametrize("metric", ["exact", "loss"])
def test_the_gain_is_the_dearest_over_the_cheapest_effort(metric: str) -> None:
    run = thought(0, GAINS, metric)
    where = places({"a": (0, 1, 2), "b": (0, 1, 2)})
    assert where == list(GAINS)
    found = gain(run, metric, where)
    assert found is not None
    assert found.efforts == ("think_4", "start")
    assert found.gain_K == pytest.approx(list(GAINS.values()))
    assert [(place, e.value) for place, e in gained([found])] == [
        (place, pytest.approx(value)) for place, value in GAINS.items()
    ]
    severities = [s for _, s in GAINS]
    ranks = rankdata(severities), rankdata(found.gain_K)
    assert float(rank(found.severity_K, found.gain_K)) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert float(pearson(found.severity_K, found.gain_K)) == pytest.approx(
        np.corrcoef(severities, found.gain_K)[0, 1]
    )


def test_a_correlation_by_hand() -> None:
    """Ranks of severity 1, 2, 3, 4; of the gain 1, 3, 2, 4: 1 - 6 (0 + 1 + 1 + 0) / (4 x 15) = .8."""
    run = thought(0, {("a", 0): 0.0, ("a", 1): 0.2, ("a", 2): 0.1, ("a", 3): 0.3})
    found = gain(run, "exact", places({"a": (0, 1, 2, 3)}))
    assert found is not None
    assert float(rank(found.severity_K, found.gain_K)) == pytest.approx(0.8)


def test_a_gain_that_never_changes_has_no_correlation() -> None:
    axes = {"a": (0, 1, 2)}
    # Ten answers of a hundred each time, though .6 - .5 and .4 - .3 differ as floats.
    flat = thought(0, {("a", 0): 0.1, ("a", 1): 0.1, ("a", 2): 0.1}, falling=0.2)
    assert 0.6 - 0.5 != 0.4 - 0.3
    rising = thought(1, {("a", 0): 0.0, ("a", 1): 0.1, ("a", 2): 0.2})
    gains = [found for run in (flat, rising) if (found := gain(run, "exact", places(axes))) is not None]
    assert [each.varies for each in gains] == [False, True]
    e = correlate(gains, rank)
    assert e is not None
    assert (e.value, e.single_run) == (pytest.approx(1.0), True)
    assert uncorrelated(gains) == ("ebt_s1, seed 0: thinking gains the same, 0.1, at every severity",)
    found = finding([flat], "ebt_s1", "severity", "thinking_shift")
    assert found.estimate is None
    assert found.verdict == "undecided"
    assert "thinking gains the same, 0.1, at every severity" in found.claim


def test_two_places_are_too_few() -> None:
    run = thought(0, {("a", 0): 0.0, ("a", 1): 0.1})
    found = finding([run], "ebt_s1", "severity", "thinking_shift")
    assert "only 2 severities were measured, a correlation needs 3" in found.claim


@pytest.mark.parametrize(
    ("sign", "verdict", "words"), [(1, "ahead", "grows with"), (-1, "behind", "shrinks with")]
)
def test_a_planted_growth_is_found(sign: int, verdict: str, words: str) -> None:
    rng = np.random.default_rng(2)
    runs = [
        thought(seed, {("a", s): sign * 0.1 * s + 0.02 * rng.normal() for s in range(5)}) for seed in range(3)
    ]
    found = finding(runs, "ebt_s1", "severity", "thinking_shift")
    assert found.verdict == verdict
    assert f"the gain from thinking of ebt_s1 {words} the severity of the shift" in found.claim
    assert found.estimate == pytest.approx(sign)
    assert -1 <= found.low <= found.high <= 1


def test_a_gain_without_a_trend_is_undecided() -> None:
    """Seeds whose trends cancel: rank correlations 1, -1, .5 by hand."""
    courses = [(0.0, 0.1, 0.2), (0.2, 0.1, 0.0), (0.0, 0.2, 0.1)]
    runs = [thought(s, {("a", k): g for k, g in enumerate(each)}) for s, each in enumerate(courses)]
    found = finding(runs, "ebt_s1", "severity", "thinking_shift")
    assert found.estimate == pytest.approx(0.5 / 3)
    assert (found.verdict, found.low, found.high) == ("undecided", -1, 1)


def test_one_axis_can_be_asked_for() -> None:
    runs = [
        thought(seed, {("a", 0): 0.1, ("a", 1): 0.2, ("a", 2): 0.3, ("b", 1): 0.0, ("b", 2): -0.2})
        for seed in range(3)
    ]
    assert finding(runs, "ebt_s1", "severity", "thinking_shift", "a").estimate == pytest.approx(1)
    assert finding(runs, "ebt_s1", "severity", "thinking_shift", "b").estimate == pytest.approx(-1)


def test_everything_is_explored_once() -> None:
    cells = [planted.planned(arm, seed) for arm in planted.EXACT for seed in range(2)]
    of = cohort(*(planted.run(c.arm, c.seed, planted.finished(c)) for c in cells))
    explored = ANALYSIS.explore(of, measure(of))
    keys = [(c.arm, c.baseline, c.quantity, c.axis) for c in explored]
    assert len(set(keys)) == len(keys) == 2 * 2 * 3 + 2 + 2 * 2
    assert {c.quantity for c in explored} == {*ASKED, *INCREASE}
    unasked = replace(of, manifest=replace(of.manifest, contrasts=()))
    assert {c.quantity for c in ANALYSIS.explore(unasked, measure(unasked))} == set(INCREASE)


def test_what_the_largest_shift_adds_is_explored_without_an_axis() -> None:
    runs = [planted.exact_run(arm, s, planted.EXACT[arm]) for arm in planted.EXACT for s in range(3)]
    judged = finding(runs, "ebt_s1", "transformer", "shift_error")
    assert (judged.estimate, judged.axis) == (pytest.approx(0.3 - 0.9), "")
    assert judged.verdict == "ahead"
    losses = [
        planted.loss_run(arm, seed, {"element": (0.1, 0.4, 0.5 + rise + 0.01 * seed)})
        for arm, rise in (("transformer", 0.2), ("ebt_s1", 0.1))
        for seed in range(3)
    ]
    assert finding(losses, "ebt_s1", "transformer", "shift_loss").estimate == pytest.approx(-0.1)


def test_an_arm_that_has_less_to_lose_is_said_to() -> None:
    runs = [planted.exact_run("transformer", s, {"element": (0.8, 0.5)}) for s in range(3)]
    weaker = [planted.exact_run("ebt_s1", s, {"element": (0.5, 0.4)}) for s in range(3)]
    near = [planted.exact_run("looped", s, {"element": (0.7, 0.4)}) for s in range(3)]
    least = draft([*runs, *weaker], "ebt_s1", "transformer", "decay_slope")
    assert any("0.50 against 0.80: the weaker has less to lose" in caveat for caveat in least.caveats)
    less = draft([*runs, *near], "looped", "transformer", "decay_slope")
    assert less.caveats == ()
