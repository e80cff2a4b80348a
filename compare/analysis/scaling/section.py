"""How much the form of the fit matters: every fit of every study, in tables."""

from compare.analysis.base import Studies
from compare.analysis.blocks import Block, Heading, Inline, Mark, Prose, table
from compare.analysis.quantity import BASELINE
from compare.analysis.scaling.measure import Scaling
from compare.analysis.text import big_interval_text, count_text, interval_text
from compare.stats.intervals import Interval
from compare.stats.power_law import by_seed, exp_by_seed

FORMS = (
    "L = E + A C^\u2212alpha, all arms together in log space, summed Huber loss of threshold 0.001. shared: "
    "one E (the headline). free: one E per arm. zero: no E. dropped: one E, without the lowest rung. line: "
    "the paper's reading, a straight line through log loss against log compute, whose gain is the ratio of "
    "slopes less 1. Each is fitted to every seed by itself; a number is the mean over seeds, with Student's "
    "t. A conclusion that changes between these rows rests on the form of the fit."
)


def fits(studies: Studies[Scaling]) -> list[Block]:
    """The fits of every study that has some, or notes on what could not be fitted."""
    parts: list[Block] = []
    for cohort, scaling in studies:
        part = _fits(scaling) if scaling is not None else []
        parts += [Heading(text=cohort.study), *part] if part else []
    heading = Heading(text="How much the fit matters", level=2, anchor="fits")
    return [heading, Prose(text=FORMS, soft=True), *parts] if parts else []


def _fits(scaling: Scaling) -> list[Block]:
    study, wrap = scaling.cohort.study, ("caveats",)
    caption = "Size at equal training FLOPs: a parabola of log loss in log parameters, by arm and budget"
    out: list[Block] = [
        *table(f"Fits of {study}", fit_rows(scaling), wrap=wrap),
        *table(f"Best sizes of {study}", _sizes(scaling), caption, wrap),
    ]
    if scaling.accuracy:
        parts: list[Inline] = ["Fitted ceiling of exact answers (sigmoid in compute):"]
        for arm, curve in scaling.accuracy.items():
            cells = scaling.cells(arm, metric="exact")
            parts += [" ", Mark(arm, cells), f" {interval_text(curve.ceiling)};"]
        out.append(Prose(text=(*parts[:-1], str(parts[-1]).removesuffix(";") + ".")))
    return out + [Prose(text=f"{note}.", soft=True) for note in scaling.notes]


def fit_rows(scaling: Scaling) -> list[dict[str, Inline]]:
    """A row per arm of the straight lines, then of every variant of the joint fit."""
    rows, line = [], scaling.line
    if line is not None:
        for arm in line.runs.arms:
            numbers: dict[str, Interval] = {"exponent": by_seed(-line.slope(arm))}
            if arm != BASELINE and BASELINE in line.runs.arms:
                numbers["gain"] = by_seed(line.slope(arm) / line.slope(BASELINE) - 1)
            rows.append(_row("line", arm, scaling.cells(arm, BASELINE), numbers, []))
    return rows + [
        _law_row(name, arm, scaling) for name, fit in scaling.fits.items() for arm in fit.runs.arms
    ]


def _law_row(name: str, arm: str, scaling: Scaling) -> dict[str, Inline]:
    """An arm's E and exponent, and how it stands against the baseline."""
    fit = scaling.fits[name]
    floor_R, alpha_R = fit.log_floor_RA[:, fit.runs.arms.index(arm)], fit.alpha(arm)
    numbers: dict[str, Interval] = {"exponent": by_seed(alpha_R)}
    caveats = ["exponent at its bound"] if fit.at_bound(arm) else []
    if fit.variant != "zero":
        numbers["floor"] = exp_by_seed(floor_R)
    if arm != BASELINE and BASELINE in fit.runs.arms:
        log_ratio_R, outside = fit.log_multiplier(arm, BASELINE)
        numbers["multiplier"] = exp_by_seed(log_ratio_R)
        caveats += ["multiplier extrapolated"] if outside else []
        gain = numbers["gain"] = by_seed(alpha_R - fit.alpha(BASELINE))
        if fit.variant == "shared" and gain.low <= 0 <= gain.high:
            # Curves whose exponents may be equal may never cross: no number then.
            caveats.append("crossover undecided, the exponents are not told apart")
        elif fit.variant == "shared":
            cross_R, beyond = fit.log_crossover(arm, BASELINE)
            numbers["crossover"] = exp_by_seed(cross_R)
            caveats += ["crossover beyond the measured range"] if beyond else []
    # A joint fit's E is that of all its arms.
    return _row(name, arm, scaling.cells(*fit.runs.arms), numbers, caveats)


def _row(
    fit: str, arm: str, cells: tuple[str, ...], numbers: dict[str, Interval], caveats: list[str]
) -> dict[str, Inline]:
    """One arm of one fit, with a dash for each number that the fit does not have."""
    return {
        "fit": fit,
        "arm": arm,
        "E, nats": interval_text(numbers.get("floor")),
        "exponent": interval_text(numbers["exponent"], 4),
        "compute multiplier": big_interval_text(numbers.get("multiplier")),
        "exponent gain": interval_text(numbers.get("gain"), 4),
        "crossover, FLOPs": big_interval_text(numbers.get("crossover")),
        "cells": Mark(len(cells), cells),
        "caveats": "; ".join(caveats),
    }


def _sizes(scaling: Scaling) -> list[dict[str, Inline]]:
    rows = []
    for curve in scaling.isoflop:
        here = (r.planned for r in scaling.cohort.of(curve.arm) if r.planned.budget == curve.budget)
        rows.append(
            {
                "arm": curve.arm,
                "FLOPs": count_text(curve.budget),
                "best parameters": big_interval_text(curve.optimum),
                "sizes": curve.runs.budgets(curve.arm),
                "n": Mark(curve.runs.fewest(curve.arm), tuple(planned.cell for planned in here)),
                "caveats": "; ".join(curve.caveats),
            }
        )
    return rows
