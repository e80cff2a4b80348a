"""The sections on learning: figures of every study, and how much the form of the fit matters."""

from collections.abc import Sequence

from compare.analysis.base import LookOf
from compare.analysis.blocks import Block, Figures, Heading, Inline, Mark, Prose, table
from compare.analysis.quantity import BASELINE
from compare.analysis.scaling.figures import of_study
from compare.analysis.scaling.measure import Scaling
from compare.analysis.scaling.tables import FitRow
from compare.analysis.text import big_interval_text, count_text, interval_text


def blocks(studies: Sequence[Scaling], look: LookOf) -> list[Block]:
    """Every study's figures, then every study's table of fits."""
    out: list[Block] = [Heading(text="Figures", level=2, anchor="figures")]
    for scaling in studies:
        out.append(Heading(text=scaling.cohort.study))
        drawn = tuple(of_study(scaling, look))
        nothing = Prose(text="No finished cell of this study has anything to draw.")
        out.append(Figures(figures=drawn) if drawn else nothing)
    out += [
        Heading(text="How much the fit matters", level=2, anchor="fits"),
        Prose(
            text="L = E + A C^\u2212alpha, all arms together in log space, summed Huber loss of threshold "
            "0.001. shared: one E (the headline). free: one E per arm. zero: no E. line: the paper's "
            "reading, a straight line through log loss against log compute, whose gain is the ratio of "
            "slopes less 1. A conclusion that changes between these rows rests on the form of the fit.",
            soft=True,
        ),
    ]
    for scaling in studies:
        out += [Heading(text=scaling.cohort.study), *_fits(scaling)]
    return out


def _fits(scaling: Scaling) -> list[Block]:
    study, wrap = scaling.cohort.study, ("caveats",)
    rows = [_row(row, scaling) for row in scaling.fit_rows]
    sizes = [
        {
            "arm": curve.arm,
            "FLOPs": count_text(curve.budget),
            "best parameters": big_interval_text(curve.optimum),
            "sizes": curve.sizes,
            "n": Mark(curve.seeds, _at(scaling, curve.arm, curve.budget)),
            "caveats": "; ".join(curve.caveats),
        }
        for curve in scaling.isoflop
    ]
    caption = "Size at equal training FLOPs: a parabola of log loss in log parameters, by arm and budget"
    out: list[Block] = [
        *table(f"Fits of {study}", rows, wrap=wrap),
        *table(f"Best sizes of {study}", sizes, caption, wrap),
    ]
    if scaling.ceilings:
        parts: list[Inline] = ["Fitted ceiling of exact answers (sigmoid in compute):"]
        for arm, ceiling in scaling.ceilings.items():
            parts += [" ", Mark(arm, scaling.cells(arm, metric="exact")), f" {interval_text(ceiling)};"]
        out.append(Prose(text=(*parts[:-1], str(parts[-1]).removesuffix(";") + ".")))
    return out + [Prose(text=f"{note}.", soft=True) for note in scaling.notes]


def _row(row: FitRow, scaling: Scaling) -> dict[str, Inline]:
    fit = scaling.fits.get(row.variant)
    # A joint fit's E is that of all its arms.
    cells = scaling.cells(*(fit.runs.arms if fit is not None else (row.arm, BASELINE)))
    return {
        "fit": row.variant,
        "arm": row.arm,
        "E, nats": interval_text(row.floor),
        "exponent": interval_text(row.exponent, 4),
        "compute multiplier": big_interval_text(row.multiplier),
        "exponent gain": interval_text(row.exponent_gain, 4),
        "crossover, FLOPs": big_interval_text(row.crossover),
        "cells": Mark(len(cells), cells),
        "caveats": "; ".join(row.caveats),
    }


def _at(scaling: Scaling, arm: str, budget: float) -> tuple[str, ...]:
    """Cells of an arm at a budget."""
    return tuple(run.planned.cell for run in scaling.cohort.of(arm) if run.planned.budget == budget)
