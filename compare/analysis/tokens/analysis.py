"""Comparisons about classes of tokens; runs are paired by seed."""

from dataclasses import replace

import numpy as np

from arena.token_classes import PLAN
from compare.analysis.base import Analysis, Findings, LookOf, Studies
from compare.analysis.blocks import Block, Figures, Fold, Prose
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft
from compare.analysis.paired import end_and_warm_start, gap, over_runs
from compare.analysis.quantity import UNMANAGED
from compare.analysis.tokens.figures import of_anatomy
from compare.analysis.tokens.measure import START, AnatomyStudy, ArmAnatomy, measure
from compare.analysis.tokens.quantities import ALL_TOKENS, EXECUTE_TOKENS, LAGS, QUANTITIES
from compare.analysis.tokens.section import BEWARE, TWO_PHASES, answers, classes, half_falls
from compare.stats.intervals import over_seeds
from compare.store.manifest import Contrast


class TokensAnalysis(Analysis[AnatomyStudy]):
    """Which tokens hold entropy, and which settle first? Only where a contrast of the study asks."""

    title = "Which tokens"
    anchor = "anatomy"
    nothing = "No finished run of this study recorded where its entropy sits."
    beware = BEWARE

    def measure(self, cohort: Cohort) -> AnatomyStudy | None:
        return measure(cohort)

    def compare(self, cohort: Cohort, measured: AnatomyStudy | None, contrast: Contrast) -> Draft:
        draft, unprobed = cohort.draft(contrast), "no finished run recorded where its entropy sits"
        if measured is None:
            return replace(draft, caveats=(unprobed,))
        if contrast.quantity == "extra_gain":
            return _extra_gain(draft, cohort)
        arm = measured.arm(contrast.arm)
        if arm is None:
            return replace(draft, caveats=(f"{contrast.arm}: {unprobed}",))
        return _excess(draft, arm) if contrast.quantity == "forking_excess" else _lag(draft, arm)

    def explore(self, cohort: Cohort, measured: AnatomyStudy) -> list[Contrast]:
        asked: list[tuple[str, str, str]] = []
        for arm in measured.arms:
            asked.append((arm.arm, ALL_TOKENS, "forking_excess"))
            asked += [(arm.arm, EXECUTE_TOKENS, quantity) for quantity in LAGS]
            if arm.arm != UNMANAGED and measured.arm(UNMANAGED) is not None:
                asked.append((arm.arm, UNMANAGED, "extra_gain"))
        return [cohort.contrast(*names) for names in asked]

    def shown(self, studies: Studies[AnatomyStudy]) -> Studies[AnatomyStudy]:
        return [(cohort, study) for cohort, study in studies if cohort.asked & QUANTITIES.keys()]

    def part(self, cohort: Cohort, measured: AnatomyStudy, findings: Findings, look: LookOf) -> list[Block]:
        name, every = cohort.study, "Every class of tokens, before and after"
        return [
            *answers(measured, findings),
            Prose(text=TWO_PHASES, soft=True),
            Figures(figures=of_anatomy(name, measured, look)),
            *half_falls(name, measured),
            Fold(summary=every, blocks=tuple(classes(name, measured))),
        ]


def _extra_gain(draft: Draft, cohort: Cohort) -> Draft:
    """Exact answers, sampled, gained over the warm start: the arm's gain less the baseline's."""
    matched = cohort.match((draft.arm, end_and_warm_start), (draft.baseline, end_and_warm_start))
    if isinstance(matched, str):
        return replace(draft, caveats=(f"{matched}, before and after",))
    gains = zip(*([gap(*pair) for pair in side] for side in matched.values), strict=True)
    rows = [a_P - b_P if len(a_P) == len(b_P) else a_P.mean(keepdims=True) - b_P.mean() for a_P, b_P in gains]
    return replace(draft, estimate=over_runs(rows), caveats=matched.caveats, records=matched.cells)


def _excess(draft: Draft, arm: ArmAnatomy) -> Draft:
    """Share of plan tokens among the forking ones less that among all, at the end of the warm start."""
    tokens, forks = f"tokens_{PLAN}", f"forks_{PLAN}"
    starts = {run.run.planned.cell: run.at[START] for run in arm.runs if tokens in run.at[START]}
    if not starts:
        return replace(draft, caveats=(f"the task's chains have no {PLAN} tokens",))
    values_S = np.array([start.get(forks, 0.0) - start[tokens] for start in starts.values()])
    return replace(draft, estimate=over_seeds(values_S), records=tuple(starts))


def _lag(draft: Draft, arm: ArmAnatomy) -> Draft:
    """Half-fall of plan tokens less that of execute tokens."""
    phase = arm.phases[LAGS[draft.quantity]]
    if phase.lag is None:
        return replace(draft, caveats=phase.reasons)
    caveats = (f"p of the relabelling {phase.p_relabelled:.3g}", *phase.reasons)
    return replace(draft, estimate=phase.lag, caveats=caveats, records=arm.cells_of(phase))


ANALYSIS = TokensAnalysis()
