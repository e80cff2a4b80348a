"""The section on tokens answers in words, draws what it says, and stands only where it is asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from compare.analysis.base import Results
from compare.analysis.blocks import Block, Callout, figures_of
from compare.analysis.tokens.quantities import QUANTITIES
from compare.calibrate import builders
from compare.report import build
from compare.store import manifest
from tests.compare.planted import tokens as planted
from tests.compare.reading import of_kind, section_of, visible

PLANTED, NAME = planted, "anatomy"


@pytest.fixture(scope="module")
def part(results: Results) -> list[Block]:
    return section_of(results, "tokens")


def test_the_named_contrasts_find_the_planted_truth(results: Results) -> None:
    found = {f.quantity: f for f in results.findings if f.primary}
    assert set(found) == set(QUANTITIES)
    assert {f.verdict for f in found.values()} == {"ahead"}
    assert found["extra_gain"].estimate == pytest.approx(0.1, abs=0.02)
    assert found["forking_excess"].estimate == pytest.approx(0.3)
    assert found["entropy_lag"].estimate == pytest.approx(0.35, abs=0.03)
    rest = [f for f in results.findings if not f.primary]
    assert {f.quantity for f in rest} >= {"extra_gain", "entropy_lag", "error_lag", "forking_excess"}
    keys = [(f.arm, f.baseline, f.quantity) for f in results.findings]
    assert len(set(keys)) == len(keys)


def test_the_answers_are_words_first(part: list[Block]) -> None:
    where, gains, phases = answers = list(of_kind(Callout, part))
    assert where.answer.startswith(
        "At the end of the warm start the fifth of tokens with the highest entropy holds 70% of all entropy: "
        "planning tokens are 20% of all tokens and 50% of that fifth; execution tokens are 50% of all tokens"
    )
    assert "After reinforcement learning (rl_grpo)" in where.answer
    assert "Planning tokens are over-represented" in where.answer
    assert "Against rl_random_tokens: gains more (rl_forking)." in gains.answer
    assert phases.answer.startswith("Yes (rl_grpo")
    assert all("Holm-adjusted p" in ground for answer in answers for ground in answer.grounds)


def test_page_and_markdown_hold_the_section(page: str) -> None:
    text = visible(page)
    assert "settle later than its execution tokens" in text
    assert "warm start, that of rl_grpo" in text


def test_every_figure_is_drawn_once_with_its_numbers_in_words(part: list[Block]) -> None:
    figures = list(figures_of(part))
    assert [figure.name.removeprefix("chain-anatomy-") for figure in figures] == [
        "survival",
        "classes",
        "gains",
        "entropy",
        "entropy-relabelled",
        "error",
        "error-relabelled",
    ]
    main, every = (
        {f"{arm}-{seed}" for arm in arms for seed in range(3)} for arms in (["rl_grpo"], planted.GAINS)
    )
    assert [set(figure.records) for figure in figures] == [every, main, every, main, main, main, main]
    spoken = [figure.svg for figure in figures]
    assert "warm start: 90% above 0.01 nats" in spoken[0]
    assert "planning, end: 20% of all tokens, 40% of the most uncertain fifth" in spoken[1]
    assert "half-fall at 60%" in spoken[3]


def test_a_run_without_classes_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    cells = tuple(planted.planned("rl_grpo", seed) for seed in range(2))
    manifest.dump(tmp_path, replace(planted.manifest(cells), contrasts=planted.CONTRASTS[2:]))
    classes = ("plan", "execute", "answer")
    columns = {
        k: v
        for k, v in planted.history(planted.times(0.6, 0.3)).items()
        if not any(f"_{c}" in k for c in classes)
    }
    for cell in cells:
        builders.write(tmp_path, builders.record(cell, (), history=columns))
    text = visible(build(tmp_path, "anatomy").read_text(encoding="utf-8"))
    assert "holds 70% of all entropy." in text
    assert "Not tested, its history has no classes of tokens, or fewer than 20 updates (rl_grpo)." in text
