"""A section of the report as data: headings, prose, lists, callouts, tables, figures, folds.

compare/report renders a list of blocks once to HTML and once to Markdown, so that the two cannot drift. Text
is plain: renderers escape it. Inline pieces may stand for a text: Bold, Code, Mark (a number that rests on
cells), or a tuple of pieces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from compare.analysis.drawing import Figure
from compare.analysis.findings import Finding


@dataclass(frozen=True)
class Bold:
    """Emphasised text."""

    kind: ClassVar[str] = "bold"
    text: str


@dataclass(frozen=True)
class Code:
    """Text as a program would print it."""

    kind: ClassVar[str] = "code"
    text: "Inline"


@dataclass(frozen=True)
class Mark:
    """A text that rests on cells: a link to them in HTML, a reference in Markdown."""

    kind: ClassVar[str] = "mark"
    text: object
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Number:
    """A text that a table sorts by a number."""

    kind: ClassVar[str] = "number"
    text: str
    value: float | None


@dataclass(frozen=True)
class Badge:
    """The verdict of a finding, with its sign and colour."""

    kind: ClassVar[str] = "badge"
    finding: Finding


Inline = str | int | Bold | Code | Mark | Number | Badge | tuple["Inline", ...]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading; one of level 2 is a section with an anchor, to which the page's contents lead."""

    kind: ClassVar[str] = "heading"
    text: str
    level: int = 3
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    text: Inline
    soft: bool = False
    """Whether it is an explanation, set smaller."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list of points."""

    kind: ClassVar[str] = "listing"
    items: tuple[Inline, ...]
    soft: bool = False


@dataclass(frozen=True, kw_only=True)
class Callout:
    """A question, its answer in a sentence, and the findings in full that it rests on."""

    kind: ClassVar[str] = "callout"
    question: str
    answer: str
    grounds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; rows hold as many pieces as there are columns."""

    kind: ClassVar[str] = "table"
    label: str
    """What it shows, for those who cannot see it."""
    columns: tuple[str, ...]
    rows: tuple[tuple[Inline, ...], ...]
    caption: Inline = ""
    wrap: tuple[str, ...] = ()
    """Columns of running text."""
    cards: bool = False
    """Whether rows become cards on a narrow screen."""
    sortable: bool = True
    """Whether a reader may sort it; not where a row is read after the one above it."""

    def __post_init__(self) -> None:
        """Raise ValueError if a row does not fit: a table must not shift its numbers."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.label}: a row of {len(row)} for {len(self.columns)} columns")


def table(
    label: str, rows: Sequence[Mapping[str, Inline]], caption: Inline = "", wrap: tuple[str, ...] = ()
) -> list[Table]:
    """A table of rows that name their columns; nothing if there are no rows."""
    if not rows:
        return []
    columns = tuple(rows[0])
    if odd := next((row for row in rows if tuple(row) != columns), None):
        raise ValueError(f"table {label}: a row names {', '.join(odd)}, the first {', '.join(columns)}")
    cells = tuple(tuple(row.values()) for row in rows)
    return [Table(label=label, caption=caption, columns=columns, rows=cells, wrap=wrap)]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures side by side, or one after the other at full width."""

    kind: ClassVar[str] = "figures"
    figures: tuple[Figure, ...]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Blocks that a reader may open."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: "tuple[Block, ...]"
    open: bool = False


Block = Heading | Prose | Listing | Callout | Table | Figures | Fold


def figures_of(blocks: Sequence[Block]) -> Iterator[Figure]:
    """Every figure in blocks, folds included."""
    for block in blocks:
        if isinstance(block, Figures):
            yield from block.figures
        elif isinstance(block, Fold):
            yield from figures_of(block.blocks)
