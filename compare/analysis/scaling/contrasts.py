"""Comparisons of what arms learn, as drafts of findings: curves, what they reach, what reward adds.

A draft has no estimate, and the reason as a caveat, where a comparison cannot be made.
"""

from dataclasses import replace

import numpy as np

from compare.analysis.cohort import Cohort, Look
from compare.analysis.findings import Draft
from compare.analysis.paired import difference, end_and_warm_start, unequal_cost
from compare.analysis.scaling.measure import Scaling
from compare.stats.intervals import Array, from_bootstrap, interval
from compare.stats.power_law import MISFIT, Runs
from compare.store.manifest import Contrast
from compare.store.record import Evaluation


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
    matched, blank = cohort.match((contrast.arm, end_and_warm_start)), cohort.draft(contrast)
    if isinstance(matched, str):
        return replace(blank, caveats=("no run measured before and after",))
    return replace(blank, estimate=difference(matched.values[0]), records=matched.cells)


def curves(blank: Draft, scaling: Scaling) -> Draft:
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


def slope_ratio(blank: Draft, scaling: Scaling) -> Draft:
    """The paper's reading: slope of log loss on the log of the axis, arm over baseline, less 1."""
    arm, baseline, line = blank.arm, blank.baseline, scaling.line
    absent = [name for name in (arm, baseline) if line is None or name not in line.runs.arms]
    if line is None or absent:
        return replace(blank, caveats=_reasons(scaling, absent, "too few points that all arms share"))
    theirs = interval(line.slope(baseline), line.degrees(baseline))
    if np.isfinite(theirs.low) and theirs.low <= 0 <= theirs.high:
        return replace(
            blank, caveats=(f"the slope of {baseline} is not told from 0: no ratio to it is resolved",)
        )
    ratio_R = line.slope(arm) / line.slope(baseline) - 1
    return _fitted(blank, scaling, line.runs, ratio_R, line.degrees(arm, baseline))


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
    estimate = from_bootstrap(rows_R, degrees=degrees, n=n)
    cells = scaling.cells(blank.arm, blank.baseline)
    return replace(blank, estimate=estimate, caveats=caveats, records=cells)
