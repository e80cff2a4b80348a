"""What an analysis is: one question, from records to findings and a section of the report.

Adding one is a folder with `quantities.py` and `analysis.py`, and one line in compare/analysis/registry.py
(docs/extending.md shows a whole one).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from compare.analysis.blocks import Block, Heading, Listing, Prose
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft, Finding
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast

M = TypeVar("M")

Studies = Sequence[tuple[Cohort, M | None]]
"""Every study of an experiment, with what was measured of it."""

Findings = Sequence[Finding]

LookOf = dict[str, tuple[str, str]]
"""Colour and marker of each arm, the same in every figure."""


class Analysis(Generic[M]):
    """One question. Its four steps are deterministic for the same records.

    A subclass measures, compares and explores. Its section is a heading, a part for each study that has one
    (`part`) and warnings, and nothing without parts; one that is built otherwise replaces `section`.
    """

    title: str = ""
    """Heading of the section."""
    anchor: str = ""
    """Where links to the section lead."""
    nothing: str = ""
    """What is said of a study for which nothing was measured; empty: it is left out."""
    beware: tuple[str, ...] = ()
    """Warnings at the section's end."""

    def measure(self, cohort: Cohort) -> M | None:
        """What the comparisons and the section read of one study; None if there is nothing to measure."""
        return None

    def compare(self, cohort: Cohort, measured: M | None, contrast: Contrast) -> Draft:
        """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made."""
        raise NotImplementedError(f"{type(self).__name__} has no quantity {contrast.quantity}")

    def explore(self, cohort: Cohort, measured: M) -> list[Contrast]:
        """Contrasts worth a look that nobody need have named, of a study for which something was measured."""
        return []

    def shown(self, studies: Studies[M]) -> Studies[M]:
        """The studies that the section shows; none: it is left out."""
        return studies

    def opening(self, studies: Studies[M]) -> str:
        """What a reader has to know before the first part."""
        return ""

    def part(self, cohort: Cohort, measured: M, findings: Findings, look: LookOf) -> list[Block]:
        """What the section shows of one study, if anything. Args: findings: those of the study."""
        return []

    def section(self, studies: Studies[M], findings: Findings, look: LookOf) -> list[Block]:
        """Its part of the report; empty if it has nothing to show.

        Args:
            studies: every study of the experiment, with what was measured of it.
            findings: all of them, judged.
        """
        shown = self.shown(studies)
        parts: list[Block] = []
        for cohort, measured in shown:
            of_study = [finding for finding in findings if finding.study == cohort.study]
            nothing: list[Block] = [Prose(text=self.nothing)] if self.nothing else []
            part = nothing if measured is None else self.part(cohort, measured, of_study, look)
            parts += [Heading(text=cohort.study), *part] if part else []
        if not parts:
            return []
        opening = self.opening(shown)
        return [
            Heading(text=self.title, level=2, anchor=self.anchor),
            *([Prose(text=opening, soft=True)] if opening else []),
            *parts,
            *([Listing(items=self.beware, soft=True)] if self.beware else []),
        ]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was measured of one study."""

    cohort: Cohort
    measured: dict[str, Any]
    """By name of the analysis; None where a study has nothing for it."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything a report says."""

    evidence: Evidence
    studies: tuple[Study, ...]
    findings: tuple[Finding, ...]
    """Primary findings in the manifest's order, then exploratory ones."""
