"""A report of a search shows what was gained, every trial with its runs, and what could not be chosen."""

from pathlib import Path

import pytest

from compare.analysis.blocks import Bold, Fold, Mark, Number, Table
from compare.analysis.search.choice import choices
from compare.analysis.search.section import trials
from compare.report.page import write
from compare.store.evidence import Evidence, Trouble
from tests.compare.planted.search import evidence, planned_trial, run
from tests.compare.reading import of_kind, visible


@pytest.fixture
def searched() -> Evidence:
    """Arm a gains by its second trial; of arm b a run is missing; arm c failed throughout."""
    runs = [run(1, 0, 1.0), run(2, 0, 0.25), run(1, 0, 0.5, arm="b")]
    missing = Trouble(planned=planned_trial(2, 0, "b"), kind="missing", reason="not run")
    failed = Trouble(planned=planned_trial(1, 0, "c"), kind="failed", reason="diverged")
    return evidence(runs, (missing, failed))


def test_gains_and_every_trial_stand_in_tables(searched: Evidence) -> None:
    gains, every = of_kind(Table, trials(choices(searched)))
    (gain,) = gains.rows
    assert gain[:3] == ("a", "s", ("2 of 2",))  # every row of it is of a chosen trial
    assert gain[3:7] == ("size.lr=0.002", "loss", "1.0000", "0.2500")
    assert gain[7] == Number("+0.7500", 0.75)
    assert [row[0] for row in every.rows] == ["a", "a", "b", "b", "c"]
    assert [row[2] for row in every.rows[:2]] == [("1 of 2",), ("2 of 2", " ", Bold("chosen"))]
    assert every.rows[1][-1] == Mark(1, ("a-2-0",))
    assert every.rows[3][5:8] == ("–", "–", 0)
    assert every.rows[4][5:8] == ("–", "–", 1)
    assert next(of_kind(Fold, trials(choices(searched)))).summary == "All 5 trials"
    assert trials(()) == []


def test_page_and_markdown_show_the_trials(searched: Evidence, tmp_path: Path) -> None:
    path = write(searched, tmp_path)
    page, markdown = path.read_text(encoding="utf-8"), (path.parent / "report.md").read_text(encoding="utf-8")
    text = visible(page)
    for words in ("s, b: nothing chosen, 1 run is missing.", "s, c: nothing chosen, every trial failed."):
        assert words in text
        assert words in markdown
    assert "| a | s | 2 of 2 **chosen** | size.lr=0.002 | loss |" in markdown
    assert "| a | s | 2 of 2 | size.lr=0.002 | loss | 1.0000 | 0.2500 |" in markdown
    assert '<a href="#trials">Trials</a>' in page
