"""Reading a report as its reader does, and what the section of every readout must hold."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from compare.analysis.ceiling.words import Answer
from compare.analysis.drawing import Figure


def visible(page: str) -> str:
    """Text of a page without tags, styles and script, entities resolved."""

    class Reader(HTMLParser):
        text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Reader()
    reader.feed(re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL))
    return " ".join(reader.text.split())


def says_the_answers(page: str, markdown: str, answers: Sequence[Answer]) -> None:
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
