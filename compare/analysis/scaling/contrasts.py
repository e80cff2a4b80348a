"""Comparisons of what arms learn, as drafts of findings: curves, what they reach, what reward adds."""

from dataclasses import replace

import numpy as np

from compare.analysis.cohort import Cohort, Look
from compare.analysis.findings import Draft
from compare.analysis.paired import difference, unequal_cost
from compare.analysis.quantity import BASELINE
from compare.analysis.scaling.measure import Scaling
from compare.analysis.scaling.quantities import QUANTITIES
from compare.stats.intervals import Array, from_bootstrap, percentile_interval
from compare.stats.power_law import MISFIT, Runs, slope_degrees
from compare.store.manifest import WARM_START, Contrast
from compare.store.record import Evaluation


def explore(cohort: Cohort) -> list[Contrast]:
    """What reward added to every arm, and every other quantity of every arm against BASELINE."""
    against = [arm for arm in cohort.arms if arm != BASELINE and BASELINE in cohort.arms]
    others = [name for name in QUANTITIES if name != "reward_gain"]
    return [
        *(cohort.contrast(arm, WARM_START, "reward_gain") for arm in cohort.arms),
        *(cohort.contrast(arm, BASELINE, quantity) for arm in against for quantity in others),
    ]


def compare(scaling: Scaling, contrast: Contrast) -> Draft:
    """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made."""
    if contrast.quantity == "reward_gain":
        return reward_gain(scaling.cohort, contrast)
    if contrast.quantity in ("final_loss", "final_error"):
        return final_difference(scaling.cohort, contrast)
    blank = scaling.cohort.draft(contrast)
    if contrast.quantity == "slope_ratio":
        return _slope_ratio(blank, scaling)
    return _curves(blank, scaling)


def final_difference(cohort: Cohort, contrast: Contrast) -> Draft:
    """`final_loss` (nats) or `final_error` (1 - exact), arm less baseline, answering as the contrast asks."""
    metric = "loss" if contrast.quantity == "final_loss" else "exact"

    def by(effort: str) -> Look[Evaluation]:
        return lambda run: run.find(metric, severity=contrast.severity, effort=effort or None)

    sides = ((contrast.arm, contrast.effort), (contrast.baseline, contrast.baseline_effort))
    arm, baseline = (_named(name, effort, contrast.severity) for name, effort in sides)
    blank = replace(cohort.draft(contrast), arm=arm, baseline=baseline)
    matched = cohort.match(*((name, by(effort)) for name, effort in sides))
    if isinstance(matched, str):
        return replace(blank, caveats=(f"{matched} (`{metric}`)",))
    flops = [float(np.mean([e.flops for e in side])) for side in matched.values]
    return replace(
        blank,
        estimate=difference(matched.pairs, sign=1 if metric == "loss" else -1),
        caveats=matched.caveats
        + unequal_cost(flops[0], flops[1], "an answer" if metric == "exact" else "a problem's likelihood"),
        records=matched.cells,
    )


def _named(arm: str, effort: str, severity: int) -> str:
    """An arm as a claim names it: how it answers and on what, if a contrast chose that."""
    how = ", ".join([*([effort] if effort else []), *([f"severity {severity}"] if severity else [])])
    return f"{arm} ({how})" if how else arm


def reward_gain(cohort: Cohort, contrast: Contrast) -> Draft:
    """Exact answers, sampled: end less warm start of the same run."""
    matched = cohort.match(
        (contrast.arm, lambda run: run.find("exact", effort="sample")),
        (contrast.arm, lambda run: run.find("exact", effort="sample", stage=WARM_START)),
    )
    blank = cohort.draft(contrast)
    if isinstance(matched, str):
        return replace(blank, caveats=("no run measured before and after",))
    return replace(blank, estimate=difference(matched.pairs), records=matched.cells)


def _curves(blank: Draft, scaling: Scaling) -> Draft:
    """Two curves of the joint fit: their exponents, or the compute that they need for one loss."""
    arm, baseline, fit = blank.arm, blank.baseline, scaling.fits.get("shared")
    absent = [name for name in (arm, baseline) if fit is None or name not in fit.runs.arms]
    if fit is None or absent:
        return replace(blank, caveats=_reasons(scaling, absent, f"{', '.join(absent)}: no fitted curve"))
    if fit.at_bound(arm, baseline):
        # Where a curve could not be resolved its bootstrap is stuck as well, and too sure of itself.
        return replace(blank, caveats=("an exponent lies at its bound: the curve is not resolved",))
    caveats: tuple[str, ...] = ()
    if blank.quantity == "exponent":
        rows_R = fit.alpha(arm) - fit.alpha(baseline)
    else:
        rows_R, outside = fit.log_multiplier(arm, baseline)
        caveats = ("extrapolated beyond the measured range",) if outside else ()
    misfit = fit.misfit(arm, baseline)
    if misfit > MISFIT:
        caveats += (
            f"the law does not describe these losses: a budget's mean is {misfit:.2g} off in log loss",
        )
    return _fitted(blank, scaling, fit.runs, rows_R, fit.degrees(rows_R, arm, baseline), caveats)


def _slope_ratio(blank: Draft, scaling: Scaling) -> Draft:
    """The paper's reading: slope of log loss on the log of the axis, arm over baseline, less 1."""
    pair, line = (blank.arm, blank.baseline), scaling.line
    absent = [name for name in pair if line is None or name not in line.runs.arms]
    if line is None or absent:
        return replace(blank, caveats=_reasons(scaling, absent, "too few points that all arms share"))
    arms, slope_RA = line.runs.arms, line.slope_RA
    mine, theirs = (slope_RA[:, arms.index(name)] for name in pair)
    low, high = percentile_interval(theirs[1:], slope_degrees(line.runs, slope_RA[0], blank.baseline))
    if np.isfinite(low) and low <= 0 <= high:
        return replace(
            blank, caveats=(f"the slope of {blank.baseline} is not told from 0: no ratio to it is resolved",)
        )
    degrees = slope_degrees(line.runs, slope_RA[0], *pair)
    return _fitted(blank, scaling, line.runs, mine / theirs - 1, degrees)


def _reasons(scaling: Scaling, absent: list[str], otherwise: str) -> tuple[str, ...]:
    """Why arms have no curve."""
    return tuple(note for note in scaling.notes if note.split(":")[0] in absent) or (otherwise,)


def _fitted(
    blank: Draft, scaling: Scaling, runs: Runs, rows_R: Array, degrees: float, caveats: tuple[str, ...] = ()
) -> Draft:
    """A comparison of two fitted curves from its bootstrap rows."""
    n = runs.fewest(blank.arm, blank.baseline)
    if n < 2 and degrees >= 1:
        caveats = (*caveats, "some budgets have a single run; their spread is borrowed from the others")
    estimate = from_bootstrap(float(rows_R[0]), rows_R[1:], degrees=degrees, n=n)
    cells = scaling.cells(blank.arm, blank.baseline)
    return replace(blank, estimate=estimate, caveats=caveats, records=cells)
