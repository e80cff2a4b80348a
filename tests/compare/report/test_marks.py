"""Every measured number of a report, in a table or a figure, is marked with the cells that it rests on."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from compare.report.page import write
from tests.compare.conftest import Plant
from tests.compare.planted import ceiling, energy, scaling, shift, thinking, tokens

STUDIES = {module.NAME: module for module in (scaling, ceiling, tokens, shift, thinking, energy)}
PLAIN = ("Cells", "Settings")
"""Tables of what is no measured number."""


def html_rows(page: str) -> Iterator[str]:
    """Rows of the tables of measured numbers."""
    boxes = re.findall(r'<div class="scroll"[^>]*aria-label="([^"]+)"[^>]*>(.*?)</table>', page, re.DOTALL)
    assert len(boxes) > 1
    for label, table in boxes:
        if label not in PLAIN:
            yield from re.findall(r"<tr>.*?</tr>", table.split("<tbody>")[1], re.DOTALL)


def markdown_rows(markdown: str) -> Iterator[str]:
    """The same, of the Markdown."""
    for table in re.findall(r"(?m)(?:^\|.*\n)+", markdown):
        head, _, *rows = table.splitlines()
        if not head.startswith(("| cell |", "| environment |", "| arm | study | size | settings |")):
            yield from rows


def unmarked(rows: Iterator[str], mark: str) -> list[str]:
    measured = [row for row in rows if "not measured" not in row]
    assert measured
    return [row for row in measured if not re.search(mark, row)]


@pytest.mark.parametrize("name", [*STUDIES, "isoflop"])
def test_every_row_and_figure_leads_to_its_cells(name: str, planted_study: Plant, tmp_path: Path) -> None:
    if name in STUDIES:
        path = planted_study(STUDIES[name]).page
    else:
        from tests.compare.analysis.scaling.test_axes import sizes_evidence

        path = write(sizes_evidence(), tmp_path)
    page = path.read_text(encoding="utf-8")
    assert unmarked(html_rows(page), r'class="rests"|href="#cell-') == []
    assert unmarked(markdown_rows((path.parent / "report.md").read_text(encoding="utf-8")), r"\(R\d+\)") == []
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert captions
    assert [caption for caption in captions if 'class="rests"' not in caption] == []
    assert set(re.findall(r'href="#(R\d+)"', page)) == set(re.findall(r'<details id="(R\d+)"', page))
