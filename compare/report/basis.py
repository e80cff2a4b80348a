"""Which cells a number of the report rests on: every set of cells once, named R1, R2 ... by first use.

Templates call `rests(...)` beside a number; the list of sets comes at the end of the page, when all
numbers have been written. In HTML a number links to its set and the set to rows of the table of cells.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from compare.store.evidence import Evidence
from compare.store.manifest import PlannedCell


@dataclass(frozen=True, kw_only=True)
class CellSet:
    """Cells that one or more numbers rest on."""

    name: str
    cells: tuple[PlannedCell, ...]
    """In the plan's order."""
    words: str
    """Which they are, in few words."""


class Basis:
    """Names sets of cells as they are asked for."""

    def __init__(
        self, evidence: Evidence, count_text: Callable[[float], str], *, html: bool, letter: str = "R"
    ) -> None:
        """Args: letter: with which the names of sets begin; a page on two studies has two."""
        self._html, self._count, self._letter = html, count_text, letter
        self._planned: dict[str, PlannedCell] = {}
        for cell in evidence.manifest.cells:
            self._planned.setdefault(cell.cell, cell)
        self._order = {cell: i for i, cell in enumerate(self._planned)}
        self._done = [run.planned for run in evidence.runs]
        self._names: dict[tuple[str, ...], str] = {}

    def rests(
        self,
        study: str,
        arm: str | Iterable[str] | None = None,
        budget: float | None = None,
        seed: int | None = None,
        text: object = None,
    ) -> str:
        """The mark of all finished cells of a study, or of some of its arms, of a budget, of a seed."""
        arms = None if arm is None else {arm} if isinstance(arm, str) else set(arm)
        return self.on(
            (
                cell.cell
                for cell in self._done
                if cell.study == study
                and (arms is None or cell.arm in arms)
                and budget in (None, cell.budget)
                and seed in (None, cell.seed)
            ),
            text,
        )

    def on(self, cells: Iterable[str], text: object = None) -> str:
        """The mark of a number that rests on these cells: `text` (else their number), led to them."""
        key = tuple(sorted(set(cells) & self._order.keys(), key=self._order.__getitem__))
        shown = str(len(key)) if text is None else str(text)
        if not key:
            return shown
        name = self._names.setdefault(key, f"{self._letter}{len(self._names) + 1}")
        if not self._html:
            return f"{shown} ({name})"
        label = f"{shown}: rests on {len(key)} cell{'s' if len(key) > 1 else ''}, {name}"
        return Markup('<a class="rests" href="#{}" aria-label="{}">{}</a>').format(name, label, escape(shown))

    @property
    def sets(self) -> list[CellSet]:
        """Every set that was asked for so far."""
        out = []
        for key, name in self._names.items():
            cells = tuple(self._planned[cell] for cell in key)
            out.append(CellSet(name=name, cells=cells, words=self._words(cells)))
        return out

    def _words(self, cells: tuple[PlannedCell, ...]) -> str:
        """Study by study: arms, budgets and seeds if all their combinations are meant, else one by one."""
        parts = []
        for study in dict.fromkeys(cell.study for cell in cells):
            own = [cell for cell in cells if cell.study == study]
            arms = list(dict.fromkeys(cell.arm for cell in own))
            budgets = sorted({cell.budget for cell in own})
            seeds = sorted({cell.seed for cell in own})
            if len(own) == len(arms) * len(budgets) * len(seeds):
                spans = ", ".join(self._count(budget) for budget in budgets)
                parts.append(
                    f"{study}: {', '.join(arms)}; {spans} FLOPs; "
                    f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
                )
            else:
                each = (f"{cell.arm} {self._count(cell.budget)} seed {cell.seed}" for cell in own)
                parts.append(f"{study}: {'; '.join(each)}")
        return " | ".join(parts)
