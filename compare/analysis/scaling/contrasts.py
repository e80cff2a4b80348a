"""Comparisons of what arms learn, as drafts of findings: curves, what they reach, what reward adds.

A draft has no estimate, and the reason as a caveat, where a comparison cannot be made.
"""

from dataclasses import replace

import numpy as np

from compare.analysis.cohort import Cohort, Look
from compare.analysis.findings import Draft
from compare.analysis.paired import difference, end_and_warm_start, unequal_cost
from compare.analysis.scaling.measure import DROPPED, Scaling
from compare.analysis.text import interval_text
from compare.stats.intervals import LEVEL, Estimate
from compare.stats.power_law import by_seed, log_multipliers, power_law, rises
from compare.store.manifest import Contrast
from compare.store.record import Evaluation


def final_difference(cohort: Cohort, contrast: Contrast) -> Draft:
    """`final_loss` (nats) or `final_error` (1 - exact), arm less baseline, answering as the contrast asks."""
    metric = "loss" if contrast.quantity == "final_loss" else "exact"

    def by(effort: str) -> Look[Evaluation]:
        return lambda run: run.find(metric, severity=contrast.severity, effort=effort or None)

    sides = ((contrast.arm, contrast.effort), (contrast.baseline, contrast.baseline_effort))
    blank = cohort.draft(contrast)
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


def reward_gain(cohort: Cohort, contrast: Contrast) -> Draft:
    """Exact answers, sampled: end less warm start of the same run."""
    matched, blank = cohort.match((contrast.arm, end_and_warm_start)), cohort.draft(contrast)
    if isinstance(matched, str):
        return replace(blank, caveats=("no run measured before and after",))
    return replace(blank, estimate=difference(matched.values[0]), records=matched.cells)


def exponent(blank: Draft, scaling: Scaling, margin: float) -> Draft:
    """Difference of two exponents of a joint fit of the two arms with one E, seed by seed.

    Its verdict is withheld where the law does not describe the curves, or where another form of it does not
    say the same: an exponent is only as good as the form that it belongs to.
    """
    arm, baseline, fit = blank.arm, blank.baseline, scaling.fits.get("shared")
    absent = [name for name in (arm, baseline) if fit is None or name not in fit.runs.arms]
    if fit is None or absent:
        return replace(blank, caveats=_reasons(scaling, absent, f"{', '.join(absent)}: no fitted curve"))
    # Of the two arms alone: a third would move the E that they share.
    laws = {
        name: power_law(law.runs.only(arm, baseline), law.variant)
        for name, law in scaling.fits.items()
        if name != "zero" and {arm, baseline} <= set(law.runs.arms)
    }
    fit = laws["shared"]
    if fit.at_bound(arm, baseline):
        return replace(blank, caveats=("an exponent lies at its bound: the curve is not resolved",))
    apart = {name: by_seed(law.alpha(arm) - law.alpha(baseline)) for name, law in laws.items()}
    estimate, withheld = apart["shared"], ""
    if (p := fit.lack_of_fit(arm, baseline)) < 1 - LEVEL:
        text = f"{p:.2g}" if p >= 0.001 else "below 0.001"
        withheld = f"the law does not describe these losses (lack of fit, p {text})"
    else:
        words = {"free": "with an E for each arm", DROPPED: "without the lowest rung"}
        for name in words.keys() & apart.keys():
            other = apart[name]
            # A form with more freedom must say the same; with fewer runs it must at least point the same way.
            agrees = _side(other) == _side(estimate) if name == "free" else other.value * estimate.value > 0
            inside = -margin < estimate.low and estimate.high < margin
            if (_side(estimate) and not agrees) or (inside and name == "free" and abs(other.value) > margin):
                withheld = f"it hangs on the form of the fit: {words[name]} it is {interval_text(other, 4)}"
    caveats = ("E lies at its bound: no irreducible loss is resolved",) if fit.without_floor(arm) else ()
    return _fitted(blank, scaling, estimate, caveats, withheld)


def multiplier(blank: Draft, scaling: Scaling) -> Draft:
    """The compute that two arms need for one loss, read between the measured points, seed by seed."""
    if scaling.cohort.axis != "flops":
        return replace(blank, caveats=(f"the axis is {scaling.cohort.axis}, not compute",))
    arm, baseline, fit = blank.arm, blank.baseline, scaling.fits.get("shared")
    absent = [name for name in (arm, baseline) if fit is None or name not in fit.runs.arms]
    if fit is None or absent:
        return replace(blank, caveats=_reasons(scaling, absent, f"{', '.join(absent)}: no fitted curve"))
    log_ratio_R, bound = log_multipliers(fit.runs, arm, baseline)
    if not np.isfinite(log_ratio_R).any():
        return replace(blank, caveats=("the arms have no range of compute in common",))
    tops = [fit.runs.span(name)[1] for name in (arm, baseline)]
    caveats = ()
    if max(tops) > 1.1 * min(tops):
        caveats = (f"read at {min(tops):.3g} FLOPs, the largest that both have; one has {max(tops):.3g}",)
    withheld = ""
    if rising := [name for name in (arm, baseline) if rises(fit.runs, name)]:
        withheld = f"the loss of {' and '.join(rising)} rises at its largest budget"
    elif bound:
        withheld = "it is a bound: one of the arms is below that loss from its first budget on"
    return _fitted(blank, scaling, by_seed(log_ratio_R), caveats, withheld)


def slope_ratio(blank: Draft, scaling: Scaling) -> Draft:
    """The paper's reading: slope of log loss on the log of the axis, arm over baseline, less 1.

    Of two arms with one floor and one exponent it calls the worse ahead, whose curve is still steep. So it is
    quoted, and gets a verdict only where the joint fit's exponents say the same.
    """
    arm, baseline, line = blank.arm, blank.baseline, scaling.line
    absent = [name for name in (arm, baseline) if line is None or name not in line.runs.arms]
    if line is None or absent:
        return replace(blank, caveats=_reasons(scaling, absent, "too few points that all arms share"))
    theirs = by_seed(line.slope(baseline))
    if np.isfinite(theirs.low) and not _side(theirs):
        return replace(
            blank, caveats=(f"the slope of {baseline} is not told from 0: no ratio to it is resolved",)
        )
    estimate = by_seed(line.slope(arm) / line.slope(baseline) - 1)
    guard, withheld = exponent(replace(blank, quantity="exponent"), scaling, 0.0), ""
    if guard.estimate is None:
        withheld = f"no joint fit bears it out ({'; '.join(guard.caveats)})"
    elif guard.withheld or _side(guard.estimate) != _side(estimate):
        text = interval_text(guard.estimate, 4)
        withheld = (
            f"slopes alone can call the worse arm ahead, and exponents of the joint fit differ by {text}"
        )
        withheld += f": {guard.withheld}" if guard.withheld else ""
    return _fitted(blank, scaling, estimate, (), withheld)


def _side(estimate: Estimate) -> int:
    """1 or -1 where an interval lies on one side of 0, else 0."""
    return (estimate.low > 0) - (estimate.high < 0)


def _reasons(scaling: Scaling, absent: list[str], otherwise: str) -> tuple[str, ...]:
    """Why arms have no curve."""
    return tuple(note for note in scaling.notes if note.split(":")[0] in absent) or (otherwise,)


def _fitted(
    blank: Draft, scaling: Scaling, estimate: Estimate, caveats: tuple[str, ...], withheld: str = ""
) -> Draft:
    """A comparison of two curves."""
    cells = scaling.cells(blank.arm, blank.baseline)
    return replace(blank, estimate=estimate, caveats=caveats, withheld=withheld, records=cells)
