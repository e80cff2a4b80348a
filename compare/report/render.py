"""Templates and what they need -> `index.html` and `report.md`, the two forms of every page.

A page holds everything (figures and one small script inline, nothing fetched; a policy in its head lets
nothing else run or load), so it can be sent as one file.
"""

import base64
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compare.analysis.blocks import Inline, Number
from compare.analysis.text import count_text, seconds_text
from compare.report.basis import Basis
from compare.store.archive import is_unpacked
from compare.store.evidence import Evidence
from compare.store.files import write_atomically

TEMPLATES = Path(__file__).parent

SIGNS = {"ahead": "▲", "behind": "▼", "equivalent": "=", "undecided": "?"}
"""Beside the word, so that a verdict does not hang on its colour."""


def render(
    folder: Path, template: str, context: dict[str, object], marks: dict[str, tuple[Evidence, str]]
) -> Path:
    """Write `report.md` and `index.html` from the two forms of a template; return the path of the latter.

    Args:
        marks: by the name that the template knows it under, what a Basis leads to and its letter.
    """
    for name, form in (("report.md", "md"), ("index.html", "html")):
        html = form == "html"
        bases = {key: Basis(evidence, letter, html=html) for key, (evidence, letter) in marks.items()}
        text = environment(html=html).get_template(f"{template}.{form}.j2").render(context | bases)
        sections = re.findall(r'<h2 id="([a-z]+)">([^<]+)</h2>', text)
        contents = " · ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in sections)
        text = text.replace("<!-- contents -->", contents, 1) if html else re.sub(r"\n{3,}", "\n\n", text)
        write_atomically(folder / name, text)
    return folder / "index.html"


def cells_address(store: Path, folder: Path) -> str:
    """From a page in `folder` to the cells of a store, as a relative address.

    Empty where the two have nothing in common but the machine, since such an address would spell out a path,
    and where the store is an archive, unpacked for the moment.
    """
    if is_unpacked(store):
        return ""
    cells, page = (store / "cells").resolve(), folder.resolve()
    if cells.drive != page.drive:
        return ""
    shared = Path(os.path.commonpath([cells, page]))
    if shared == Path(shared.anchor) or shared in Path.home().resolve().parents:
        return ""
    return quote(os.path.relpath(cells, page).replace(os.sep, "/"))


def environment(*, html: bool) -> Environment:
    """Templates of one form, with their filters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    environment.globals["script"] = Markup(script)
    environment.globals["script_hash"] = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.filters.update(
        count=count_text,
        seconds=seconds_text,
        md=markdown_text,
        code=code_text,
        verdict_mark=lambda finding: f"{SIGNS[finding.verdict]} {finding.verdict}",
        number_in=number_in,
        raw_svg=lambda figure: Markup(figure.svg),
    )
    return environment


def number_in(piece: Inline) -> Number | None:
    """What a table sorts a cell by, if not by its text: the first Number in it."""
    if isinstance(piece, tuple):
        return next((number for part in piece if (number := number_in(part)) is not None), None)
    return piece if isinstance(piece, Number) else None


def markdown_text(value: object) -> str:
    """Text that Markdown shows as it is: one line, no tags, no table bars."""
    text = re.sub(r"\s+", " ", str(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text)


def code_text(value: str) -> str:
    """A code span of Markdown; its fence is longer than any in the text."""
    text = " ".join(value.split()).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""
