"""Rows of the report's tables and points of its figures, each number with its interval."""

from dataclasses import dataclass, replace

import numpy as np

from compare.analysis.scaling.axes import READ
from compare.stats.intervals import Array, Estimate, over_seeds, percentile_interval
from compare.stats.power_law import NotEnough, PowerLaw, Runs, gather, slope_degrees
from compare.store.evidence import Run
from compare.store.manifest import Manifest

BASELINE = "transformer"
"""What exploratory comparisons are made against."""

UNEQUAL = 0.02
"""Relative difference in parameters up to which two arms count as equal."""

Point = tuple[str, float, float, float]
"""One run's metric: arm, rung (its budget, where FLOPs are the axis), place on the axis, value."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number of a table with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Means:
    """One metric at one (arm, budget): its runs, mean and interval over seeds."""

    arm: str
    budget: float
    compute: float
    """Mean place on the axis: FLOPs spent, or what the study varies instead."""
    values: tuple[float, ...]
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class FitRow:
    """One arm of one fit of the loss."""

    variant: str
    """`line` (the paper's reading), or a variant of compare/stats/power_law.py."""
    arm: str
    exponent: Interval
    """alpha, or minus the slope of the line."""
    floor: Interval | None = None
    """E, nats; None where the fit has none."""
    multiplier: Interval | None = None
    """Compute multiplier against BASELINE."""
    exponent_gain: Interval | None = None
    """Exponent less the baseline's; for `line` the ratio of slopes less 1."""
    crossover: Interval | None = None
    """FLOPs at which the two curves cross; `shared` only."""
    caveats: tuple[str, ...] = ()


def points(runs: tuple[Run, ...], metric: str, axis: str = "flops") -> list[Point]:
    """(arm, rung, place on the axis, value) of every run with the metric, in distribution, at the end."""
    out = []
    for run in runs:
        found, place = run.find(metric), READ[axis].value(run)
        if found is not None and place is not None:
            out.append((run.planned.arm, run.rung, place, found.value))
    return out


def split(points: list[Point], arms: tuple[str, ...]) -> tuple[list[Point], list[str]]:
    """Points of the arms that have budgets enough for a fit, and a note on each that has not."""
    enough, notes = [], []
    for arm in arms:
        own = [p for p in points if p[0] == arm]
        if not own:
            continue
        try:
            gather(own).require_budgets()
            enough += own
        except NotEnough as error:
            notes.append(str(error))
    return enough, notes


def means(points: list[Point]) -> tuple[Means, ...]:
    """Every (arm, budget) of the points: arms in order of appearance, budgets rising."""
    groups: dict[str, dict[float, list[Point]]] = {}
    for point in points:
        groups.setdefault(point[0], {}).setdefault(point[1], []).append(point)
    return tuple(
        Means(
            arm=arm,
            budget=budget,
            compute=float(np.mean([p[2] for p in own])),
            values=tuple(p[3] for p in own),
            estimate=over_seeds(np.array([p[3] for p in own])),
        )
        for arm, budgets in groups.items()
        for budget, own in sorted(budgets.items())
    )


def interval(rows_R: Array, degrees: float) -> Interval:
    """A fit (row 0) with the interval of its bootstrap (the other rows)."""
    low, high = percentile_interval(rows_R[1:], degrees)
    return Interval(value=float(rows_R[0]), low=low, high=high)


def exp_interval(rows_R: Array, degrees: float) -> Interval:
    """The same for a quantity fitted as its logarithm."""
    inner = interval(rows_R, degrees)
    return Interval(**{key: float(np.exp(min(value, 700.0))) for key, value in vars(inner).items()})


def line_rows(runs: Runs, slope_RA: Array) -> list[FitRow]:
    """The paper's reading: one straight line an arm, and the ratio of its slope to the baseline's less 1."""
    rows = []
    for i, arm in enumerate(runs.arms):
        gain = None
        if arm != BASELINE and BASELINE in runs.arms:
            ratio = slope_RA[:, i] / slope_RA[:, runs.arms.index(BASELINE)] - 1
            gain = interval(ratio, slope_degrees(runs, slope_RA[0], arm, BASELINE))
        exponent = interval(-slope_RA[:, i], slope_degrees(runs, slope_RA[0], arm))
        rows.append(FitRow(variant="line", arm=arm, exponent=exponent, exponent_gain=gain))
    return rows


def law_rows(fit: PowerLaw) -> list[FitRow]:
    """One variant of the joint fit: every arm's E and exponent, and how it stands against the baseline."""
    rows = []
    for i, arm in enumerate(fit.runs.arms):
        floor_R, alpha_R = fit.log_floor_RA[:, i], fit.alpha_RA[:, i]
        row = FitRow(
            variant=fit.variant,
            arm=arm,
            floor=None if fit.variant == "zero" else exp_interval(floor_R, fit.degrees(floor_R, arm)),
            exponent=interval(alpha_R, fit.degrees(alpha_R, arm)),
            caveats=("exponent at its bound",) if fit.at_bound(arm) else (),
        )
        rows.append(row if arm == BASELINE or BASELINE not in fit.runs.arms else _against(row, fit))
    return rows


def _against(row: FitRow, fit: PowerLaw) -> FitRow:
    pair = (row.arm, BASELINE)
    multiplier, outside = fit.log_multiplier(*pair)
    apart = fit.alpha(row.arm) - fit.alpha(BASELINE)
    gain = interval(apart, fit.degrees(apart, *pair))
    crossover, caveats = None, (*row.caveats, *(["multiplier extrapolated"] if outside else []))
    if fit.variant == "shared" and gain.low <= 0 <= gain.high:
        # Curves whose exponents may be equal may never cross: no number then.
        caveats = (*caveats, "crossover undecided, the exponents are not told apart")
    elif fit.variant == "shared":
        cross, beyond = fit.log_crossover(*pair)
        # It hangs on the difference of the exponents, and is not finite where a draw has none.
        crossover = exp_interval(cross, fit.degrees(apart, *pair))
        caveats = (*caveats, *(["crossover beyond the measured range"] if beyond else []))
    return replace(
        row,
        multiplier=exp_interval(multiplier, fit.degrees(multiplier, *pair)),
        exponent_gain=gain,
        crossover=crossover,
        caveats=caveats,
    )


def unequal_parameters(runs: tuple[Run, ...], arm: str, baseline: str) -> tuple[str, ...]:
    """A caveat if two arms differ by more than UNEQUAL in parameters other than vocabulary maps."""
    counts = {
        name: max(
            (r.record.parameters.get("non_embedding", 0) for r in runs if r.planned.arm == name), default=0
        )
        for name in (arm, baseline)
    }
    if 0 in counts.values() or max(counts.values()) <= (1 + UNEQUAL) * min(counts.values()):
        return ()
    return (f"non-embedding parameters differ: {counts[arm]:,} against {counts[baseline]:,}",)


def unequal_tuning(manifest: Manifest, study: str, arm: str, baseline: str) -> tuple[str, ...]:
    """A caveat if the settings of two arms were chosen from unequally many trials at some size."""
    counts: dict[str, dict[str, int]] = {}
    for cell in manifest.cells:
        if cell.study == study and cell.arm in (arm, baseline):
            counts.setdefault(cell.size, {}).setdefault(cell.arm, 0)
    for settings in manifest.tuned or ():
        if settings.study == study and settings.arm in counts.get(settings.size, {}):
            counts[settings.size][settings.arm] = settings.trials
    for size, tried in counts.items():
        if len(set(tried.values())) > 1:
            said = ", ".join(f"{name} {trials or 'no'}" for name, trials in tried.items())
            return (f"tuning is unequal at size {size}, trials: {said}",)
    return ()
