"""Does low energy mean right? Shown, not judged: it has no quantity that a contrast could name."""

from collections.abc import Sequence

from compare.analysis.base import Analysis, LookOf
from compare.analysis.blocks import Block
from compare.analysis.cohort import Cohort
from compare.analysis.energy import section
from compare.analysis.energy.measure import Place, places
from compare.analysis.findings import Finding


class EnergyAnalysis(Analysis[tuple[Place, ...]]):
    """A study has one if a finished run has traced its answers."""

    def measure(self, cohort: Cohort) -> tuple[Place, ...] | None:
        return places(cohort) or None

    def section(
        self,
        studies: Sequence[tuple[Cohort, tuple[Place, ...] | None]],
        findings: Sequence[Finding],
        look: LookOf,
    ) -> list[Block]:
        return section.blocks([(cohort.study, found) for cohort, found in studies if found], look)


ANALYSIS = EnergyAnalysis()
