"""Reading a report as its reader does, and what the section of every readout must hold."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar

from compare.analysis import drawing
from compare.analysis.analyse import analyses
from compare.analysis.base import Results
from compare.analysis.blocks import Block, Callout, Fold
from compare.analysis.drawing import Figure

B = TypeVar("B")


def section_of(results: Results, name: str) -> list[Block]:
    """The section of one analysis."""
    look = drawing.colours(cell.arm for cell in results.evidence.manifest.cells)
    studies = [(study.cohort, study.measured[name]) for study in results.studies]
    return analyses()[name].section(studies, results.findings, look)


def of_kind(kind: type[B], blocks: Sequence[Block]) -> Iterator[B]:
    """The blocks of one kind, those within folds too."""
    for block in blocks:
        if isinstance(block, kind):
            yield block
        if isinstance(block, Fold):
            yield from of_kind(kind, block.blocks)


def visible(page: str) -> str:
    """Text of a page without tags, styles and script, entities resolved."""

    class Reader(HTMLParser):
        text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Reader()
    reader.feed(re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL))
    return " ".join(reader.text.split())


def says_the_answers(page: str, markdown: str, answers: Sequence[Callout]) -> None:
    """Assert that page and Markdown hold every question, answer and ground, and that no number is missing."""
    text = visible(page)
    assert answers
    for answer in answers:
        for words in (answer.question, answer.answer, *answer.grounds):
            assert " ".join(words.split()) in text
            assert " ".join(words.split()) in markdown
    assert "nan" not in text.lower()


def draws_once(page: str, folder: Path, figures: Sequence[Figure]) -> None:
    """Assert that every figure is whole, stands in the page once, and lies beside the Markdown."""
    assert figures
    for figure in figures:
        ElementTree.fromstring(figure.svg)
        assert (folder / f"{figure.name}.svg").exists()
        assert page.count(f'id="figure-{figure.name}"') == 1
