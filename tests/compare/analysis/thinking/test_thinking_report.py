"""The section on thinking answers in words, draws every ladder, and stands only where it is asked for."""

from dataclasses import replace

import pytest

from compare.analysis.base import Results
from compare.analysis.blocks import Block, Callout, Heading, Table, figures_of
from compare.analysis.thinking.chain import ChainPair, chain_pairs
from compare.store.evidence import Run
from tests.compare.planted import thinking as planted
from tests.compare.reading import of_kind, section_of, visible

PLANTED, NAME = planted, "thinking"


@pytest.fixture(scope="module")
def part(results: Results) -> list[Block]:
    """What the section shows of the study without chains."""
    section = section_of(results, NAME)
    names = [block.text if isinstance(block, Heading) else "" for block in section]
    assert names[:2] == ["Thinking longer", "sudoku"]
    own, chained = section[: names.index("sudoku_chain")], section[names.index("sudoku_chain") :]
    assert len(list(of_kind(Callout, chained))) == 4  # none on chains
    return own


@pytest.fixture(scope="module")
def pair(results: Results) -> ChainPair:
    (found,) = chain_pairs([study.cohort for study in results.studies])
    return found


def test_the_answers_are_words_first(part: list[Block]) -> None:
    answers = who, more, better, oracle, chain = tuple(of_kind(Callout, part))
    assert "an arm: gains (transformer +0.09" in who.answer
    assert "gains nothing beyond the margin (ebt_s1 0.000)" in who.answer
    assert more.answer.startswith("Against transformer: gains less (ebt_s1 −0.09")
    assert "worse (ebt_s1 −0.1" in better.answer
    assert "not measured (rl_grpo)" in better.answer
    assert "transformer +0.359" in oracle.answer
    assert "transformer at severity 1 +0.2" in oracle.answer
    assert chain.question == "What does thinking in a chain gain (sudoku_chain less sudoku)?"
    assert "at 2.0 times the FLOPs per answer; transformer at severity 1 −0.002, 95% interval" in chain.answer
    assert all("Holm-adjusted p" in ground for answer in answers for ground in answer.grounds)
    assert "ebt_s1, thinking longer, and its cheapest effort are equivalent within" in who.grounds[1]


def test_a_chain_is_compared_on_the_problems_it_shares(pair: ChainPair, results: Results) -> None:
    assert (pair.plain, pair.chain) == ("sudoku", "sudoku_chain")
    (row, shifted) = pair.rows
    assert (row.arm, row.place[1], shifted.place[1]) == ("transformer", 0, 1)
    assert row.gain.value == pytest.approx(row.exact[0] - row.exact[1])
    assert row.gain.value == pytest.approx(0.2, abs=0.04)
    assert row.gain.low > 0.1
    assert row.flops[0] == 2 * row.flops[1]
    assert shifted.gain.low < 0 < shifted.gain.high
    plain, chained = (study.cohort for study in results.studies)
    assert len(row.matched.cells) == len(plain.of("transformer")) + len(chained.of("transformer"))
    assert not chain_pairs([plain, replace(plain, study="other")])  # no chain in either
    bare = tuple(Run(planned=r.planned, record=replace(r.record, config={})) for r in plain.runs)
    assert not chain_pairs([replace(plain, runs=bare), chained])


def test_page_and_markdown_hold_the_section(page: str) -> None:
    text = visible(page)
    assert "likelihood@16 (10 of 10)" in text
    assert "it has one way to answer" in text
    assert "shared range 2e6 to 1e7 FLOPs per answer" in text


def test_every_figure_is_drawn_once_with_its_numbers_in_words(part: list[Block]) -> None:
    figures = list(figures_of(part))
    assert [figure.name for figure in figures] == ["sudoku-thinking", "sudoku-thinking-blanks-1"]
    assert "rl_grpo 0.6" in figures[0].svg
    assert "(likelihood@16)" in figures[0].svg


def test_every_way_to_answer_stands_in_a_table_with_oracles_marked(results: Results) -> None:
    table = list(of_kind(Table, section_of(results, NAME)))[-1]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    own = [row for row in rows if (row["study"], row["severity"]) == ("sudoku", 0)]
    # One way to answer is none to choose from: rl_grpo is left out.
    assert {row["arm"] for row in own} == {"transformer", "ebt_s1", "looped"}
    efforts = [row["effort"] for row in own if row["arm"] == "transformer"]
    assert efforts[0] == "greedy"
    assert "sample" in efforts
    assert "oracle@16 (oracle)" in efforts
    assert {row["metric"] for row in rows} == {"answer error"}
