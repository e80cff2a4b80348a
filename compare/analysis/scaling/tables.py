"""Rows of the table of fits, each number with its interval."""

from dataclasses import dataclass, replace

import numpy as np

from compare.analysis.quantity import BASELINE
from compare.stats.intervals import Array, percentile_interval
from compare.stats.power_law import PowerLaw, Runs, slope_degrees


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number of a table with its 95% interval."""

    value: float
    low: float
    high: float


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
