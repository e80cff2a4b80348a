"""Who learns more from the same compute: curves, joint fits, differences at the largest budget."""

from compare.analysis.base import Analysis, Findings, LookOf, Studies
from compare.analysis.blocks import Block, Figures
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft
from compare.analysis.quantity import BASELINE
from compare.analysis.scaling import contrasts, section
from compare.analysis.scaling.figures import of_study
from compare.analysis.scaling.measure import Scaling, measure
from compare.analysis.scaling.quantities import QUANTITIES
from compare.store.manifest import WARM_START, Contrast


class ScalingAnalysis(Analysis[Scaling]):
    """Every study has one."""

    title = "Figures"
    anchor = "figures"

    def measure(self, cohort: Cohort) -> Scaling:
        return measure(cohort)

    def compare(self, cohort: Cohort, measured: Scaling | None, contrast: Contrast) -> Draft:
        assert measured is not None
        if contrast.quantity == "reward_gain":
            return contrasts.reward_gain(cohort, contrast)
        if contrast.quantity in ("final_loss", "final_error"):
            return contrasts.final_difference(cohort, contrast)
        blank = cohort.draft(contrast)
        if contrast.quantity == "exponent":
            return contrasts.exponent(blank, measured, contrast.margin)
        fitted = contrasts.slope_ratio if contrast.quantity == "slope_ratio" else contrasts.multiplier
        return fitted(blank, measured)

    def explore(self, cohort: Cohort, measured: Scaling) -> list[Contrast]:
        """What reward added to every arm, and every other quantity of every arm against BASELINE."""
        against = [arm for arm in cohort.arms if arm != BASELINE and BASELINE in cohort.arms]
        others = [name for name in QUANTITIES if name != "reward_gain"]
        if cohort.axis != "flops":
            others.remove("compute_multiplier")
        return [
            *(cohort.contrast(arm, WARM_START, "reward_gain") for arm in cohort.arms),
            *(cohort.contrast(arm, BASELINE, quantity) for arm in against for quantity in others),
        ]

    def part(self, cohort: Cohort, measured: Scaling, findings: Findings, look: LookOf) -> list[Block]:
        drawn = of_study(measured, look)
        return [Figures(figures=drawn)] if drawn else []

    def section(self, studies: Studies[Scaling], findings: Findings, look: LookOf) -> list[Block]:
        """Every study's figures, then every study's fits."""
        return [*super().section(studies, findings, look), *section.fits(studies)]


ANALYSIS = ScalingAnalysis()
