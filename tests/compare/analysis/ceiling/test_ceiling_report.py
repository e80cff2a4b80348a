"""The section on the ceiling answers in words, draws what it says, and appears only where asked for."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from compare.analysis import registry
from compare.analysis.base import Results
from compare.analysis.blocks import Block, Callout, figures_of
from compare.analysis.ceiling.measure import CeilingStudy
from compare.analysis.ceiling.quantities import FORECASTS, QUANTITIES
from compare.analysis.ceiling.section import possibility
from compare.analysis.findings import Finding
from compare.analysis.quantity import check_contrasts
from compare.analysis.text import interval_text
from compare.calibrate import builders
from compare.report import build
from compare.stats.intervals import Estimate
from compare.store import manifest
from compare.store.manifest import Contrast
from tests.compare.planted import ceiling as planted
from tests.compare.planted import scaling
from tests.compare.reading import of_kind, section_of, visible

PLANTED, NAME = planted, "ceiling"


@pytest.fixture(scope="module")
def part(results: Results) -> list[Block]:
    return section_of(results, NAME)


def named(results: Results) -> dict[tuple[str, str, str], Finding]:
    return {(f.arm, f.baseline, f.quantity): f for f in results.findings if f.primary}


def test_the_named_contrasts_find_the_planted_truth(results: Results) -> None:
    found = named(results)
    assert len(found) == len(planted.CONTRASTS)
    assert found["rl_grpo", "warm_start", "entropy_held"].verdict == "behind"
    assert found["rl_kl_cov", "rl_grpo", "entropy_held"].verdict == "ahead"
    moved = found["rl_kl_cov", "rl_grpo", "ceiling"]
    assert moved.low < 0.1 < moved.high
    assert found["ebt_s1", "rl_grpo", "above_ceiling"].verdict == "ahead"
    assert found["transformer", "rl_grpo", "above_ceiling"].verdict == "equivalent"
    assert found["rl_grpo", "carry_last", "forecast_error"].verdict == "ahead"


def test_the_rest_is_explored_and_nothing_twice(results: Results) -> None:
    rest = [f for f in results.findings if not f.primary]
    keys = [(f.arm, f.baseline, f.quantity) for f in results.findings]
    assert len(set(keys)) == len(keys)
    # The one difference of ceilings that there is was named beforehand.
    assert {f.quantity for f in rest} & set(QUANTITIES) == set(QUANTITIES) - {"ceiling"}
    assert {f.baseline for f in rest if f.quantity == "forecast_error"} == set(FORECASTS)
    assert all(f.margin == 0 for f in rest)


def test_the_answers_are_words_first(part: list[Block]) -> None:
    answers = list(of_kind(Callout, part))
    collapse, held, moved, possible, passed = answers
    assert collapse.answer == "Collapsed (rl_grpo); fell, without collapsing (rl_kl_cov)."
    assert held.answer == "Against rl_grpo: keeps more (rl_kl_cov)."
    assert moved.question == "Did managing entropy move the ceiling?"
    assert "Ceilings: possible" in possible.answer
    assert "No verdict on its ceiling (rl_kl_cov)." in possible.answer
    assert "Against carry last: better (rl_grpo); undecided (rl_kl_cov)." in possible.answer
    assert "ebt_s1, against the ceiling of each: above it (rl_grpo)" in passed.answer
    assert "transformer, against the ceiling of each: level with it (rl_grpo)" in passed.answer
    for answer in answers:
        assert any("named beforehand" in ground for ground in answer.grounds)
        assert all(re.search(r"95% interval .+ Holm-adjusted p ", ground) for ground in answer.grounds)


def test_page_and_markdown_hold_the_section(page: str, plain: str, results: Results) -> None:
    text, measured = visible(page), results.studies[0].measured[NAME]
    assert isinstance(measured, CeilingStudy)
    for arm in measured.arms:
        assert possibility(arm.ceiling) in text
        a = arm.mean(lambda fit: fit.law.a if fit.law else None)
        for e in (a, arm.ceiling, arm.end_reward, *map(arm.error, ("law", *FORECASTS))):
            assert e is not None
            for form in (text, plain):
                assert interval_text(e) in form
    assert "first 36% of its reinforcement learning" in text
    assert "a line in H is not ruled out, and its ceiling is" in text
    assert "no forecast: b - a exp(H), told the entropy" in text
    assert re.search(r"0\.\d{3} on rl_kl_cov", text)
    for share in ("5%", "15%", "36%"):
        assert f"frozen at {share}" in text
    assert "first 15%" in text
    assert "72 of 200" in text


def test_every_figure_is_drawn_once_with_its_numbers_in_words(page: str, part: list[Block]) -> None:
    figures = list(figures_of(part))
    names = [figure.name for figure in figures]
    assert names == [
        "addition-ceiling-entropy",
        "addition-ceiling-rl_grpo",
        "addition-ceiling-rl_kl_cov",
        "addition-ceiling-errors",
    ]
    assert "ceiling 0.7" in figures[1].svg
    trained = [f"{arm}-{seed}" for arm in planted.ARMS for seed in range(3)]
    assert set(figures[0].records) == set(figures[3].records) == set(trained)
    assert {cell.rsplit("-", 1)[0] for cell in figures[1].records} == {"rl_grpo", *planted.LEVELS}
    # Entropy against steps would say it twice.
    assert "addition-entropy" not in page


def test_a_run_that_cannot_be_fitted_is_named_in_the_report(tmp_path: Path) -> None:
    cells = tuple(planted.planned("rl_grpo", seed) for seed in range(2))
    manifest.dump(tmp_path, replace(planted.manifest(cells), contrasts=()))
    flat = planted.history(planted.falling(0.5), planted.falling(1.0))
    for cell in cells:
        builders.write(tmp_path, builders.record(cell, (), history=flat))
    text = visible(build(tmp_path, "ceiling").read_text(encoding="utf-8"))
    assert "rl_grpo, seed 0: reward is constant where the law is fitted" in text
    assert "not fitted" in text
    assert "nan" not in text.lower()


def test_possibility_in_words() -> None:
    def words(value: float, low: float, high: float) -> str:
        return possibility(Estimate(value=value, low=low, high=high, p=1.0, n=3, single_run=False))

    assert words(0.8, 0.7, 0.9) == "possible"
    assert words(0.8, 0.7, 1.1) == "possible, its interval reaches beyond [0, 1]"
    assert words(1.2, 0.9, 1.5) == "impossible as fitted, its interval reaches into [0, 1]"
    assert words(1.2, 1.1, 1.3) == "impossible at 95% confidence"
    assert words(-0.2, -0.3, -0.1) == "impossible at 95% confidence"
    assert possibility(None) == "not fitted"


def test_a_manifest_written_before_there_was_a_share_is_read(tmp_path: Path) -> None:
    path = manifest.dump(tmp_path, scaling.manifest(scaling.plan(seeds=1)))
    raw = json.loads(path.read_text())
    del raw["fit_share"]
    path.write_text(json.dumps(raw))
    assert manifest.load(tmp_path, "scaling").fit_share == 0


def test_the_contrasts_of_entropy_need_a_share() -> None:
    arms = {("s", arm) for arm in ("rl_grpo", "rl_kl_cov", "ebt_s1")}

    def check(arm: str, baseline: str, quantity: str, share: float = 0.36) -> None:
        one = Contrast(study="s", arm=arm, baseline=baseline, quantity=quantity, margin=0.1)
        check_contrasts((one,), arms, share, registry.quantities())

    for good in (
        ("rl_grpo", "warm_start", "entropy_held"),
        ("rl_kl_cov", "rl_grpo", "entropy_held"),
        ("rl_kl_cov", "rl_grpo", "ceiling"),
        ("ebt_s1", "rl_grpo", "above_ceiling"),
        ("rl_grpo", "carry_last", "forecast_error"),
    ):
        check(*good)
        with pytest.raises(ValueError, match="needs fit_share"):
            check(*good, share=0.0)
    with pytest.raises(ValueError, match="fit_share=1"):
        check_contrasts((), arms, 1.0, registry.quantities())
