"""The order in which classes settle is found where it was planted, and not where labels mean nothing."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft, Finding, judge
from compare.analysis.tokens.analysis import ANALYSIS
from compare.analysis.tokens.measure import AnatomyStudy, Phase, curves, measure
from compare.analysis.tokens.section import two_phases
from compare.calibrate import builders
from compare.stats.half_fall import half_falls, labellings, lags, relabelling_p, running_mean
from compare.store.evidence import Run
from tests.compare.planted import tokens as planted

EXECUTE = "execute_tokens"


def cohort(*runs: Run) -> Cohort:
    arms = tuple(dict.fromkeys(run.planned.arm for run in runs))
    manifest = planted.manifest(tuple(run.planned for run in runs))
    return Cohort(study="chain", arms=arms, runs=runs, manifest=manifest)


def study(*runs: Run) -> AnatomyStudy:
    found = measure(cohort(*runs))
    assert found is not None
    return found


def compare(runs: tuple[Run, ...], arm: str, baseline: str, quantity: str) -> Draft:
    of = cohort(*runs)
    return ANALYSIS.compare(of, measure(of), of.contrast(arm, baseline, quantity))


def seeds(make: Callable[[int], dict[str, list[float | None]]], count: int = 3) -> tuple[Run, ...]:
    return tuple(planted.run("rl_grpo", seed, make(seed)) for seed in range(count))


def phase(runs: tuple[Run, ...], measure: str = "entropy") -> Phase:
    return study(*runs).arms[0].phases[measure]


def lag_findings(runs: tuple[Run, ...], margin: float = 0.1) -> list[Finding]:
    drafts = [compare(runs, "rl_grpo", EXECUTE, quantity) for quantity in ("entropy_lag", "error_lag")]
    return list(judge([replace(draft, margin=margin, primary=True) for draft in drafts]))


# The half-fall by hand.


def test_a_straight_line_is_half_way_in_the_middle_between_its_two_ends() -> None:
    """100 rows from 1 to 0: start mean of 5 rows, end mean of 10, middle where the line passes it."""
    share = np.arange(1, 101) / 100
    line = np.linspace(1, 0, 100)
    start, end = line[:5].mean(), line[-10:].mean()
    # The running mean of a line is the line, so the crossing is exact.
    expected = np.interp(-(start + end) / 2, -line, share)
    assert half_falls(line[None], share)[0] == pytest.approx(expected)


def test_a_step_is_crossed_where_its_running_mean_is_half_way() -> None:
    """A step between rows 49 and 50, running mean of 11 rows: 6/11, then 5/11 of one."""
    share = np.arange(1, 101) / 100
    step = np.where(np.arange(100) < 50, 1.0, 0.0)
    assert half_falls(step[None], share)[0] == pytest.approx((share[49] + share[50]) / 2)


def test_running_means_shorten_at_the_ends() -> None:
    found = running_mean(np.array([[1.0, 2, 3, 4, 10]]), 3)
    assert found[0].tolist() == pytest.approx([1.5, 2, 3, 17 / 3, 7])


@pytest.mark.parametrize(
    "flat",
    [
        np.full(100, 0.5),
        np.linspace(0.5, 0.6, 100),
        np.linspace(0.5, 0.45, 100),
        np.linspace(0.004, 0.0, 100),
        np.zeros(100),
    ],
    ids=["flat", "rising", "a tenth", "tiny", "zero"],
)
def test_what_does_not_fall_has_no_half_fall(flat: np.ndarray) -> None:
    assert math.isnan(half_falls(flat[None], np.arange(1, 101) / 100)[0])


def test_a_short_history_has_none() -> None:
    assert math.isnan(half_falls(np.linspace(1, 0, 19)[None], np.arange(1, 20) / 19)[0])


def test_labellings_are_all_there_are_or_as_many_as_asked_the_true_one_first() -> None:
    plan = np.array([0.0, 1, 0, 1, 0])
    rng = np.random.default_rng(0)
    every = labellings(plan, 9, rng)
    assert every.shape == (10, 5)
    assert len({tuple(row) for row in every}) == 10
    some = labellings(plan, 8, rng)
    assert some.shape == (9, 5)
    for table in (every, some):
        assert table[0].tolist() == plan.tolist()
        assert set(table.sum(axis=1)) == {2.0}


def test_lags_are_differences_of_half_falls_of_means() -> None:
    share = planted.SHARE
    places = np.array([planted.settling(t) for t in (0.2, 0.3, 0.7)])
    table = np.array([[0.0, 0, 1], [1, 0, 0]])
    halves = half_falls(np.array([places[2], places[:2].mean(0), places[0], places[1:].mean(0)]), share)
    assert lags(places, share, table).tolist() == pytest.approx(
        [halves[0] - halves[1], halves[2] - halves[3]]
    )


def test_the_p_of_a_relabelling_counts_both_sides_and_itself() -> None:
    assert relabelling_p(np.array([0.3, 0.1, -0.3, 0.2, math.nan])) == 0.5
    assert relabelling_p(np.array([math.nan, 0.1])) == 1.0


# Planted orders.


def test_two_phases_are_found_where_planted() -> None:
    rng = np.random.default_rng(1)
    runs = seeds(
        lambda seed: planted.history(
            planted.times(0.6, 0.25, (0.03 * rng.standard_normal(len(planted.PLACES))).tolist()),
            planted.jitter(rng),
        )
    )
    for finding in lag_findings(runs):
        assert finding.verdict == "ahead"
        assert finding.estimate == pytest.approx(0.35, abs=0.05)
        assert "settle later than its execution tokens" in finding.claim
    assert two_phases(lag_findings(runs)) == "yes"
    assert phase(runs).p_relabelled < 0.01
    assert phase(runs).half["answer"].value == pytest.approx(0.6, abs=0.03)


def test_the_opposite_order_is_a_no() -> None:
    rng = np.random.default_rng(2)
    runs = seeds(lambda seed: planted.history(planted.times(0.3, 0.6), planted.jitter(rng, 0.02)))
    assert {f.verdict for f in lag_findings(runs)} == {"behind"}
    assert two_phases(lag_findings(runs)) == "no"


def test_classes_that_settle_together_are_a_no() -> None:
    rng = np.random.default_rng(3)
    runs = seeds(lambda seed: planted.history(planted.times(0.4, 0.4), planted.jitter(rng, 0.02)))
    assert {f.verdict for f in lag_findings(runs)} == {"equivalent"}
    assert two_phases(lag_findings(runs)) == "no"


def test_when_only_one_of_the_two_is_seen_it_is_undecided() -> None:
    rng = np.random.default_rng(4)
    late = planted.history(planted.times(0.6, 0.25))
    scattered = [planted.history(planted.times(0.5 + 0.2 * rng.standard_normal(), 0.4)) for _ in range(3)]

    def make(seed: int) -> dict[str, list[float | None]]:
        errors = {k: v for k, v in scattered[seed].items() if k.startswith("error")}
        return late | errors

    entropy, error = lag_findings(seeds(make))
    assert (entropy.verdict, error.verdict) == ("ahead", "undecided")
    assert two_phases([entropy, error]) == "undecided"


def test_labels_that_mean_nothing_are_seldom_called_two_phases() -> None:
    """Every place has a time of its own, the same for all seeds, whatever its label: a placebo.

    Student's t over seeds alone would call nearly all of these an order: the places do differ. The
    relabelling knows that others differ as much.
    """
    rng = np.random.default_rng(5)
    studies, called, by_seeds_alone = 40, 0, 0
    for _ in range(studies):
        own = (0.12 * rng.standard_normal(len(planted.PLACES))).tolist()
        runs = seeds(
            lambda seed, own=own: planted.history(planted.times(0.5, 0.5, own), planted.jitter(rng, 0.02))
        )
        found = phase(runs)
        assert found.lag is not None
        values = np.array(list(found.lag_by_seed.values()))
        by_seeds_alone += abs(values.mean()) > 4.303 * values.std(ddof=1) / math.sqrt(3)
        called += found.lag.p < 0.05
    assert by_seeds_alone > 0.5 * studies
    assert called <= 0.1 * studies


def test_one_run_against_itself_is_seldom_called_two_phases() -> None:
    """A/A: places alike, seeds differ by noise alone."""
    rng = np.random.default_rng(6)
    studies, called = 40, 0
    for _ in range(studies):
        runs = seeds(
            lambda seed: planted.history(
                planted.times(0.4, 0.4, (0.1 * rng.standard_normal(len(planted.PLACES))).tolist()),
                planted.jitter(rng),
            )
        )
        found = phase(runs)
        assert found.lag is not None
        called += found.lag.p < 0.05
    assert called <= 0.1 * studies


# What cannot be tested says why.


def test_a_class_that_does_not_fall_is_named() -> None:
    columns = planted.history(planted.times(0.6, 0.25))
    flat = {k: [None if x is None else 0.1 for x in v] for k, v in columns.items() if "entropy_plan_" in k}
    found = phase(seeds(lambda seed: columns | flat))
    assert found.lag is None
    assert found.reasons[0] == "seed 0: entropy of plan tokens does not fall"
    assert "plan" not in found.half
    assert set(found.half) == {"execute", "answer"}


def test_a_task_without_planning_tokens_is_not_tested() -> None:
    columns = {k: v for k, v in planted.history(planted.times(0.6, 0.25)).items() if "_plan" not in k}
    runs = seeds(lambda seed: columns)
    (finding, _) = lag_findings(runs)
    assert finding.estimate is None
    assert "the task's chains have no plan tokens" in finding.claim
    assert compare(runs, "rl_grpo", "all_tokens", "forking_excess").estimate is None


def test_too_few_places_cannot_show_an_order() -> None:
    kept = {4: 0.6, 0: 0.25, 1: 0.25, 2: 0.25}
    found = phase(seeds(lambda seed: planted.history(kept)))
    assert found.lag is not None
    assert found.p_relabelled == found.lag.p == 0.25
    assert found.reasons == ("only 4 labellings of its 4 places, too few for p < .05",)


def test_gaps_are_bridged_and_places_of_mostly_gaps_left_out() -> None:
    columns = planted.history(planted.times(0.6, 0.25))
    whole = curves(columns, "entropy")
    assert whole is not None
    holed = columns["entropy_plan_4"]
    holed[100], columns["entropy_plan_9"] = None, [None] * (len(holed) - 1) + [0.2]
    found = curves(columns, "entropy")
    assert found is not None
    assert ("plan", 9) not in found.places
    x = whole.places["plan", 4]
    assert found.places["plan", 4][60] == pytest.approx((x[59] + x[61]) / 2)
    assert found.share_T[-1] == 1
    assert found.share_T[0] == pytest.approx(1 / planted.ROWS)


def test_a_history_without_a_probe_has_no_anatomy() -> None:
    cell = planted.planned("rl_grpo", 0)
    assert measure(cohort(builders.run(cell))) is None


# Gains.


def test_the_extra_gain_by_hand() -> None:
    """Two seeds of four problems: gains of 2 and 1 against 1 and 1, from warm starts that differ."""

    def runs(arm: str, before: str, after: tuple[str, str]) -> list[Run]:
        found: list[Run] = []
        for seed, bits in enumerate(after):
            cell = planted.planned(arm, seed)
            answers = [
                builders.exact(b, effort="sample", stage=stage)
                for stage, b in (("warm_start", before), ("final", bits))
            ]
            columns = planted.history(planted.times(0.6, 0.3))
            found.append(builders.run(cell, *answers, history=columns))
        return found

    every = (
        *runs("rl_forking", "1000", ("1110", "1010")),
        *runs("rl_random_tokens", "1100", ("1110", "1101")),
    )
    draft = compare(every, "rl_forking", "rl_random_tokens", "extra_gain")
    assert draft.estimate is not None
    assert draft.estimate.value == 0.125
    assert len(draft.records) == 4
    forking = study(*every).arm("rl_forking")
    assert forking is not None
    assert forking.gains == (0.5, 0.25)
