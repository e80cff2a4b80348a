"""What an analysis is: one question, from records to findings and a section of the report.

Adding one is a folder with `quantities.py` and `analysis.py`, and one line in compare/analysis/registry.py
(docs/extending.md shows a whole one).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from compare.analysis.blocks import Block
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft, Finding
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast

M = TypeVar("M")

LookOf = dict[str, tuple[str, str]]
"""Colour and marker of each arm, the same in every figure."""


class Analysis(Generic[M]):
    """One question. All four steps are deterministic for the same records."""

    def measure(self, cohort: Cohort) -> M | None:
        """What the comparisons and the section read of one study; None if there is nothing to measure."""
        return None

    def compare(self, cohort: Cohort, measured: M | None, contrast: Contrast) -> Draft:
        """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made."""
        raise NotImplementedError(f"{type(self).__name__} has no quantity {contrast.quantity}")

    def explore(self, cohort: Cohort, measured: M | None) -> list[Contrast]:
        """Contrasts worth a look that nobody need have named."""
        return []

    def section(
        self, studies: "Sequence[tuple[Cohort, M | None]]", findings: Sequence[Finding], look: LookOf
    ) -> list[Block]:
        """Its part of the report; empty if it has nothing to show.

        Args:
            studies: every study of the experiment, with what was measured of it.
            findings: all of them, judged.
        """
        return []


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was measured of one study."""

    cohort: Cohort
    measured: dict[str, Any]
    """By name of the analysis; None where a study has nothing for it."""

    @property
    def name(self) -> str:
        """The study's name."""
        return self.cohort.study


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything a report says."""

    evidence: Evidence
    studies: tuple[Study, ...]
    findings: tuple[Finding, ...]
    """Primary findings in the manifest's order, then exploratory ones."""
