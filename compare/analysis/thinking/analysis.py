"""Who gains from compute at inference, and who answers better at equal compute per answer?"""

from dataclasses import replace
from statistics import fmean

from compare.analysis.base import Analysis, Findings, LookOf, Studies
from compare.analysis.blocks import Block, Figures
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft
from compare.analysis.paired import over_runs, unequal_cost
from compare.analysis.quantity import BASELINE
from compare.analysis.text import count_text
from compare.analysis.thinking import measure, section
from compare.analysis.thinking.chain import chain_pairs
from compare.analysis.thinking.measure import OVERLAP, Curve, Ladder, Place, Thinking, efforts_of
from compare.analysis.thinking.quantities import CHEAPEST, QUANTITIES
from compare.store.manifest import Contrast


class ThinkingAnalysis(Analysis[Thinking]):
    """Ways to answer stand in every report; they are compared where a contrast of the experiment asks."""

    title = "Thinking longer"
    anchor = "thinking"
    nothing = "No finished run of this study was evaluated."
    beware = section.BEWARE

    def measure(self, cohort: Cohort) -> Thinking | None:
        return measure.measure(cohort)

    def compare(self, cohort: Cohort, measured: Thinking | None, contrast: Contrast) -> Draft:
        """Under shift without an axis, along the first one measured."""
        severity, axis = contrast.severity, contrast.axis
        places = measured.places if measured else ()
        place = next((p for p in places if p[1] == severity and (not severity or axis in ("", p[0]))), None)
        if place is not None:
            # Where there are others a claim names it, whether the contrast did or not: it is one comparison.
            axis = place[0] if len({along for along, shift in places if shift}) > 1 else ""
        arm, other = (named(name, severity, axis) for name in (contrast.arm, contrast.baseline))
        blank = replace(cohort.draft(contrast), arm=arm, baseline=other, axis="")
        if measured is None or not places:
            return replace(blank, caveats=("no finished run was evaluated",))
        if place is None:
            along = f" of axis {axis}" if axis else ""
            return replace(blank, caveats=(f"nothing was measured at severity {severity}{along}",))
        if contrast.baseline == CHEAPEST:
            curves = (curve for curve in measured.at(place) if curve.arm == contrast.arm)
            return _own(blank, contrast.arm, next(curves, None))
        return _against(blank, cohort, (contrast.arm, contrast.baseline), measured.metric, place)

    def explore(self, cohort: Cohort, measured: Thinking) -> list[Contrast]:
        """Every arm's gain, and its advantage over BASELINE at equal FLOPs, on every set of problems."""
        standing = {curve.place for curve in measured.curves if curve.arm == BASELINE}
        return [
            cohort.contrast(curve.arm, baseline, quantity, severity=severity, axis=axis if severity else "")
            for curve in measured.curves
            for axis, severity in [curve.place]
            for baseline, quantity in ((CHEAPEST, "thinking_gain"), (BASELINE, "thinking_area"))
            if baseline == CHEAPEST or (curve.arm != BASELINE and curve.place in standing)
        ]

    def shown(self, studies: Studies[Thinking]) -> Studies[Thinking]:
        """With the chains, which only all studies together tell."""
        pairs = chain_pairs([cohort for cohort, _ in studies])
        return [
            (of, measured and replace(measured, chains=[pair for pair in pairs if pair.plain == of.study]))
            for of, measured in studies
            if {c.quantity for c in of.manifest.contrasts} & QUANTITIES.keys()
        ]

    def part(self, cohort: Cohort, measured: Thinking, findings: Findings, look: LookOf) -> list[Block]:
        figures = (section.ladder_figure(cohort.study, measured, place, look) for place in measured.places)
        return [
            *section.answers(measured, findings),
            Figures(figures=tuple(figures)),
            *section.gains(cohort.study, measured),
            *(block for pair in measured.chains for block in section.chains(pair)),
        ]

    def section(self, studies: Studies[Thinking], findings: Findings, look: LookOf) -> list[Block]:
        """Curves of every study if a contrast of the experiment asks for them, then every way to answer."""
        return [*super().section(studies, findings, look), *section.ways(studies)]


def named(arm: str, severity: int, axis: str = "") -> str:
    """An arm as a claim names it."""
    place = f"{axis} severity {severity}" if axis else f"severity {severity}"
    return f"{arm} ({place})" if severity and arm != CHEAPEST else arm


def _own(blank: Draft, arm: str, curve: Curve | None) -> Draft:
    """What an arm gains over its own cheapest effort."""
    if curve is None:
        return replace(blank, caveats=(f"{arm}: no finished run",))
    if curve.gain is None:
        return replace(blank, caveats=tuple(f"{arm}: {reason}" for reason in curve.reasons))
    chosen = fmean(ladder.chosen_flops for ladder in curve.ladders)
    cheapest = fmean(float(ladder.levels[0]) for ladder in curve.ladders)
    caveats = (f"chosen as best: {curve.chosen}", *unequal_cost(chosen, cheapest))
    cells = tuple(ladder.run.planned.cell for ladder in curve.ladders)
    return replace(blank, estimate=curve.gain, caveats=caveats, records=cells)


def _against(blank: Draft, cohort: Cohort, arms: tuple[str, str], metric: str, place: Place) -> Draft:
    """Difference of gains, or mean advantage at equal FLOPs per answer, of two arms."""
    matched = cohort.match(*((arm, lambda run: efforts_of(run, metric, place) or None) for arm in arms))
    if isinstance(matched, str):
        return replace(blank, caveats=(matched,))
    sides: list[list[Ladder]] = []
    for arm in arms:
        # A loss's best effort is chosen on all of the arm's other seeds, paired or not.
        own, reasons = measure.ladders([r for r in cohort.of(arm) if r.rung == matched.rung], metric, place)
        if reasons:
            return replace(blank, caveats=tuple(f"{arm}: {reason}" for reason in reasons))
        sides.append([ladder for ladder in own if ladder.run.planned.seed in matched.seeds])
    if len({ladder.best_EP.shape[1] for side in sides for ladder in side}) > 1:
        return replace(blank, caveats=("the arms were measured on different numbers of problems",))
    pairs = list(zip(*sides, strict=True))
    if blank.quantity == "thinking_gain":
        rows = [a.gain_P - b.gain_P for a, b in pairs]
        mine, theirs = (fmean(ladder.chosen_flops for ladder in side) for side in sides)
        caveats = unequal_cost(mine, theirs)
    else:
        spans = [span for pair in pairs if (span := measure.shared_range(*pair)) is not None]
        if len(spans) < len(pairs):
            ends = [(min(x.levels[0] for x in side), max(x.levels[-1] for x in side)) for side in sides]
            mine, theirs = (f"{count_text(low)} to {count_text(high)}" for low, high in ends)
            apart = f"FLOPs per answer, {mine} against {theirs}, share less than a factor of {OVERLAP:g}"
            return replace(blank, caveats=(apart,))
        rows = [a.mean_P(*s) - b.mean_P(*s) for (a, b), s in zip(pairs, spans, strict=True)]
        low, high = max(span[0] for span in spans), min(span[1] for span in spans)
        caveats = (f"shared range {count_text(low)} to {count_text(high)} FLOPs per answer",)
    caveats = matched.caveats + caveats
    return replace(blank, estimate=over_runs(rows), caveats=caveats, records=matched.cells)


ANALYSIS = ThinkingAnalysis()
