"""Findings of a whole study: the planted truth with its interval, and words for what cannot be told."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare.analysis import paired as finals
from compare.analysis.analyse import analyse
from compare.analysis.base import Results
from compare.analysis.findings import Draft, judge
from compare.calibrate import builders
from compare.report import build
from compare.stats.intervals import Estimate
from compare.store import evidence, manifest
from tests.compare.planted import scaling
from tests.compare.reading import visible

PLANTED, NAME = scaling, "scaling"


def test_headline_claims_find_the_planted_truth(results: Results) -> None:
    primary = [f for f in results.findings if f.primary]
    assert [(f.arm, f.quantity) for f in primary] == [(c.arm, c.quantity) for c in scaling.CONTRASTS]
    multiplier, control, _, gain = primary
    scale, alpha = scaling.TEXT_LAWS["ebt_s1"]
    top = scaling.BUDGETS[-1] * 0.99
    loss = scaling.law(*scaling.TEXT_LAWS["transformer"], scaling.BUDGETS[-1])
    truth = top / 0.99 / (scaling.ZERO * ((loss - scaling.FLOOR) / scale) ** (-1 / alpha))
    assert multiplier.low < truth < multiplier.high
    assert (multiplier.verdict, multiplier.unit) == ("ahead", "×")
    assert control.verdict == "equivalent"
    assert gain.verdict == "ahead"
    assert gain.low < 0.3 * scaling.ACCURACY["rl_clip_cov"] < gain.high


def test_final_differences_are_paired_at_the_largest_budget_with_their_sign() -> None:
    """Three seeds, two budgets; the arm is worse in loss and better in answers, and shifts worse."""
    cells = [
        cell for cell in scaling.plan() if cell.study == "addition" and cell.arm in ("transformer", "ebt_s1")
    ]
    runs = []
    for cell in (cell for cell in cells if cell.budget in scaling.BUDGETS[-2:]):
        arm, top = cell.arm == "ebt_s1", cell.budget == scaling.BUDGETS[-1]
        bits = "1111000000" if arm and top else "1100000000"
        loss = 2.0 + 0.1 * cell.seed + (0.3 + 0.01 * cell.seed if arm and top else 0.0)
        shares = [(0, bits), (1, "1" + 9 * "0")]
        answers = [builders.exact(b, severity=s) for s, b in shares]
        losses = [builders.loss(loss), builders.loss(loss + 1 + arm, severity=1)]
        runs.append(builders.run(cell, *losses, *answers))
    found = {f.quantity: f for f in analyse(builders.finished((), runs), draws=20).findings}
    by_loss, by_error = found["final_loss"], found["final_error"]
    shift_loss, shift_error = found["shift_loss"], found["shift_error"]
    # Paired by seed the losses differ by .30, .31, .32, whatever the seeds themselves do.
    assert by_loss.estimate == pytest.approx(0.31)
    assert by_loss.high - by_loss.low == pytest.approx(2 * 4.3027 * 0.01 / 3**0.5, rel=1e-3)
    assert by_error.estimate == pytest.approx(-0.2)
    assert shift_loss.estimate == pytest.approx(1.0)
    assert shift_error.estimate == pytest.approx((0.9 - 0.6) - (0.9 - 0.8))


def test_a_multipliers_margin_is_a_factor() -> None:
    """Margin 0.5 means 1/1.5 to 1.5: log 1.5 is 0.405, so an interval to exp(0.45) is too wide."""
    for half, expected in ((0.40, "equivalent"), (0.45, "undecided")):
        estimate = Estimate(value=0.0, low=-half, high=half, p=1.0, n=3, single_run=False)
        draft = Draft(
            study="s", arm="a", baseline="b", quantity="compute_multiplier", estimate=estimate, margin=0.5
        )
        (finding,) = judge([draft])
        assert finding.verdict == expected
        assert finding.high == pytest.approx(math.exp(half))
        assert finding.estimate == 1


def test_arms_trained_by_reward_stay_out_of_the_loss_fits(results: Results) -> None:
    addition = results.studies[1]
    measured = addition.measured["scaling"]
    assert measured.fits["shared"].runs.arms == ("transformer", "ebt_s1")
    assert "rl_grpo: its last stage minimises no likelihood, left out of the loss fits" in measured.notes
    assert {m.arm for m in measured.loss} >= {"rl_grpo", "rl_clip_cov"}


def test_the_table_of_shift_shows_errors_not_accuracies(results: Results) -> None:
    arms = {arm.arm: arm for arm in results.studies[1].measured["shift"].arms}
    decay = arms["rl_clip_cov"].decay("exact", "digits")
    within, shifted = decay.worse
    assert within.value < 0.2 < 0.6 < shifted.value
    assert decay.increases[1].value == pytest.approx(shifted.value - within.value)


def test_every_claim_carries_interval_and_seeds(results: Results) -> None:
    for finding in results.findings:
        assert re.search(r"95% interval \[.+, .+\], n = [23] seeds", finding.claim), finding.claim
        assert finding.verdict in finding.claim.lower()


def test_exploratory_findings_cover_every_arm_and_are_marked(results: Results) -> None:
    exploratory = [f for f in results.findings if not f.primary]
    assert {f.arm for f in exploratory if f.study == "addition"} == {"ebt_s1", "rl_grpo", "rl_clip_cov"}
    asked = {(c.study, c.arm, c.quantity) for c in scaling.CONTRASTS}
    assert not asked & {(f.study, f.arm, f.quantity) for f in exploratory if f.baseline != "rl_grpo"}
    assert all(f.margin == 0 and f.verdict != "equivalent" for f in exploratory)


def test_an_arm_answers_in_its_default_way_never_by_its_best_result() -> None:
    rng = np.random.default_rng(0)
    efforts = [
        builders.exact(rng.random(200) < share, effort=e) for e, share in (("think_1", 0.9), ("think_2", 0.5))
    ]
    cell = scaling.plan()[0]
    run = builders.run(cell, *efforts)
    assert run.find("exact") == efforts[1]
    policy = [
        builders.exact(rng.random(200) < share, effort=e) for e, share in (("greedy", 0.5), ("sample", 0.9))
    ]
    run = builders.run(cell, *policy)
    assert run.find("exact") == policy[0]
    assert run.find("exact", effort="sample") == policy[1]
    assert run.find("loss") is None


def test_a_record_of_another_cell_does_not_count(tmp_path: Path) -> None:
    store = scaling.store(tmp_path, seeds=1, trouble=False)
    plan = manifest.load(store, "scaling")
    source = store / "cells" / plan.cells[1].cell / "record.json"
    (store / "cells" / plan.cells[0].cell / "record.json").write_bytes(source.read_bytes())
    (trouble,) = evidence.collect(store, plan).troubles
    assert trouble.kind == "unreadable"
    assert "the record says cell=" in trouble.reason


def test_single_runs_are_marked_and_decide_nothing(tmp_path: Path) -> None:
    store = scaling.store(tmp_path, seeds=1, trouble=False)
    results = analyse(evidence.collect(store, manifest.load(store, "scaling")), draws=20)
    assert results.findings
    for finding in results.findings:
        assert finding.single_run
        assert finding.verdict == "undecided"
        assert "a single run" in finding.claim
    assert "single run" in visible(build(store, "scaling").read_text(encoding="utf-8"))


def test_too_few_budgets_say_so_and_the_rest_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = tuple(cell for cell in scaling.plan() if cell.budget in scaling.BUDGETS[-2:])
    manifest.dump(tmp_path, scaling.manifest(cells))
    for cell in cells:
        builders.write(tmp_path, scaling.finished(cell, rng))
    results = analyse(evidence.collect(tmp_path, manifest.load(tmp_path, "scaling")))
    multiplier, control = results.findings[:2]
    assert multiplier.estimate is None
    assert "not enough budgets" in multiplier.claim
    assert multiplier.verdict == "undecided"
    assert control.estimate is not None
    assert "not enough budgets" in visible(build(tmp_path, "scaling").read_text(encoding="utf-8"))


def test_slopes_are_compared_over_the_same_budgets(tmp_path: Path) -> None:
    """Loss bends in log-log: an arm that lost its cheapest budget must not look faster or slower for it."""
    store = scaling.store(tmp_path, trouble=False)
    plan = manifest.load(store, "scaling")
    for cell in plan.cells:
        if (cell.study, cell.arm, cell.budget) == ("text", "transformer", scaling.BUDGETS[0]):
            (store / "cells" / cell.cell / "record.json").unlink()
    findings = analyse(evidence.collect(store, plan)).findings
    (ratio,) = [f for f in findings if (f.arm, f.quantity) == ("ebt_one_step", "slope_ratio")]
    assert ratio.low <= 0 <= ratio.high


def drafted(quantity: str, value: float, half: float, p: float, margin: float = 0.0) -> Draft:
    e = Estimate(value=value, low=value - half, high=value + half, p=p, n=3, single_run=False, degrees=2)
    return Draft(study="s", arm="a", baseline="b", quantity=quantity, estimate=e, margin=margin, primary=True)


def test_a_claim_says_why_an_interval_without_zero_is_undecided_or_equivalent() -> None:
    held, lost = judge([drafted("final_loss", 0.2, 0.15, 0.03), drafted("final_loss", 0.1, 0.3, 0.4)])
    assert "that leaves out 0, but Holm's correction makes p 0.06; about" in held.claim
    assert "seeds would decide if it is what it looks like" in held.claim
    assert "leaves out" not in lost.claim
    (ratio,) = judge([drafted("compute_multiplier", 0.2, 0.15, 0.06)])
    assert "that leaves out 1, but" in ratio.claim
    small, none = judge(
        [drafted("final_loss", 0.01, 0.005, 0.01, 0.02), drafted("final_loss", 0.0, 0.005, 0.9, 0.02)]
    )
    assert small.verdict == none.verdict == "equivalent"
    assert "told from 0, and still within the margin" in small.claim
    assert "told from" not in none.claim


def test_a_level_of_answers_lies_between_none_and_all() -> None:
    shares = [builders.exact(b) for b in ("1111111111", "1111111111", "1100000000")]
    e = finals.level(shares)
    assert (e.low, e.high) == (0.0, 1.0)
    assert e.value == pytest.approx(22 / 30)
    assert finals.complement(e).low == 0.0
    alone = finals.level([replace(share, n=10 + i) for i, share in enumerate(shares[:1])])
    assert alone.single_run


def test_a_withheld_verdict_is_undecided_says_why_and_stays_in_the_family() -> None:
    sure, less = drafted("exponent", 0.5, 0.1, 1e-4), drafted("exponent", 0.5, 0.4, 0.03)
    assert [f.verdict for f in judge([sure, less])] == ["ahead", "ahead"]
    withheld, judged = judge([replace(sure, withheld="the law does not describe these losses"), less])
    assert (withheld.verdict, withheld.seeds_needed) == ("undecided", None)
    assert withheld.claim.startswith("Undecided, a against b: ")
    assert withheld.claim.endswith("; no verdict is given: the law does not describe these losses.")
    # Two in the family: as if the other had been measured with p = 1.
    assert (judged.p_holm, judged.verdict) == (pytest.approx(0.06), "undecided")


def test_single_runs_do_not_ease_the_correction_of_the_others() -> None:
    alone = [drafted("final_loss", 0.5, 0.1, 1e-6) for _ in range(3)]
    alone = [replace(d, estimate=replace(d.estimate, single_run=True)) for d in alone if d.estimate]
    first, *_ = judge([drafted("final_loss", 0.2, 0.15, 0.04), *alone])
    assert first.p_holm == pytest.approx(0.16)
