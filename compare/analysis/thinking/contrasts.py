"""Comparisons of gains from thinking, as drafts of findings; paired by seed and problem."""

from dataclasses import replace
from statistics import fmean

from compare.analysis.findings import Draft
from compare.analysis.paired import unequal_cost
from compare.analysis.tables import BASELINE
from compare.analysis.thinking.measure import (
    OVERLAP,
    Curve,
    Ladder,
    Place,
    ThinkingStudy,
    estimate_of,
    ladders,
    shared_range,
)
from compare.store.manifest import CHEAPEST


def named(arm: str, severity: int, axis: str = "") -> str:
    """An arm as a claim names it."""
    return f"{arm} ({f'{axis} ' if axis else ''}severity {severity})" if severity else arm


def compare(
    study: str,
    section: ThinkingStudy | None,
    arm: str,
    baseline: str,
    quantity: str,
    severity: int = 0,
    axis: str = "",
) -> Draft:
    """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made.

    Args:
        axis: of the shift; the first one measured if empty.
    """
    places = section.places if section is not None else ()
    place = next((p for p in places if p[1] == severity and (not severity or axis in ("", p[0]))), None)
    if place is not None:
        # Named in a claim where there are others, whether the contrast named it or not: it is one comparison.
        axis = place[0] if len({along for along, shift in places if shift}) > 1 else ""
    other = baseline if baseline == CHEAPEST else named(baseline, severity, axis)
    blank = Draft(
        study=study, arm=named(arm, severity, axis), baseline=other, quantity=quantity, estimate=None
    )
    if section is None:
        return replace(blank, caveats=("no finished run was evaluated",))
    if place is None:
        along = f" of axis {axis}" if axis else ""
        return replace(blank, caveats=(f"nothing was measured at severity {severity}{along}",))
    if baseline == CHEAPEST:
        return _own(blank, section, arm, place)
    return _against(blank, section, arm, baseline, place)


def _own(blank: Draft, section: ThinkingStudy, arm: str, place: Place) -> Draft:
    """What an arm gains over its own cheapest effort."""
    curve = next((c for c in section.at(place) if c.arm == arm), None)
    if curve is None:
        return replace(blank, caveats=(f"{arm}: no finished run",))
    if curve.gain is None:
        return replace(blank, caveats=tuple(f"{arm}: {reason}" for reason in curve.reasons))
    cells = tuple(ladder.run.planned.cell for ladder in curve.ladders)
    own = curve.ladders
    costs = unequal_cost(fmean(x.chosen_flops for x in own), fmean(float(x.levels[0]) for x in own))
    caveats = (f"chosen as best: {curve.chosen}", *costs)
    return replace(blank, estimate=curve.gain, caveats=caveats, records=cells)


def _against(blank: Draft, section: ThinkingStudy, arm: str, baseline: str, place: Place) -> Draft:
    """Difference of gains, or mean advantage at equal FLOPs an answer, at the largest budget of both."""
    budgets = [{r.planned.budget for r in section.runs if r.planned.arm == name} for name in (arm, baseline)]
    if not budgets[0] & budgets[1]:
        return replace(blank, caveats=("no budget that both were run at",))
    budget = max(budgets[0] & budgets[1])
    sides: list[dict[int, Ladder]] = []
    for name in (arm, baseline):
        own = [r for r in section.runs if (r.planned.arm, r.planned.budget) == (name, budget)]
        found, reasons = ladders(own, section.metric, place)
        if reasons:
            return replace(blank, caveats=tuple(f"{name}: {reason}" for reason in reasons))
        sides.append({ladder.run.planned.seed: ladder for ladder in found})
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return replace(blank, caveats=("no seed that both were run with",))
    pairs = [(sides[0][seed], sides[1][seed]) for seed in seeds]
    for name, side in zip((arm, baseline), zip(*pairs, strict=True), strict=True):
        if any(len(ladder.levels) < 2 for ladder in side):
            return replace(blank, caveats=(f"{name}: it has one way to answer",))
    if len({ladder.best_EP.shape[1] for pair in pairs for ladder in pair}) > 1:
        return replace(blank, caveats=("the arms were measured on different numbers of problems",))
    cells = tuple(side[seed].run.planned.cell for side in sides for seed in seeds)
    if blank.quantity == "thinking_gain":
        rows = [mine.gain_P - theirs.gain_P for mine, theirs in pairs]
        costs = unequal_cost(fmean(x.chosen_flops for x, _ in pairs), fmean(x.chosen_flops for _, x in pairs))
        return replace(blank, estimate=estimate_of(rows), caveats=costs, records=cells)
    ranges = [shared_range(*pair) for pair in pairs]
    spans = [span for span in ranges if span is not None]
    if len(spans) < len(pairs):
        return replace(blank, caveats=(_apart(pairs),))
    rows = [
        mine.mean_P(*span) - theirs.mean_P(*span) for (mine, theirs), span in zip(pairs, spans, strict=True)
    ]
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    said = f"shared range {_count(low)} to {_count(high)} FLOPs an answer"
    return replace(blank, estimate=estimate_of(rows), caveats=(said,), records=cells)


def _apart(pairs: list[tuple[Ladder, Ladder]]) -> str:
    spans = [
        f"{_count(min(x.levels[0] for x in side))} to {_count(max(x.levels[-1] for x in side))}"
        for side in zip(*pairs, strict=True)
    ]
    return f"FLOPs an answer, {spans[0]} against {spans[1]}, share less than a factor of {OVERLAP:g}"


def _count(flops: float) -> str:
    return f"{flops:.3g}".replace("e+0", "e").replace("e+", "e")


def explore(study: str, section: ThinkingStudy | None) -> list[Draft]:
    """Every arm's own gain, and its advantage over BASELINE at equal FLOPs an answer, on every set of
    problems of the first axis and of the others."""
    if section is None:
        return []
    drafts: list[Draft] = []
    for place in section.places:
        axis = place[0] if place[1] else ""
        curves: tuple[Curve, ...] = section.at(place)
        for curve in curves:
            drafts.append(compare(study, section, curve.arm, CHEAPEST, "thinking_gain", place[1], axis))
            if curve.arm != BASELINE and any(c.arm == BASELINE for c in curves):
                drafts.append(compare(study, section, curve.arm, BASELINE, "thinking_area", place[1], axis))
    return drafts
