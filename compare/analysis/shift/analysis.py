"""Who decays slower away from the training distribution, and does thinking help more there?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from compare.analysis.base import Analysis, Findings, LookOf, Studies
from compare.analysis.blocks import Block
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft
from compare.analysis.paired import unequal_cost
from compare.analysis.quantity import BASELINE
from compare.analysis.shift import measure, section
from compare.analysis.shift.figures import of_shift
from compare.analysis.shift.measure import Shift, Track
from compare.analysis.shift.quantities import ASKED, DECAY, INCREASE, SEVERITY, THINKING_SHIFT
from compare.analysis.shift.thinking_gain import correlate, gain, places, rank, uncorrelated
from compare.store.manifest import Contrast

FLOOR = 0.02
"""Exact answers below which nothing is left to lose."""
UNLIKE = 0.75
"""Share of the other's exact answers in distribution below which an arm has notably less to lose."""
WEAK = 0.2
"""Exact answers in distribution below which there is little to lose."""


class ShiftAnalysis(Analysis[Shift]):
    """Measured wherever something is shifted; decay is compared and shown where a contrast asks for it."""

    title = "Decay away from the training distribution"
    anchor = "ood"
    nothing = "No finished run of this study was measured under shift."
    beware = section.BEWARE

    def measure(self, cohort: Cohort) -> Shift | None:
        return measure.measure(cohort)

    def compare(self, cohort: Cohort, measured: Shift | None, contrast: Contrast) -> Draft:
        """Without an axis, along the first one measured, or along all of them for a correlation."""
        blank = cohort.draft(contrast)
        if measured is None:
            return replace(blank, caveats=("no finished run was measured under shift",))
        if contrast.axis and contrast.axis not in measured.axes:
            return replace(blank, caveats=(f"nothing was measured along axis {contrast.axis}",))
        asked = _thinking if contrast.quantity in THINKING_SHIFT else _against
        return asked(blank, cohort, measured, contrast)

    def explore(self, cohort: Cohort, measured: Shift) -> list[Contrast]:
        """What the largest shift adds to every arm against BASELINE; where the section is asked for, every
        arm's decay against it on every axis, and every correlation of thinking's gain."""
        rivals = [arm for arm in cohort.arms if arm != BASELINE and BASELINE in cohort.arms]
        out = [cohort.contrast(arm, BASELINE, quantity) for arm in rivals for quantity in INCREASE]
        arms = measured.largest if cohort.asked & ASKED.keys() else ()
        for arm in arms:
            if arm.arm != BASELINE and any(other.arm == BASELINE for other in arms):
                out += [cohort.contrast(arm.arm, BASELINE, q, axis=a) for a in measured.axes for q in DECAY]
            if arm.gains:
                out += [cohort.contrast(arm.arm, SEVERITY, quantity) for quantity in THINKING_SHIFT]
        return out

    def shown(self, studies: Studies[Shift]) -> Studies[Shift]:
        return [(cohort, shift) for cohort, shift in studies if cohort.asked & ASKED.keys()]

    def opening(self, studies: Studies[Shift]) -> str:
        return (
            "Every arm at the study's largest budget, answering in its default way. Severity 0 is in "
            "distribution, held out. The slope is what a metric loses per severity, by least squares; the "
            "retained share is mean exact answers over the shifted severities over those in distribution."
        )

    def part(self, cohort: Cohort, measured: Shift, findings: Findings, look: LookOf) -> list[Block]:
        return [
            *section.answers(measured, findings),
            *of_shift(cohort.study, measured, look),
            *section.slopes(cohort.study, measured, findings),
            *section.errors(cohort.study, measured),
            *section.gains(cohort.study, measured),
        ]

    def section(self, studies: Studies[Shift], findings: Findings, look: LookOf) -> list[Block]:
        """Decay of every study that asks for it, then what every shift adds, and whole texts."""
        decay = super().section(studies, findings, look)
        return [*decay, *section.increases(studies), *section.whole_texts(studies)]


def _against(blank: Draft, cohort: Cohort, shift: Shift, contrast: Contrast) -> Draft:
    """Two arms along one axis: slopes, shares retained, or what the largest severity adds."""
    metric = "loss" if blank.quantity.endswith("_loss") else "exact"
    axis = blank.axis or next(iter(shift.axes))
    severities = shift.axes[axis]
    if blank.quantity in DECAY:
        blank = replace(blank, axis=axis)
    look = partial(measure.track, metric=metric, axis=axis, severities=severities)
    asked = ((contrast.arm, contrast.effort), (contrast.baseline, contrast.baseline_effort))
    looks = [(arm, partial(look, effort=effort or None)) for arm, effort in asked]
    for (arm, side), name in zip(looks, (blank.arm, blank.baseline), strict=True):
        if not cohort.top(arm, look=side):
            reason = f"{name}: no finished run with `{metric}` at every severity of {axis}"
            return replace(blank, caveats=(reason,))
    matched = cohort.match(*looks)
    if isinstance(matched, str):
        return replace(blank, caveats=(matched,))
    mine, theirs = (float(np.mean([e.flops for t in side for e in t.at])) for side in matched.values)
    caveats = matched.caveats + unequal_cost(mine, theirs)
    if blank.quantity in DECAY and metric == "exact":
        caveats = (*caveats, *_limits(*matched.values))
    if blank.quantity == "retained_share":
        return _retained(blank, matched.values, caveats)
    weights_K = measure.slope_weights(severities)
    if blank.quantity in INCREASE:
        weights_K = measure.increase_weights(severities)[-1]
    estimate = measure.worsening(weights_K, *matched.values)
    return replace(blank, estimate=estimate, caveats=caveats, records=matched.cells)


def _retained(blank: Draft, sides: Sequence[Sequence[Track]], caveats: tuple[str, ...]) -> Draft:
    """Of the pairs in which both sides have right answers in distribution."""
    lost = tuple(
        f"{t.run.planned.arm}, seed {t.run.planned.seed}: no right answer in distribution, so no share of it"
        for side in sides
        for t in side
        if t.retained is None
    )
    pairs = [pair for pair in zip(*sides, strict=True) if all(t.retained is not None for t in pair)]
    if not pairs:
        return replace(blank, caveats=lost)
    sides = list(zip(*pairs, strict=True))
    cells = tuple(t.run.planned.cell for side in sides for t in side)
    return replace(blank, estimate=measure.retained_share(*sides), caveats=caveats + lost, records=cells)


def _limits(*sides: Sequence[Track]) -> Iterator[str]:
    """What keeps a decay of exact answers from meaning what it seems to."""
    levels = {side[0].run.planned.arm: np.mean([1 - t.worse_K for t in side], axis=0) for side in sides}
    starts = [level_K[0] for level_K in levels.values()]
    for arm, start in zip(levels, starts, strict=True):
        if start < WEAK:
            yield f"{arm} has {start:.2f} exact in distribution: there is little to lose"
    if min(starts) < UNLIKE * max(starts):
        unlike = f"exact in distribution {starts[0]:.2f} against {starts[1]:.2f}"
        yield f"{unlike}: the weaker has less to lose, see the retained share"
    if all(level_K[1:].max() < FLOOR for level_K in levels.values()):
        low = f"under {FLOOR:g} exact at every shift on both sides"
        yield f"{low}: slopes differ only as the levels in distribution do"


def _thinking(blank: Draft, cohort: Cohort, shift: Shift, contrast: Contrast) -> Draft:
    """Rank correlation of an arm's gain from thinking with severity, run by run."""
    metric = "loss" if blank.quantity == "thinking_shift_loss" else "exact"
    where = places(shift.axes, blank.axis)
    matched = cohort.match((blank.arm, lambda run: gain(run, metric, where)))
    if isinstance(matched, str):
        lack = "not answered at two efforts of thinking" if blank.arm in cohort.arms else "no finished run"
        return replace(blank, caveats=(f"{blank.arm}: {lack}",))
    (gains,) = matched.values
    cells = tuple(gain.run.planned.cell for gain in gains if gain.varies)
    caveats = matched.caveats + uncorrelated(gains)
    if metric == "loss" and cells:
        unknown = "no problem's own loss is recorded: what other problems would give is not in the interval"
        caveats = (*caveats, unknown)
    return replace(blank, estimate=correlate(gains, rank), caveats=caveats, records=cells)


ANALYSIS = ShiftAnalysis()
