"""Who learns more from the same compute: curves, joint fits, differences at the largest budget."""

from collections.abc import Sequence

from compare.analysis.base import Analysis, LookOf
from compare.analysis.blocks import Block
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft, Finding
from compare.analysis.scaling import contrasts, section
from compare.analysis.scaling.measure import Scaling, measure
from compare.store.manifest import Contrast


class ScalingAnalysis(Analysis[Scaling]):
    """Every study has one."""

    def measure(self, cohort: Cohort) -> Scaling:
        return measure(cohort)

    def compare(self, cohort: Cohort, measured: Scaling | None, contrast: Contrast) -> Draft:
        assert measured is not None
        return contrasts.compare(measured, contrast)

    def explore(self, cohort: Cohort, measured: Scaling | None) -> list[Contrast]:
        return contrasts.explore(cohort)

    def section(
        self, studies: Sequence[tuple[Cohort, Scaling | None]], findings: Sequence[Finding], look: LookOf
    ) -> list[Block]:
        return section.blocks([scaling for _, scaling in studies if scaling is not None], look)


ANALYSIS = ScalingAnalysis()
