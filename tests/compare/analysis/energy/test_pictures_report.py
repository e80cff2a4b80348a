"""The section on thinking answers in words, draws boards and courses, and stands only on traces."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare.analysis.base import Results
from compare.analysis.blocks import Block, Bold, Figures, Table
from compare.analysis.drawing import Figure
from compare.analysis.energy.figures import boards, chosen_steps
from compare.analysis.energy.section import answers, differences
from compare.calibrate import builders
from compare.report import build
from compare.store import manifest
from tests.compare.planted import energy as planted
from tests.compare.reading import of_kind, section_of, visible

PLANTED, NAME = planted, "pictures"


@pytest.fixture(scope="module")
def section(results: Results) -> list[Block]:
    return section_of(results, "energy")


@pytest.fixture(scope="module")
def drawn(section: list[Block]) -> dict[str, Figure]:
    return {figure.name: figure for group in of_kind(Figures, section) for figure in group.figures}


def test_the_answers_are_words_first(results: Results) -> None:
    sudoku = next(study for study in results.studies if study.cohort.study == "sudoku")
    right, more, falls = answers(sudoku.measured["energy"])
    assert "es (ebt_s1 in distribution)" in right.answer
    assert "ndecided (ebt_one_step in distribution)" in right.answer
    assert "ot measured (ebt_s1 at blanks 1, ebt_one_step at blanks 1)" in right.answer
    assert "Of the fifth of answers with the lowest energy" in right.answer
    assert any("1 of 60 answers are right, and at least 5" in ground for ground in right.grounds)
    assert any("Holm-adjusted p" in ground for ground in right.grounds)
    assert "ore (ebt_s1 in distribution)" in more.answer
    assert falls.answer.startswith("It falls (ebt_s1 in distribution, solved")
    assert falls.grounds[0].startswith(
        "ebt_s1 in distribution, solved: energy at the start less that at the end"
    )


def test_page_and_markdown_hold_the_section(page: str, plain: str, section: list[Block]) -> None:
    text = visible(page)
    for words in (
        "How it is measured",
        "not measured: too few answers",
        "ebt_s1 in distribution: the first failed problem",
    ):
        assert words in text
        assert words in plain
    arms = {str(row[0].text) for table in of_kind(Table, section) for row in table.rows}  # type: ignore[union-attr]
    assert {"ebt_s1", "ebt_one_step"} <= arms
    assert "transformer" not in arms


def test_every_figure_is_drawn_once_with_its_numbers_in_words(drawn: dict[str, Figure]) -> None:
    prefix = "sudoku-pictures-ebt_s1-"
    assert [name.removeprefix(prefix) for name in drawn if name.startswith(prefix)] == [
        "blanks-0-course",
        "blanks-1-course",
        "blanks-0-boards",
        "blanks-1-boards",
        "calibration",
    ]
    said = {name: figure.svg for name, figure in drawn.items()}
    board = said["sudoku-pictures-ebt_s1-blanks-0-boards"]
    # Planted: cells 1, 3, 4, 6, 15 are wrong at the start, then 4, 6, 15, in the end none, or the last one.
    assert "solved in the end: start: 5 wrong, step 1: 2 cells changed, 3 wrong" in board
    assert "step 2: 3 cells changed, 0 wrong; failed in the end: start: 5 wrong" in board
    assert "step 2: 2 cells changed, 1 wrong" in board
    course = said["sudoku-pictures-ebt_s1-blanks-0-course"]
    assert "solved problems (90)" in course
    assert "entropy from 2 to 0.3 nats per token" in course
    assert (
        "% right, from the lowest to the highest fifth by energy"
        in said["sudoku-pictures-ebt_s1-calibration"]
    )
    assert not any(name.startswith("addition") and name.endswith("boards") for name in drawn)


def test_energies_of_seeds_are_drawn_from_a_common_zero(drawn: dict[str, Figure]) -> None:
    """Planted offsets of 0, 100, 200 between the seeds must not show; solved start 1 - 2 above failed."""
    course = drawn["sudoku-pictures-ebt_s1-blanks-0-course"].svg
    starts = [float(part.split(" ")[0]) for part in course.split("energy from ")[1:3]]
    assert starts[0] == pytest.approx(-0.5, abs=0.3)
    assert starts[1] == pytest.approx(0.5, abs=0.3)


def test_a_step_marks_what_it_changed(page: str) -> None:
    assert differences("640.", "944.") == (Bold("6"), "4", Bold("0"), ".")
    assert differences("640.", None) == ("640.",)
    assert differences("12", "1") == ("1", Bold("2"))
    assert "<code><b>6</b>4<b>0</b>.</code>" in page


def test_boards_are_read_after_a_chain_and_from_short_answers() -> None:
    plain = planted.board(correct=True)
    assert boards(plain, 16)[-1] == planted.SOLUTION
    # A start may hold the sign that opens an answer; without a chain it means nothing.
    odd = replace(plain, completions=(">" * 17, *plain.completions[1:]))
    assert boards(odd, 16)[0] == ">" * 16
    chained = replace(
        plain,
        reference="Ab2>" + planted.SOLUTION + ".",
        completions=("Ab9>" + "1" * 17, "Ab2>" + planted.SOLUTION + ".", "Ab2>" + planted.SOLUTION + "."),
    )
    assert boards(chained, 16) == ["1" * 16, planted.SOLUTION, planted.SOLUTION]
    short = replace(plain, completions=("12.", "12.", "12."))
    assert boards(short, 16)[-1] == "12.".ljust(16)


@pytest.mark.parametrize(
    ("entries", "most", "steps"),
    [(2, 8, [0, 1]), (1, 8, [0]), (8, 8, [*range(8)]), (17, 6, [0, 3, 6, 10, 13, 16])],
)
def test_the_start_and_the_end_are_always_shown(entries: int, most: int, steps: list[int]) -> None:
    assert chosen_steps(entries, most) == steps


def test_a_long_descent_is_shown_in_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = tuple(planted.planned("ebt_s1", seed) for seed in range(2))
    for cell in cells:
        base = planted.descent(1.0, rng)
        long = 24
        courses = tuple(
            replace(
                c,
                energy=tuple(np.linspace(4, c.energy[-1], long + 1).tolist()),
                energy_sd=(1.0,) * (long + 1),
                entropy=(1.0,) * (long + 1),
                entropy_sd=(0.1,) * (long + 1),
            )
            for c in base.courses
        )
        shown = tuple(planted.board(c, steps=long) for c in (False, True))
        trace = replace(base, courses=courses, examples=shown)
        builders.write(tmp_path, planted.record(cell, (trace,), kind="sudoku", side=4))
    manifest.dump(tmp_path, planted.manifest(cells))
    text = visible(build(tmp_path, "pictures").read_text(encoding="utf-8"))
    assert "Not every step is shown." in text


def test_one_run_is_never_more_than_undecided(tmp_path: Path) -> None:
    planted.store(tmp_path, seeds=1)
    text = visible(build(tmp_path, "pictures").read_text(encoding="utf-8"))
    assert "Undecided, a single run (ebt_s1 in distribution" in text
    assert "inf" not in text.replace("information", "")
    assert "nan" not in text.lower()


def test_all_right_is_said_to_be_unmeasured(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = tuple(planted.planned("ebt_s1", seed) for seed in range(2))
    for cell in cells:
        trace = planted.descent(1.0, rng, right=1.0)
        builders.write(tmp_path, planted.record(cell, (trace,), kind="sudoku", side=4))
    manifest.dump(tmp_path, planted.manifest(cells))
    text = visible(build(tmp_path, "pictures").read_text(encoding="utf-8"))
    assert "Does low energy mean right? Not measured (ebt_s1 in distribution)." in text
    assert "60 of 60 answers are right" in text
    assert "solved in the end" in text
    assert "failed in the end" not in text


def test_runs_of_another_number_of_steps_do_not_break_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = tuple(planted.planned("ebt_s1", seed) for seed in range(2))
    for cell in cells:
        trace = planted.descent(1.0, rng)
        if cell.seed == 1:
            courses = tuple(
                replace(
                    c,
                    energy=c.energy[1:],
                    energy_sd=c.energy_sd[1:],
                    entropy=c.entropy[1:],
                    entropy_sd=c.entropy_sd[1:],
                )
                for c in trace.courses
            )
            trace = replace(trace, courses=courses, examples=())
        builders.write(tmp_path, planted.record(cell, (trace,), kind="sudoku", side=4))
    manifest.dump(tmp_path, planted.manifest(cells))
    assert "Pictures of thinking" in visible(build(tmp_path, "pictures").read_text(encoding="utf-8"))
