"""The section on decay answers in words, draws what it says, and appears only where asked for."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from compare.analysis import registry
from compare.analysis.analyse import analyse
from compare.analysis.base import Results
from compare.analysis.blocks import Block, Callout, Fold, Heading, Table, figures_of
from compare.analysis.findings import Finding
from compare.analysis.quantity import check_contrasts
from compare.analysis.shift.section import lean
from compare.analysis.text import interval_text
from compare.stats.intervals import Estimate
from compare.store import evidence, manifest
from compare.store.manifest import Contrast
from tests.compare.planted import scaling
from tests.compare.planted import shift as planted
from tests.compare.reading import of_kind, section_of, visible

PLANTED, NAME = planted, "ood"


@pytest.fixture(scope="module")
def part(results: Results) -> list[Block]:
    return section_of(results, "shift")


def test_the_named_contrasts_find_the_planted_truth(results: Results) -> None:
    found = [f for f in results.findings if f.primary]
    slower, faster, kept, floor, grows = found
    assert (slower.verdict, slower.estimate) == ("ahead", pytest.approx(0.1 - 0.3, abs=0.01))
    assert faster.verdict == "behind"
    assert (kept.axis, kept.verdict) == ("element", "behind")
    assert floor.axis == "format"
    assert floor.verdict != "ahead"
    assert (grows.verdict, grows.estimate) == ("ahead", pytest.approx(1, abs=0.1))


def test_what_was_named_is_not_explored_again_and_the_rest_is(results: Results) -> None:
    keys = [(f.arm, f.baseline, f.quantity, f.axis) for f in results.findings]
    assert len(set(keys)) == len(keys)
    rest = {(f.arm, f.quantity, f.axis) for f in results.findings if not f.primary}
    assert ("rl_grpo", "decay_slope", "format") in rest
    assert ("ebt_s1", "thinking_shift_loss", "") not in rest  # one effort only has a loss
    assert ("ebt_s1", "decay_slope_loss", "element") in rest
    assert all(f.margin == 0 for f in results.findings if not f.primary)


def test_the_answers_are_words_first(part: list[Block]) -> None:
    slopes, shares, losses, gains, plans = of_kind(Callout, part)
    assert slopes.answer.startswith("Of 4 comparisons: 1 slower, 1 faster, 2 undecided. ")
    assert "Against transformer. Along element: slower (ebt_s1); faster (rl_grpo)." in slopes.answer
    assert "Along element: less (rl_grpo); more (ebt_s1)." in shares.answer
    # All losses rise alike, to the last digit of a float.
    assert losses.answer.startswith("Of 4 comparisons: 4 undecided. ")
    assert gains.answer == "Gain in exact answers: grows with the shift (ebt_s1)."
    assert "Along element: rather the plan (transformer, ebt_s1, rl_grpo)." in plans.answer
    for answer in (slopes, shares, gains):
        assert any("named beforehand" in ground for ground in answer.grounds)
        assert all(re.search(r"95% interval .+ Holm-adjusted p ", ground) for ground in answer.grounds)


def test_page_and_markdown_hold_the_section(
    page: str, plain: str, results: Results, part: list[Block]
) -> None:
    text = visible(page)
    (fold,) = of_kind(Fold, part)
    assert fold.summary == "What went wrong, by severity: answer, plan, execution, chain, edit"
    (shift,) = (study.measured["shift"] for study in results.studies)
    for decay in (decay for arm in shift.arms for decay in arm.decays):
        shown = (decay.levels[0], decay.levels[-1], *decay.worse, *decay.increases[1:])
        for e in (*shown, decay.slope, *([decay.retained] if decay.retained else [])):
            assert interval_text(e) in text
            assert interval_text(e) in plain
    # The tables of every task keep to what every task has.
    assert "plan 1 (" not in text
    assert "exact 0.9 (greedy)" in text


def test_every_figure_is_drawn_once_with_its_numbers_in_words(part: list[Block]) -> None:
    figures = list(figures_of(part))
    names = [figure.name for figure in figures]
    assert names == [
        "letters-ood-map",
        "letters-ood-element-exact",
        "letters-ood-element-loss",
        "letters-ood-format-exact",
        "letters-ood-format-loss",
        "letters-ood-thinking-exact",
    ]
    drawn = figures[0].svg
    # Every cell in words: .9, .6, .3, 0 and .9, .01, 0, each .01 higher over three seeds.
    assert "transformer: element 0 0.91, element 1 0.61, element 2 0.31, element 3 0.01" in drawn
    assert "think_2 over think_1" not in drawn
    assert "ebt_s1: element 0 +0, element 1 +0.02" in figures[-1].svg


def test_cells_of_the_map_are_as_opaque_as_their_levels(part: list[Block]) -> None:
    """Which the text over them needs on light and on dark paper alike."""
    svg = next(figures_of(part)).svg
    opacities = [float(x) for x in re.findall(r"fill: #0072b2; opacity: ([0-9.]+)", svg)]
    assert max(opacities) == pytest.approx(0.6 * 0.91, abs=1e-3)
    assert len(opacities) >= 3 * 6 - 4  # cells at 0 have none


def test_what_every_shift_adds_stands_in_a_table_of_every_experiment(tmp_path: Path) -> None:
    store = scaling.store(tmp_path, seeds=2, trouble=False)
    found = analyse(evidence.collect(store, manifest.load(store, "scaling")), draws=20)
    heading, _, table = section_of(found, "shift")
    assert isinstance(heading, Heading)
    assert isinstance(table, Table)
    assert (heading.anchor, heading.level) == ("shift", 2)
    keys = [
        tuple(row[table.columns.index(name)] for name in ("study", "arm", "metric")) for row in table.rows
    ]
    assert len(keys) == len(set(keys)) == 3 + 2 * 4
    assert {row[table.columns.index("FLOPs")] for row in table.rows} == {"1e13"}


def test_errors_stand_beside_those_of_blind_guesses(part: list[Block]) -> None:
    errors = next(t for t in of_kind(Table, part) if t.label.startswith("Errors"))
    places = [errors.columns.index(name) for name in ("axis", "severity", "arm", "answer, guessed")]
    guessed = {
        (a, s, getattr(arm, "text", arm)): e for a, s, arm, e in ([r[p] for p in places] for r in errors.rows)
    }
    assert guessed["none", 0, "ebt_s1"] == guessed["element", 3, "rl_grpo"] == "0.750"
    assert guessed["format", 2, "ebt_s1"] == "0.875"
    # Its records are older than that they tell.
    assert guessed["format", 2, "transformer"] == "–"


def test_whole_texts_stand_in_a_table_where_a_task_scores_them(part: list[Block]) -> None:
    whole = next(t for t in of_kind(Table, part) if t.label == "Whole texts")
    columns = [whole.columns.index(name) for name in ("axis", "severity", "exact", "edit distance", "BLEU")]
    rows = [[row[c] for c in columns] for row in whole.rows]
    assert len(rows) == 3 * 6
    assert rows[0] == ["none", 0, "1.000 [1.000, 1.000]", "0.000 [0.000, 0.000]", "1.000 [1.000, 1.000]"]
    assert ["format", 2, "0.400 [0.400, 0.400]", "0.100 [0.100, 0.100]", "0.600 [0.600, 0.600]"] in rows


def test_a_single_seed_is_drawn_and_decides_nothing(tmp_path: Path) -> None:
    planted.store(tmp_path, seeds=1)
    found = analyse(evidence.collect(tmp_path, manifest.load(tmp_path, "ood")), draws=20)
    slopes, *_ = of_kind(Callout, section_of(found, "shift"))
    assert slopes.answer.startswith("Of 4 comparisons: 4 undecided.")


def test_a_manifest_written_before_there_was_an_axis_is_read(tmp_path: Path) -> None:
    path = manifest.dump(tmp_path, scaling.manifest(scaling.plan(seeds=1)))
    raw = json.loads(path.read_text())
    for contrast in raw["contrasts"]:
        del contrast["axis"]
    path.write_text(json.dumps(raw))
    assert {contrast.axis for contrast in manifest.load(tmp_path, "scaling").contrasts} == {""}


def test_contrasts_of_decay_have_their_baselines() -> None:
    arms = {("s", arm) for arm in ("ebt_s1", "transformer")}
    good = Contrast(
        study="s", arm="ebt_s1", baseline="transformer", quantity="decay_slope", margin=0.1, axis="blanks"
    )
    check_contrasts((good,), arms, 0.0, registry.quantities())
    thinking = replace(good, baseline="severity", quantity="thinking_shift", axis="")
    check_contrasts((thinking,), arms, 0.0, registry.quantities())
    for changes, message in (
        ({"quantity": "final_error"}, "axis blanks goes with"),
        (
            {"baseline": "severity"},
            "baseline severity goes with thinking_shift, thinking_shift_loss, not with",
        ),
        ({"baseline": "ebt_s1"}, "its baseline is the arm itself"),
        ({"quantity": "thinking_shift"}, "thinking_shift goes with baseline severity"),
        ({"severity": 1}, "severity goes with .*final_error.*, not with decay_slope"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            check_contrasts((replace(good, **changes),), arms, 0.0, registry.quantities())
        assert "\n" not in str(error.value)


def test_what_fails_in_words() -> None:
    def said(value: float, low: float, high: float) -> str:
        return lean(Estimate(value=value, low=low, high=high, p=0.5, n=3, single_run=False))

    assert said(0.2, 0.1, 0.3) == "rather the plan"
    assert said(-0.2, -0.3, -0.1) == "rather the execution"
    assert said(0.2, -0.1, 0.5) == "undecided"
    assert said(0.0, 0.0, 0.0) == "both alike"


def test_a_finding_names_its_axis(results: Results) -> None:
    found: list[Finding] = [f for f in results.findings if f.quantity == "decay_slope"]
    assert {f.axis for f in found} == {"element", "format"}
    assert all(f"axis {f.axis}" in f.claim for f in found)
