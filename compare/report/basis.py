"""Which cells a number of the report rests on: every set of cells once, named R1, R2 ... by first use.

Templates call `on` for a number; the list of sets comes at the end of the page, when all numbers have been
written. In HTML a number links to its set and the set to rows of the table of cells.
"""

from collections.abc import Iterable

from markupsafe import Markup, escape

from compare.analysis.text import count_text
from compare.store.evidence import Evidence
from compare.store.manifest import PlannedCell


class Basis:
    """Names sets of cells as they are asked for."""

    def __init__(self, evidence: Evidence, letter: str = "R", *, html: bool) -> None:
        """Args: letter: with which the names of sets begin; a page on two studies has two."""
        self._html, self._letter = html, letter
        self._planned: dict[str, PlannedCell] = {}
        for cell in evidence.manifest.cells:
            self._planned.setdefault(cell.cell, cell)
        self._order = {cell: i for i, cell in enumerate(self._planned)}
        self._names: dict[tuple[str, ...], str] = {}

    def on(self, cells: Iterable[str], text: object = None) -> str:
        """The mark of a number that rests on these cells: its text, led to them; without one their number."""
        key = tuple(sorted(set(cells) & self._order.keys(), key=self._order.__getitem__))
        text = counted(key) if text is None else str(text)
        if not key:
            return text
        name = self._names.setdefault(key, f"{self._letter}{len(self._names) + 1}")
        if not self._html:
            return f"{text} ({name})"
        label = f"{text}: rests on {counted(key)}, {name}"
        return Markup('<a class="rests" href="#{}" aria-label="{}">{}</a>').format(name, label, escape(text))

    @property
    def sets(self) -> list[tuple[str, str, list[PlannedCell]]]:
        """Every set that was asked for so far: its name, a title that tells which cells it has, the cells."""
        sets = []
        for key, name in self._names.items():
            cells = [self._planned[cell] for cell in key]
            studies = dict.fromkeys(cell.study for cell in cells)
            parts = (_words(study, [cell for cell in cells if cell.study == study]) for study in studies)
            sets.append((name, f"{name}, {counted(key)}: {' | '.join(parts)}", cells))
        return sets


def counted(cells: tuple[object, ...]) -> str:
    """How many cells, in words."""
    return f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"


def _words(study: str, cells: list[PlannedCell]) -> str:
    """Arms, budgets and seeds if all their combinations are meant, else one by one."""
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    budgets = sorted({cell.budget for cell in cells})
    seeds = sorted({cell.seed for cell in cells})
    if len(cells) != len(arms) * len(budgets) * len(seeds):
        singles = (f"{cell.arm} {count_text(cell.budget)} seed {cell.seed}" for cell in cells)
        return f"{study}: {'; '.join(singles)}"
    spans, plural = ", ".join(map(count_text, budgets)), "s" if len(seeds) > 1 else ""
    return f"{study}: {', '.join(arms)}; {spans} FLOPs; seed{plural} {', '.join(map(str, seeds))}"
