"""Gains from thinking and areas between curves against hand-computed ones; no selection at test."""

from dataclasses import replace

import numpy as np
import pytest

from compare.analysis.analyse import analyse
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft
from compare.analysis.paired import over_runs
from compare.analysis.quantity import check_contrasts
from compare.analysis.registry import quantities
from compare.analysis.thinking.analysis import ANALYSIS, named
from compare.analysis.thinking.measure import (
    Ladder,
    Thinking,
    ladders,
    measure,
    shared_range,
)
from compare.analysis.thinking.quantities import CHEAPEST
from compare.calibrate import builders
from compare.stats.crossed import over_seeds_and_problems
from compare.stats.intervals import over_seeds
from compare.store.evidence import Run, collect
from compare.store.manifest import Contrast, load
from tests.compare.planted import thinking as planted
from tests.compare.planted.thinking import exact, run


def cohort(runs) -> Cohort:
    """A study whose experiment asks for curves; the transformer's runs come first."""
    arms = sorted({r.planned.arm for r in runs}, key=lambda arm: (arm != "transformer", arm))
    manifest = builders.manifest((r.planned for r in runs), planted.CONTRASTS)
    return Cohort(study="sudoku", arms=tuple(arms), runs=tuple(runs), manifest=manifest)


def measured(runs) -> Thinking:
    found = measure(cohort(runs))
    assert found is not None
    return found


def compare(runs, arm: str, baseline: str, quantity: str, severity: int = 0, axis: str = "") -> Draft:
    of = cohort(runs)
    return ANALYSIS.compare(
        of, measure(of), of.contrast(arm, baseline, quantity, severity=severity, axis=axis)
    )


def explore(runs) -> list[Draft]:
    of, found = cohort(runs), measured(runs)
    return [ANALYSIS.compare(of, found, contrast) for contrast in ANALYSIS.explore(of, found)]


PLACE = ("blanks", 0)


def only(*evaluations) -> Ladder:
    (found,), reasons = ladders([run("transformer", 0, *evaluations)], "exact", PLACE)
    assert not reasons
    return found


HAND = (
    # Problems 0, 2, 4, 6 are the even half. On the odd half likelihood@4 is best, so it answers the even
    # ones; on the even half majority@4 is, so it answers the odd ones.
    exact("greedy", 1.0, "01010100"),
    exact("majority@4", 4.0, "10101100"),
    exact("likelihood@4", 4.0, "01011101"),
    exact("likelihood@16", 16.0, "00000000"),
)


def test_the_best_effort_is_chosen_on_one_half_and_scored_on_the_other():
    found = only(*HAND)
    np.testing.assert_array_equal(found.levels, [1, 4, 16])
    assert found.chosen == ("likelihood@4", "majority@4")
    best = [1 if bit == "1" else 0 for bit in "01010100"]
    np.testing.assert_array_equal(found.best_EP[0], best)
    #            likelihood@4 on the even ones: 0 . 0 . 1 . 0 .   majority@4 on the odd: . 0 . 0 . 1 . 0
    np.testing.assert_array_equal(found.best_EP[1], [0, 0, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(found.best_EP[2], found.best_EP[1])
    np.testing.assert_array_equal(found.gain_P, [0, -1, 0, -1, 1, 0, 0, 0])


def test_among_equals_the_cheapest_is_taken_so_that_nothing_is_gained():
    found = only(exact("greedy", 1.0, "0110"), exact("majority@4", 4.0, "0110"))
    assert found.chosen == ("greedy", "greedy")
    assert not found.gain_P.any()


def test_a_sample_is_no_rung_and_an_oracle_never_chosen():
    found = only(
        exact("greedy", 2.0, "0100"),
        exact("sample", 1.0, "1111"),
        exact("oracle@4", 4.0, "1111"),
        exact("likelihood@4", 4.0, "0110"),
    )
    assert len(found.scores_EP) == len(found.levels) == 2
    curve = measured([found.run]).at(PLACE)[0]
    assert [(way.effort, way.deployable) for way in curve.ways] == [
        ("greedy", True),
        ("likelihood@4", True),
        ("oracle@4", False),
    ]
    assert curve.oracle_gain.value == pytest.approx(0.75)
    assert curve.dearest_gain.value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("low", "high", "mean"), [(1, 100, 0.75), (10**0.5, 10, 0.75), (10, 100, 1.0), (1, 10, 0.5)]
)
def test_the_mean_over_log_flops_is_the_hand_computed_one(low, high, mean):
    """0 at 1 FLOP, 1 at 10 and at 100: half the first decade, all of the second."""
    found = only(
        exact("greedy", 1.0, "0000"), exact("majority@4", 10.0, "1111"), exact("majority@8", 100.0, "1111")
    )
    np.testing.assert_allclose(found.mean_P(low, high), mean)


def test_the_mean_over_log_flops_is_the_integral():
    bits = ["0000", "0101", "0111", "1111"]
    found = only(*(exact(f"majority@{i}", 3.0**i + i, row) for i, row in enumerate(bits, 2)))
    low, high = 12.0, 150.0
    grid = np.linspace(np.log(low), np.log(high), 20_001)
    for p in range(4):
        fine = np.interp(grid, np.log(found.levels), found.best_EP[:, p])
        assert found.mean_P(low, high)[p] == pytest.approx(np.trapezoid(fine, grid) / np.log(high / low))


def test_the_area_between_two_curves_is_the_hand_computed_one():
    """From 1e6 to 1e7 the one rises from 0 to 1; the other lies at a half from 1e5 to 1e8."""
    mine = [run("ebt_s1", s, exact("think_1", 1e6, "0000"), exact("think_2", 1e7, "1111")) for s in range(3)]
    flat = [("greedy", 1e5), ("majority@4", 1e8)]
    theirs = [run("transformer", s, *(exact(e, f, "0101") for e, f in flat)) for s in range(3)]
    draft = compare([*mine, *theirs], "ebt_s1", "transformer", "thinking_area")
    assert draft.estimate.value == pytest.approx(0.0)
    assert draft.caveats == ("shared range 1e6 to 1e7 FLOPs per answer",)
    lower = [run("transformer", s, *(exact(e, f, "0000") for e, f in flat)) for s in range(3)]
    draft = compare([*mine, *lower], "ebt_s1", "transformer", "thinking_area")
    assert draft.estimate.value == pytest.approx(0.5)
    back = compare([*mine, *lower], "transformer", "ebt_s1", "thinking_area")
    assert back.estimate.value == pytest.approx(-0.5)
    assert len(draft.records) == 6


def test_gains_of_unequal_cost_say_so_and_areas_need_not():
    """think_2 is right where think_1 is not, at nine times the FLOPs; majority@4 at four times greedy's."""
    mine = [run("ebt_s1", s, exact("think_1", 1e6, "0000"), exact("think_2", 9e6, "1111")) for s in range(2)]
    theirs = [
        run("transformer", s, exact("greedy", 1e6, "0000"), exact("majority@4", 4e6, "1111"))
        for s in range(2)
    ]

    def caveats(baseline: str, quantity: str) -> tuple[str, ...]:
        return compare([*mine, *theirs], "ebt_s1", baseline, quantity).caveats

    own = caveats(CHEAPEST, "thinking_gain")
    assert own == ("chosen as best: think_2 (4 of 4)", "an answer costs 9 times the baseline's FLOPs")
    assert caveats("transformer", "thinking_gain") == ("an answer costs 2.2 times the baseline's FLOPs",)
    assert not any("costs" in caveat for caveat in caveats("transformer", "thinking_area"))
    back = compare([*mine, *theirs], "transformer", "ebt_s1", "thinking_gain")
    assert back.caveats == ("an answer costs 0.44 times the baseline's FLOPs",)


def test_a_contrast_names_its_axis_of_shift():
    def both(arm: str, seed: int, blanks: str, symbols: str) -> Run:
        efforts = (("think_1", 1e6, "0000"), ("think_2", 2e6, ""))
        inside = [exact(effort, flops, "0000") for effort, flops, _ in efforts]
        shifted = [
            replace(exact(effort, flops, bits or more, severity=1), axis=axis)
            for axis, more in (("blanks", blanks), ("symbols", symbols))
            for effort, flops, bits in efforts
        ]
        return run(arm, seed, *inside, *shifted)

    runs = [both("ebt_s1", seed, "1111", "0011") for seed in range(2)]
    runs += [both("transformer", seed, "0000", "0000") for seed in range(2)]

    def draft(severity: int, axis: str, baseline: str = CHEAPEST) -> Draft:
        return compare(runs, "ebt_s1", baseline, "thinking_gain", severity, axis)

    assert draft(1, "blanks").estimate.value == 1
    assert draft(1, "symbols").estimate.value == 0.5
    assert draft(1, "symbols").arm == "ebt_s1 (symbols severity 1)"
    assert draft(1, "symbols", "transformer").baseline == "transformer (symbols severity 1)"
    # Without an axis the first one is meant, and it is the same comparison.
    assert draft(1, "") == draft(1, "blanks")
    assert draft(0, "").arm == "ebt_s1"
    lost = draft(2, "symbols")
    assert (lost.estimate, lost.caveats) == (None, ("nothing was measured at severity 2 of axis symbols",))
    explored = [(d.arm, d.baseline) for d in explore(runs)]
    assert len(explored) == len(set(explored))
    assert ("ebt_s1 (blanks severity 1)", CHEAPEST) in explored
    assert ("ebt_s1 (symbols severity 1)", CHEAPEST) in explored


def test_curves_that_share_no_range_are_not_compared():
    mine = run("ebt_s1", 0, exact("think_1", 2e7, "0101"), exact("think_2", 4e7, "0101"))
    theirs = run("transformer", 0, exact("greedy", 1e6, "0101"), exact("majority@4", 2e7, "0101"))
    draft = compare([mine, theirs], "ebt_s1", "transformer", "thinking_area")
    assert draft.estimate is None
    assert draft.caveats == (
        "FLOPs per answer, 2e7 to 4e7 against 1e6 to 2e7, share less than a factor of 1.1",
    )
    # Their gains do not need it.
    assert compare([mine, theirs], "ebt_s1", "transformer", "thinking_gain").estimate is not None
    a, b = only(*HAND[:2]), only(exact("greedy", 2.0, "01"), exact("majority@4", 8.0, "01"))
    assert shared_range(a, b) == (2.0, 4.0)


@pytest.mark.parametrize(
    ("evaluations", "reason"),
    [
        ((exact("greedy", 1.0, "0101"),), "transformer: it has one way to answer"),
        ((exact("greedy", 1.0, "1"), exact("majority@4", 2.0, "1")), "too few problems"),
        ((), "transformer: no finished run"),
    ],
    ids=["one", "few", "none"],
)
def test_what_cannot_be_measured_says_why(evaluations, reason):
    runs = [run("looped", 0, exact("loop_1", 1.0, "0101"), exact("loop_2", 2.0, "0101"))]
    runs += [run("transformer", 0, *evaluations)] if evaluations else []
    draft = compare(runs, "transformer", CHEAPEST, "thinking_gain")
    assert draft.estimate is None
    assert reason in draft.caveats[0]


def losses(values: dict[int, dict[str, float]]):
    return [
        run(
            "ebt_s1",
            seed,
            *(
                builders.loss(loss, axis="blanks", effort=effort, flops=float(i + 1))
                for i, (effort, loss) in enumerate(own.items())
            ),
        )
        for seed, own in values.items()
    ]


def test_the_best_effort_of_a_loss_is_chosen_on_the_other_seeds():
    """Seeds 0 and 1 like think_2, seed 2 alone likes think_4; the mean of any two is kindest to think_2,
    but for seeds 1 and 2, to think_4."""
    runs = losses(
        {
            0: {"think_1": 2.0, "think_2": 1.0, "think_4": 1.5},
            1: {"think_1": 2.0, "think_2": 1.1, "think_4": 1.6},
            2: {"think_1": 2.0, "think_2": 3.0, "think_4": 0.2},
        }
    )
    found, reasons = ladders(runs, "loss", PLACE)
    assert not reasons
    assert [x.chosen for x in found] == [("think_4",), ("think_4",), ("think_2",)]
    np.testing.assert_allclose([x.gain_P[0] for x in found], [0.5, 0.4, -1.0])
    draft = compare(runs, "ebt_s1", CHEAPEST, "thinking_gain")
    assert draft.estimate.value == pytest.approx(-0.1 / 3)
    assert draft.estimate.n == 3


def test_of_a_single_loss_nothing_can_be_chosen():
    runs = losses({0: {"think_1": 2.0, "think_2": 1.0}})
    draft = compare(runs, "ebt_s1", CHEAPEST, "thinking_gain")
    assert draft.estimate is None
    assert "chosen on other seeds" in draft.caveats[0]
    assert measured(runs).at(PLACE)[0].ways[0].value.value == 2.0


def noise(rng: np.random.Generator, arm: str, seeds: int = 3, problems: int = 120, efforts: int = 6):
    """Runs none of whose efforts is better than another; problems differ in difficulty, runs in skill."""
    hard = rng.normal(size=problems)
    runs = []
    for seed in range(seeds):
        skill = 0.5 * rng.normal()
        right = 1 / (1 + np.exp(hard - skill))
        rows = ["".join("1" if x else "0" for x in rng.random(problems) < right) for _ in range(efforts)]
        runs.append(run(arm, seed, *(exact(f"majority@{2**i}", 2.0**i, row) for i, row in enumerate(rows))))
    return runs


def test_where_no_effort_is_better_the_gain_is_zero_on_average():
    """And the best by the results themselves would not be: that is what the halves are for."""
    rng = np.random.default_rng(0)
    gains, naive = [], []
    for _ in range(200):
        found, _ = ladders(noise(rng, "transformer"), "exact", PLACE)
        gains.append(np.mean([x.gain_P.mean() for x in found]))
        naive.append(np.mean([x.scores_EP.mean(axis=1).max() - x.scores_EP[0].mean() for x in found]))
    error = np.std(gains) / np.sqrt(len(gains))
    assert abs(np.mean(gains)) < 3 * error
    assert np.mean(naive) > 10 * error


@pytest.mark.parametrize("quantity", ["thinking_gain", "thinking_area"])
def test_one_arm_against_itself_under_other_seeds_is_seldom_told_apart(quantity):
    rng = np.random.default_rng(1)
    outside = 0
    for _ in range(200):
        runs = [*noise(rng, "ebt_s1", efforts=4), *noise(rng, "transformer", efforts=4)]
        e = compare(runs, "ebt_s1", "transformer", quantity).estimate
        outside += e.low > 0 or e.high < 0
    # 5% of 200 are 10; more than 19 would have probability 0.003 at that rate.
    assert outside <= 19


def test_a_planted_gain_is_found():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        runs = []
        for seed in range(3):
            low = rng.random(400) < 0.4
            lifted = low | (rng.random(400) < 1 / 6)  # a tenth of all problems, net
            rows = ["".join("1" if x else "0" for x in row) for row in (low, lifted)]
            runs.append(run("ebt_s1", seed, exact("think_1", 1.0, rows[0]), exact("think_2", 2.0, rows[1])))
        e = compare(runs, "ebt_s1", CHEAPEST, "thinking_gain").estimate
        covered += e.low <= 0.1 <= e.high
        assert e.value == pytest.approx(0.1, abs=0.05)
    assert covered >= 90


def test_problems_count_where_they_are_known_and_seeds_alone_where_they_are_not():
    rows = [np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0])]
    assert over_runs(rows) == over_seeds_and_problems(np.stack(rows))
    assert over_runs([row[:1] for row in rows]) == over_seeds(np.array([0.0, 1.0]))


def test_every_set_of_problems_is_explored_and_what_was_asked_for_only_once(tmp_path):
    found = analyse(collect(planted.store(tmp_path), load(tmp_path, "thinking")), draws=20).findings
    keys = [(f.study, f.arm, f.baseline, f.quantity) for f in found]
    assert len(keys) == len(set(keys))
    primary = {(f.arm, f.baseline, f.quantity): f for f in found if f.primary}
    assert list(primary) == [
        (
            named(c.arm, c.severity),
            c.baseline if c.baseline == CHEAPEST else named(c.baseline, c.severity),
            c.quantity,
        )
        for c in planted.CONTRASTS
    ]
    gain = primary["transformer", CHEAPEST, "thinking_gain"]
    assert gain.verdict == "ahead"
    assert gain.estimate == pytest.approx(0.1, abs=0.03)
    assert primary["ebt_s1", CHEAPEST, "thinking_gain"].verdict == "equivalent"
    assert primary["ebt_s1", "transformer", "thinking_gain"].verdict == "behind"
    area = primary["ebt_s1", "transformer", "thinking_area"]
    assert area.verdict == "behind"
    # The transformer's curve from 2e6 to 1e7: .50 to .55 at 3e6, .60 at 1e7; the other's is flat at .40.
    x, y = np.log([1e6, 3e6, 1e7]), [0.5, 0.55, 0.6]
    grid = np.linspace(np.log(2e6), np.log(1e7), 2001)
    assert -area.estimate == pytest.approx(np.interp(grid, x, y).mean() - 0.4, abs=0.03)
    assert primary["looped (severity 1)", CHEAPEST, "thinking_gain"].estimate == pytest.approx(0.25, abs=0.04)
    missing = primary["rl_grpo", "transformer", "thinking_area"]
    assert missing.estimate is None
    assert "rl_grpo: it has one way to answer" in missing.claim
    rest = {(f.arm, f.baseline, f.quantity) for f in found if not f.primary}
    assert ("looped", CHEAPEST, "thinking_gain") in rest
    assert ("looped (severity 1)", "transformer (severity 1)", "thinking_area") in rest


def test_without_an_evaluated_run_there_is_nothing_to_compare():
    assert measure(cohort([])) is None
    assert compare([], "ebt_s1", CHEAPEST, "thinking_gain").caveats


def test_without_a_contrast_there_are_ways_to_answer_and_no_curves():
    of = cohort([run("looped", 0, exact("loop_1", 1.0, "0101"), exact("loop_2", 2.0, "0111"))])
    unasked = replace(of, manifest=replace(of.manifest, contrasts=()))
    found = measure(unasked)
    assert [way.effort for way in found.ways] == ["loop_1", "loop_2"]
    assert found.curves == ()
    assert ANALYSIS.explore(unasked, found) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"quantity": "thinking_area"},
            "baseline cheapest_effort goes with thinking_gain, not with thinking_area",
        ),
        (
            {"effort": "think_2"},
            "effort and baseline_effort go with .*retained_share, final_loss, final_error, not with",
        ),
        ({"baseline": "ebt_s9"}, "names arm ebt_s9, which study sudoku does not plan"),
        ({"baseline": "ebt_s1"}, "its baseline is the arm itself"),
    ],
    ids=str,
)
def test_a_contrast_that_asks_for_the_impossible_is_an_error(changes, message):
    base = Contrast(study="sudoku", arm="ebt_s1", baseline=CHEAPEST, quantity="thinking_gain", margin=0.02)
    arms = {("sudoku", arm) for arm in planted.LADDERS}
    check_contrasts((replace(base, severity=1),), arms, 0.0, quantities())
    with pytest.raises(ValueError, match=message):
        check_contrasts((replace(base, **changes),), arms, 0.0, quantities())


def test_a_gain_under_shift_may_name_its_axis() -> None:
    contrast = Contrast(
        study="s",
        arm="a",
        baseline="cheapest_effort",
        quantity="thinking_gain",
        margin=0.0,
        severity=1,
        axis="x",
    )
    check_contrasts((contrast,), {("s", "a")}, 0.0, quantities())
    with pytest.raises(ValueError, match="severity above 0"):
        check_contrasts((replace(contrast, severity=0),), {("s", "a")}, 0.0, quantities())
