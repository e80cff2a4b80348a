"""The sections on learning: figures of every study, and how much the form of the fit matters."""

from collections.abc import Sequence

from compare.analysis.base import LookOf
from compare.analysis.blocks import Block, Figures, Heading, Mark, Prose, Table
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
    study, out = scaling.cohort.study, list[Block]()
    if scaling.fit_rows:
        out.append(
            Table(
                label=f"Fits of {study}",
                columns=(
                    "fit",
                    "arm",
                    "E, nats",
                    "exponent",
                    "compute multiplier",
                    "exponent gain",
                    "crossover, FLOPs",
                    "cells",
                    "caveats",
                ),
                rows=tuple(_row(row, scaling) for row in scaling.fit_rows),
                wrap=("caveats",),
            )
        )
    if scaling.isoflop:
        out.append(
            Table(
                label=f"Best sizes of {study}",
                caption="Size at equal training FLOPs: a parabola of log loss in log parameters, by arm and "
                "budget",
                columns=("arm", "FLOPs", "best parameters", "sizes", "n", "caveats"),
                rows=tuple(
                    (
                        curve.arm,
                        count_text(curve.budget),
                        big_interval_text(curve.optimum),
                        curve.sizes,
                        Mark(curve.seeds, _at(scaling, curve.arm, curve.budget)),
                        "; ".join(curve.caveats),
                    )
                    for curve in scaling.isoflop
                ),
                wrap=("caveats",),
            )
        )
    if scaling.ceilings:
        parts = [
            (Mark(arm, scaling.cells(arm, metric="exact")), f" {interval_text(ceiling)}; ")
            for arm, ceiling in scaling.ceilings.items()
        ]
        last = (parts[-1][0], parts[-1][1].removesuffix("; ") + ".")
        opening = "Fitted ceiling of exact answers (sigmoid in compute): "
        out.append(Prose(text=(opening, *(piece for part in (*parts[:-1], last) for piece in part))))
    return out + [Prose(text=f"{note}.", soft=True) for note in scaling.notes]


def _row(row: FitRow, scaling: Scaling) -> tuple[str | Mark, ...]:
    fit = scaling.fits.get(row.variant)
    # A joint fit's E is that of all its arms.
    cells = scaling.cells(*(fit.runs.arms if fit is not None else (row.arm, BASELINE)))
    return (
        row.variant,
        row.arm,
        interval_text(row.floor),
        interval_text(row.exponent, 4),
        big_interval_text(row.multiplier),
        interval_text(row.exponent_gain, 4),
        big_interval_text(row.crossover),
        Mark(len(cells), cells),
        "; ".join(row.caveats),
    )


def _at(scaling: Scaling, arm: str, budget: float) -> tuple[str, ...]:
    """Cells of an arm at a budget."""
    return tuple(run.planned.cell for run in scaling.cohort.of(arm) if run.planned.budget == budget)
