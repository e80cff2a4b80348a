"""A section of the report as data: headings, prose, lists, callouts, tables, figures, folds.

compare/report renders a list of blocks once to HTML and once to Markdown, so that the two cannot drift. Text
is plain: renderers escape it. Inline pieces may stand for a text: Bold, Code, Mark (a number that rests on
cells), or a tuple of pieces.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compare.analysis.drawing import Figure
from compare.analysis.findings import Finding


class Piece:
    """What a template writes by its kind, the name of its class."""

    @property
    def kind(self) -> str:
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Bold(Piece):
    """Emphasised text."""

    text: str


@dataclass(frozen=True)
class Code(Piece):
    """Text as a program would print it."""

    text: "Inline"


@dataclass(frozen=True)
class Mark(Piece):
    """A text that rests on cells: a link to them in HTML, a reference in Markdown."""

    text: object
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Number(Piece):
    """A text that a table sorts by a number."""

    text: str
    value: float | None


@dataclass(frozen=True)
class Badge(Piece):
    """The verdict of a finding, with its sign and colour."""

    finding: Finding


Inline = str | int | Bold | Code | Mark | Number | Badge | tuple["Inline", ...]


@dataclass(frozen=True, kw_only=True)
class Heading(Piece):
    """A heading; one of level 2 is a section with an anchor, to which the page's contents lead."""

    text: str
    level: int = 3
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Prose(Piece):
    """A paragraph."""

    text: Inline
    soft: bool = False
    """Whether it is an explanation, set smaller."""


@dataclass(frozen=True, kw_only=True)
class Listing(Piece):
    """A list of points."""

    items: tuple[Inline, ...]
    soft: bool = False


@dataclass(frozen=True, kw_only=True)
class Callout(Piece):
    """A question, its answer in a sentence, and the findings in full that it rests on."""

    question: str
    answer: str
    grounds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table(Piece):
    """A table; rows hold as many pieces as there are columns."""

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
class Figures(Piece):
    """Figures side by side, or one after the other at full width."""

    figures: tuple[Figure, ...]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Fold(Piece):
    """Blocks that a reader may open."""

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
