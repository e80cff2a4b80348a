"""The section on thinking answers in words, draws every ladder, and stands only where it is asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from compare.analysis.scaling import measure as scaling
from compare.analysis.thinking.chain import chain_pairs
from compare.analysis.thinking.section import Section, sections
from compare.report import build
from compare.store import manifest
from compare.store.evidence import Run
from tests.compare.planted import planted_thinking as planted
from tests.compare.planted import synthetic
from tests.compare.reading import draws_once, says_the_answers, visible

PLANTED, NAME = planted, "thinking"


@pytest.fixture(scope="module")
def part(results: scaling.Results, look: dict[str, tuple[str, str]]) -> Section:
    found, chained = sections(results, look)
    assert (found.name, chained.name) == ("sudoku", "sudoku_chain")
    assert not chained.chains
    return found


def test_the_answers_are_words_first(part: Section) -> None:
    who, more, better, oracle, chain = part.answers
    assert "an arm: gains (transformer +0.09" in who.answer
    assert "gains nothing beyond the margin (ebt_s1 0.000)" in who.answer
    assert more.answer.startswith("Against transformer: gains less (ebt_s1 −0.09")
    assert "worse (ebt_s1 −0.1" in better.answer
    assert "not measured (rl_grpo)" in better.answer
    assert "transformer +0.359" in oracle.answer
    assert "transformer at severity 1 +0.2" in oracle.answer
    assert chain.question == "What does thinking in a chain gain (sudoku_chain less sudoku)?"
    assert "at 2.0 times the FLOPs an answer; transformer at severity 1 −0.002, 95% interval" in chain.answer
    assert all("Holm-adjusted p" in ground for answer in part.answers for ground in answer.grounds)
    assert "ebt_s1, thinking longer, and its cheapest effort are equivalent within" in who.grounds[1]


def test_a_chain_is_compared_on_the_problems_it_shares(part: Section, results: scaling.Results) -> None:
    (pair,) = part.chains
    assert (pair.plain, pair.chain) == ("sudoku", "sudoku_chain")
    (row, shifted) = pair.rows
    assert (row.arm, row.severity, shifted.severity) == ("transformer", 0, 1)
    assert row.gain.value == pytest.approx(row.with_chain - row.without)
    assert row.gain.value == pytest.approx(0.2, abs=0.04)
    assert row.gain.low > 0.1
    assert row.flops_with == 2 * row.flops_without
    assert shifted.gain.low < 0 < shifted.gain.high
    runs = results.evidence.runs
    assert not chain_pairs((("sudoku", runs[:3]), ("other", runs[:3])))  # no chain in either
    bare = tuple(Run(planned=r.planned, record=replace(r.record, config={})) for r in runs)
    assert not chain_pairs((("sudoku", bare), ("sudoku_chain", bare)))


def test_page_and_markdown_hold_the_section(page: str, plain: str, part: Section) -> None:
    says_the_answers(page, plain, part.answers)
    text = visible(page)
    assert "likelihood@16 (10 of 10)" in text
    assert "it has one way to answer" in text
    assert "shared range 2e6 to 1e7 FLOPs an answer" in text


def test_every_figure_is_drawn_once_with_its_numbers_in_words(store: Path, page: str, part: Section) -> None:
    assert [figure.name for figure in part.figures] == ["sudoku-thinking", "sudoku-thinking-blanks-1"]
    draws_once(page, store / "reports" / NAME / "figures", part.figures)
    assert "rl_grpo 0.6" in part.figures[0].svg
    assert "(likelihood@16)" in part.figures[0].svg


def test_an_experiment_that_asks_for_no_thinking_has_no_such_section(tmp_path: Path) -> None:
    page = build(synthetic.store(tmp_path, trouble=False), "scaling").read_text(encoding="utf-8")
    assert 'id="thinking"' not in page


def test_a_store_without_finished_runs_still_gives_a_page(tmp_path: Path) -> None:
    cells = tuple(planted.planned(arm, 0) for arm in planted.LADDERS)
    manifest.dump(tmp_path, synthetic.manifest(cells, contrasts=planted.CONTRASTS, name="thinking"))
    text = visible(build(tmp_path, "thinking").read_text(encoding="utf-8"))
    assert "No finished run of this study was evaluated." in text
    assert "could not be measured (no finished run was evaluated;" in text
