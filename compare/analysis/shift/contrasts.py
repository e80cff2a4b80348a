"""Comparisons along axes of shift, as drafts for compare/analysis/findings.py; runs are paired by seed."""

from dataclasses import replace

import numpy as np

from compare.analysis.findings import Draft
from compare.analysis.shift.measure import OodStudy, Track, mean_slope, retained_share, tracks
from compare.analysis.shift.thinking_gain import correlate, gain, places, rank, uncorrelated
from compare.store.evidence import Run
from compare.store.manifest import DECAY_QUANTITIES, SEVERITY, THINKING_SHIFT_QUANTITIES

FLOOR = 0.02
"""Exact answers below which nothing is left to lose."""

UNLIKE = 0.75
"""Share of the other's exact answers in distribution below which an arm has notably less to lose."""

WEAK = 0.2
"""Exact answers in distribution below which there is little to lose."""

UNRECORDED = "no problem's own loss is recorded: what other problems would give is not in the interval"


def compare(
    study: str, section: OodStudy | None, arm: str, baseline: str, quantity: str, axis: str = ""
) -> Draft:
    """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made.

    Args:
        axis: of shift; empty: the first one measured, or all of them for a correlation.
    """
    blank = Draft(study=study, arm=arm, baseline=baseline, quantity=quantity, estimate=None, axis=axis)
    if section is None:
        return replace(blank, caveats=("no finished run was measured under shift",))
    if quantity in THINKING_SHIFT_QUANTITIES:
        return _thinking(blank, section)
    return _decay(replace(blank, axis=axis or next(iter(section.axes))), section)


def _decay(blank: Draft, section: OodStudy) -> Draft:
    """Slopes of two arms, or the shares they retain, on the seeds that both were run with."""
    metric = "loss" if blank.quantity == "decay_slope_loss" else "exact"
    severities = section.axes.get(blank.axis)
    if severities is None:
        return replace(blank, caveats=(f"nothing was measured along axis {blank.axis}",))
    sides: list[dict[int, Track]] = []
    for arm in (blank.arm, blank.baseline):
        own = [run for run in section.runs if run.planned.arm == arm]
        found = {track.seed: track for track in tracks(own, metric, blank.axis, severities)}
        if not found:
            reason = f"{arm}: no finished run with `{metric}` at every severity of {blank.axis}"
            return replace(blank, caveats=(reason,))
        sides.append(found)
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return replace(blank, caveats=("no seed that both were run with",))
    mine, theirs = ([side[seed] for seed in seeds] for side in sides)
    caveats = _limits(mine, theirs) if metric == "exact" else ()
    if blank.quantity == "retained_share":
        return _retained(blank, mine, theirs, caveats)
    return replace(blank, estimate=mean_slope(mine, theirs), caveats=caveats, records=_cells(mine, theirs))


def _retained(blank: Draft, mine: list[Track], theirs: list[Track], caveats: tuple[str, ...]) -> Draft:
    both = [(a, b) for a, b in zip(mine, theirs, strict=True) if None not in (a.retained, b.retained)]
    lost = tuple(
        f"{track.run.planned.arm}, seed {track.seed}: no right answer in distribution, so no share of it"
        for side in (mine, theirs)
        for track in side
        if track.retained is None
    )
    if not both:
        return replace(blank, caveats=lost)
    mine, theirs = ([pair[i] for pair in both] for i in (0, 1))
    estimate = retained_share([mine, theirs])
    return replace(blank, estimate=estimate, caveats=caveats + lost, records=_cells(mine, theirs))


def _limits(mine: list[Track], theirs: list[Track]) -> tuple[str, ...]:
    """What keeps a decay of exact answers from saying what it seems to."""
    said: list[str] = []
    levels = [np.mean([1 - track.worse_K for track in side], axis=0) for side in (mine, theirs)]
    names = [side[0].run.planned.arm for side in (mine, theirs)]
    for name, level_K in zip(names, levels, strict=True):
        if level_K[0] < WEAK:
            said.append(f"{name} has {level_K[0]:.2f} exact in distribution: there is little to lose")
    starts = [level_K[0] for level_K in levels]
    if min(starts) < UNLIKE * max(starts):
        said.append(
            f"exact in distribution {starts[0]:.2f} against {starts[1]:.2f}: the weaker has less to lose, "
            "see the retained share"
        )
    if all(level_K[1:].max() < FLOOR for level_K in levels):
        said.append(
            f"under {FLOOR:g} exact at every shift on both sides: slopes differ only as the levels in "
            "distribution do"
        )
    return tuple(said)


def _thinking(blank: Draft, section: OodStudy) -> Draft:
    """Rank correlation of an arm's gain from thinking with severity, run by run."""
    metric = "loss" if blank.quantity == "thinking_shift_loss" else "exact"
    own: list[Run] = [run for run in section.runs if run.planned.arm == blank.arm]
    if not own:
        return replace(blank, caveats=(f"{blank.arm}: no finished run",))
    if blank.axis and blank.axis not in section.axes:
        return replace(blank, caveats=(f"nothing was measured along axis {blank.axis}",))
    where = places(section.axes, blank.axis)
    gains = [found for run in own if (found := gain(run, metric, where)) is not None]
    if not gains:
        return replace(blank, caveats=(f"{blank.arm}: not answered at two efforts of thinking",))
    cells = tuple(each.run.planned.cell for each in gains if each.varies)
    caveats = uncorrelated(gains)
    if metric == "loss" and cells:
        caveats += (
            "no problem's own loss is recorded: what other problems would give is not in the interval",
        )
    return replace(blank, estimate=correlate(gains, rank), caveats=caveats, records=cells)


def _cells(mine: list[Track], theirs: list[Track]) -> tuple[str, ...]:
    return tuple(track.run.planned.cell for side in (mine, theirs) for track in side)


def explore(study: str, section: OodStudy | None, baseline: str) -> list[Draft]:
    """Every arm's decay against a baseline on every axis, and every correlation of thinking's gain."""
    if section is None:
        return []
    asked: list[tuple[str, str, str, str]] = []
    for arm in section.arms:
        if arm.arm != baseline and section.arm(baseline) is not None:
            asked += [(arm.arm, baseline, q, axis) for axis in section.axes for q in DECAY_QUANTITIES]
        if arm.thinking:
            asked += [(arm.arm, SEVERITY, q, "") for q in THINKING_SHIFT_QUANTITIES]
    return [compare(study, section, *names) for names in asked]
