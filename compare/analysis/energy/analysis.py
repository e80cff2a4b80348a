"""Does low energy mean right? Shown, not judged: it has no quantity that a contrast could name."""

from compare.analysis.base import Analysis, Findings, LookOf, Studies
from compare.analysis.blocks import Block, Fold, Heading, Listing
from compare.analysis.cohort import Cohort
from compare.analysis.energy.measure import Place, places
from compare.analysis.energy.section import MEASURED, album, answers, signals

Places = tuple[Place, ...]


class EnergyAnalysis(Analysis[Places]):
    """A study has a part if a finished run of it has traced its answers."""

    title = "Pictures of thinking"
    anchor = "pictures"

    def measure(self, cohort: Cohort) -> Places | None:
        return places(cohort) or None

    def part(self, cohort: Cohort, measured: Places, findings: Findings, look: LookOf) -> list[Block]:
        out: list[Block] = [*answers(measured)]
        for arm in dict.fromkeys(place.arm for place in measured):
            of_arm = [place for place in measured if place.arm == arm]
            out += [Heading(text=arm, level=4), *album(cohort.study, of_arm, look[arm])]
        return [*out, signals(cohort.study, measured)]

    def section(self, studies: Studies[Places], findings: Findings, look: LookOf) -> list[Block]:
        blocks = super().section(studies, findings, look)
        return (
            [*blocks, Fold(summary="How it is measured", blocks=(Listing(items=MEASURED),))] if blocks else []
        )


ANALYSIS = EnergyAnalysis()
