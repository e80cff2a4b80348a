"""Figures beside the scaling fits: what the joint fit leaves over, and loss against size at equal FLOPs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from compare.analysis.base import LookOf
from compare.analysis.drawing import NEUTRAL, Figure, draw_figure
from compare.analysis.scaling.measure import Scaling

DASHES = ("-", "--", "-.", ":")
"""Budgets of an iso-FLOP figure, from the smallest."""


def residual_figure(study: Scaling, look: LookOf) -> Figure | None:
    """log loss of every run less that of the joint fit, against training FLOPs."""
    fit = study.fits.get("shared")
    if fit is None:
        return None
    runs = fit.runs
    left_N = np.empty(len(runs.value_N))
    for i, arm in enumerate(runs.arms):
        inside = runs.arm_N == i
        left_N[inside] = np.log(runs.value_N[inside]) - fit.log_loss(arm, runs.compute_N[inside])[0]

    def draw(ax: Axes) -> None:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8)
        for i, arm in enumerate(runs.arms):
            colour, marker = look[arm]
            inside = runs.arm_N == i
            budgets = np.unique(runs.compute_N[inside])
            means = [left_N[inside & (runs.compute_N == b)].mean() for b in budgets]
            x = runs.compute_N[inside]
            ax.plot(x, left_N[inside], marker, color=colour, alpha=0.55, markersize=3)
            ax.plot(budgets, means, color=colour, marker=marker, linewidth=1, markersize=6, label=arm)
        ax.set_xscale("log")
        ax.set_xlabel("training FLOPs, counted")
        ax.set_ylabel("log loss less the fit's")

    words = []
    for i, arm in enumerate(runs.arms):
        own, x = left_N[runs.arm_N == i], runs.compute_N[runs.arm_N == i]
        words.append(
            f"{arm} {own[x == x.min()].mean():+.4f} at the smallest budget, {own[x == x.max()].mean():+.4f} "
            f"at the largest, root mean square {np.sqrt((own**2).mean()):.4f}"
        )
    return draw_figure(
        f"{study.cohort.study}-residuals",
        f"{study.cohort.study}: residuals of the joint fit",
        "Small points: runs. Large points: means over seeds. A bend that is larger than the runs' spread "
        "says that L = E + A C^-alpha with one E does not describe the arm.",
        draw,
        "; ".join(words),
        study.cells(*runs.arms),
    )


def isoflop_figure(study: Scaling, look: LookOf) -> Figure | None:
    """Loss against parameters, one parabola an arm and budget, a cross at its optimum."""
    if not study.isoflop:
        return None
    budgets = sorted({curve.budget for curve in study.isoflop})

    def draw(ax: Axes) -> None:
        for curve in study.isoflop:
            colour, marker = look[curve.arm]
            x, y = (np.array(part) for part in zip(*curve.points, strict=True))
            ax.plot(x, y, marker, color=colour, alpha=0.55, markersize=3)
            grid = np.geomspace(x.min(), x.max(), 80)
            dash = DASHES[budgets.index(curve.budget) % len(DASHES)]
            label = f"{curve.arm}, {curve.budget:.2g} FLOPs".replace("e+", "e")
            ax.plot(grid, curve.loss(grid), color=colour, linestyle=dash, label=label)
            if curve.optimum is not None and x.min() <= curve.optimum.value <= x.max():
                best = np.array([curve.optimum.value])
                ax.plot(best, curve.loss(best), marker="X", color=colour, markersize=9)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 1.5, 2, 2.5, 3, 4, 5, 6, 8), numticks=12))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("parameters without vocabulary maps")
        ax.set_ylabel("held-out loss, nats per token")

    words = "; ".join(
        f"{c.arm} at {c.budget:.2g} FLOPs: "
        + (f"optimum {c.optimum.value:.3g} parameters" if c.optimum else "no optimum")
        + (f" ({', '.join(c.caveats)})" if c.caveats else "")
        for c in study.isoflop
    )
    return draw_figure(
        f"{study.cohort.study}-isoflop",
        f"{study.cohort.study}: loss against size at equal training FLOPs",
        "Points: runs. Lines: parabolas in log parameters. Crosses: the best size, if it was measured.",
        draw,
        words,
        study.cells(*study.cohort.arms),
    )
