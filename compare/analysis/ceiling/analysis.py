"""Comparisons about entropy and its ceiling; runs are paired by seed."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from compare.analysis.base import Analysis, Findings, LookOf, Studies
from compare.analysis.blocks import Block, Figures
from compare.analysis.ceiling.figures import of_ceiling
from compare.analysis.ceiling.measure import ArmCeiling, CeilingStudy, measure
from compare.analysis.ceiling.quantities import FORECASTS
from compare.analysis.ceiling.section import BEWARE, answers, tables
from compare.analysis.cohort import Cohort, Matched
from compare.analysis.findings import Draft
from compare.analysis.paired import bits, over_runs
from compare.analysis.quantity import UNMANAGED
from compare.stats.entropy_law import possible
from compare.stats.intervals import Estimate, from_normal, over_seeds
from compare.store.evidence import Run
from compare.store.manifest import WARM_START, Contrast
from compare.store.record import Evaluation

PASSED = 0.02
"""Reward above a ceiling that is more than the noise of a tenth of the updates."""


class CeilingAnalysis(Analysis[CeilingStudy]):
    """Does entropy foretell where reward ends? Only where the experiment has a `fit_share`."""

    title = "Entropy and the ceiling of reward"
    anchor = "ceiling"
    nothing = "No finished run of this study was trained by reward."
    beware = BEWARE

    def measure(self, cohort: Cohort) -> CeilingStudy | None:
        return measure(cohort)

    def compare(self, cohort: Cohort, measured: CeilingStudy | None, contrast: Contrast) -> Draft:
        draft = cohort.draft(contrast)
        if measured is None:
            return replace(draft, caveats=("no finished run was trained by reward",))
        arm, baseline, quantity = contrast.arm, contrast.baseline, contrast.quantity
        names = [arm] if baseline in (WARM_START, *FORECASTS) else [arm, baseline]
        trained = names[1:] if quantity == "above_ceiling" else names
        arms = [own for name in trained if (own := measured.arm(name)) is not None]
        if absent := ", ".join(name for name in trained if measured.arm(name) is None):
            return replace(draft, caveats=(f"{absent}: no finished run trained by reward",))

        def look(run: Run) -> float | Evaluation | None:
            if run.planned.arm not in trained:
                return run.find("exact")
            fit = measured.fits.get(run.planned.cell)
            return None if fit is None else fit.compared(quantity, baseline)

        matched = cohort.match(*((name, look) for name in names))
        seeds = () if isinstance(matched, str) else matched.seeds
        reasons = [(own.arm, seed, reason) for own in arms for seed, reason in own.reasons]
        lost = tuple(f"{name}, seed {seed}: {reason}" for name, seed, reason in reasons if seed not in seeds)
        if isinstance(matched, str):
            return replace(draft, caveats=(*lost, matched))
        caveats = (*lost, *matched.caveats, *_limits(arms, quantity))
        doubts = [f"{own.arm}: {own.doubt}" for own in arms if own.doubt]
        return replace(
            draft,
            estimate=_estimate(measured, matched),
            caveats=caveats,
            withheld="; ".join(doubts) if quantity in ("ceiling", "above_ceiling") else "",
            records=matched.cells,
        )

    def explore(self, cohort: Cohort, measured: CeilingStudy) -> list[Contrast]:
        asked: list[tuple[str, str, str]] = []
        for arm in measured.arms:
            asked.append((arm.arm, WARM_START, "entropy_held"))
            if arm.arm != UNMANAGED and measured.arm(UNMANAGED) is not None:
                asked += [(arm.arm, UNMANAGED, q) for q in ("entropy_held", "ceiling", "final_reward")]
            asked += [(level.arm, arm.arm, "above_ceiling") for level in measured.levels]
            known = [method for method in FORECASTS if arm.error(method) is not None]
            asked += [(arm.arm, method, "forecast_error") for method in known]
        return [cohort.contrast(*names) for names in asked]

    def shown(self, studies: Studies[CeilingStudy]) -> Studies[CeilingStudy]:
        """Those that trained by reward: one of text has no part. If none has, all of them say so."""
        shared = [pair for pair in studies if pair[0].manifest.fit_share]
        return [pair for pair in shared if pair[1] is not None] or shared

    def opening(self, studies: Studies[CeilingStudy]) -> str:
        return (
            "The entropy law R = −a exp(H) + b is fitted to each run on the first "
            f"{studies[0][0].manifest.fit_share:.0%} of its reinforcement learning, a share named before the "
            'experiment ran. Its ceiling is the reward at no entropy, b − a. "Collapsed": less than half of '
            "the starting entropy is left, with the whole 95% interval."
        )

    def part(self, cohort: Cohort, measured: CeilingStudy, findings: Findings, look: LookOf) -> list[Block]:
        figures = Figures(figures=of_ceiling(cohort.study, measured, look))
        return [*answers(measured, findings), figures, *tables(cohort.study, measured, findings)]


def _estimate(study: CeilingStudy, matched: Matched[float | Evaluation]) -> Estimate:
    """The first side less the second, if there is one."""
    first, *others = matched.values
    theirs_S = np.array(others[0] if others else np.zeros(len(first)))
    exact = [e for e in first if isinstance(e, Evaluation)]
    if not exact:
        return over_seeds(np.array(first) - theirs_S)
    # Exact answers less a fitted ceiling. The seeds share their held-out problems, so the variance is that of
    # crossed random effects: seeds (with everything that the fit adds) and problems.
    if len(exact) == 1:
        ceiling = study.fits[matched.runs[1][0].planned.cell].ceiling
        assert ceiling is not None
        # One run: what its problems and its fit leave open, nothing of other seeds.
        variance = exact[0].sd ** 2 / exact[0].n + ((ceiling.high - ceiling.low) / 2 / 1.96) ** 2
        return from_normal(exact[0].value - ceiling.value, variance, exact[0].n - 1, n=1)
    return over_runs([bits(e.outcomes) - theirs for e, theirs in zip(exact, theirs_S, strict=True)])


def _limits(arms: list[ArmCeiling], quantity: str) -> Iterator[str]:
    """Ceilings that cannot be or that a reward ended above, and rewards that are no verified answers."""
    for arm in arms:
        if quantity in ("ceiling", "above_ceiling"):
            if arm.ceiling is not None and not possible(arm.ceiling):
                value = f"its fitted ceiling, {arm.ceiling.value:.2f}"
                yield f"{arm.arm}: {value}, lies outside [0, 1], where no reward can be"
            for fit in arm.fits:
                if fit.ceiling is not None and fit.end_reward > fit.ceiling.value + PASSED:
                    ended = f"its reward ended at {fit.end_reward:.2f}, above its own fitted ceiling"
                    yield f"{arm.arm}, seed {fit.run.planned.seed}: {ended}, {fit.ceiling.value:.2f}"
        if quantity != "forecast_error" and arm.fits and not arm.fits[0].verified:
            yield f"{arm.arm}: its reward is a coin, which says nothing of answers"


ANALYSIS = CeilingAnalysis()
