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
    residuals: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for arm in runs.arms:
        x, loss = runs.compute_N[runs.of(arm)], runs.value_N[runs.of(arm)]
        residuals[arm] = x, np.log(loss) - fit.log_loss(arm, x)[0]

    def draw(ax: Axes) -> None:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8)
        for arm, (x, left) in residuals.items():
            colour, marker = look[arm]
            budgets = np.unique(x)
            means = [left[x == budget].mean() for budget in budgets]
            ax.plot(x, left, marker, color=colour, alpha=0.55, markersize=3)
            ax.plot(budgets, means, color=colour, marker=marker, linewidth=1, markersize=6, label=arm)
        ax.set_xscale("log")
        ax.set_xlabel("training FLOPs, counted")
        ax.set_ylabel("log loss less the fit's")

    words = [
        f"{arm} {left[x == x.min()].mean():+.4f} at the smallest budget, {left[x == x.max()].mean():+.4f} "
        f"at the largest, root mean square {np.sqrt((left**2).mean()):.4f}"
        for arm, (x, left) in residuals.items()
    ]
    return draw_figure(
        f"{study.cohort.study}-residuals",
        f"{study.cohort.study}: residuals of the joint fit",
        "Small points: runs. Large points: means over seeds. A bend that is larger than the runs' spread "
        "says that L = E + A C^-alpha with one E does not describe the arm.",
        draw,
        "; ".join(words),
        study.cells(*runs.arms),
    )


def label_loss(ax: Axes, steps: tuple[float, ...]) -> None:
    """The y axis is loss on a log scale, labelled at these steps of a decade."""
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("held-out loss, nats per token")


def isoflop_figure(study: Scaling, look: LookOf) -> Figure | None:
    """Loss against parameters, one parabola per arm and budget, a cross at its optimum."""
    if not study.isoflop:
        return None
    budgets = sorted({curve.budget for curve in study.isoflop})

    def draw(ax: Axes) -> None:
        for curve in study.isoflop:
            colour, marker = look[curve.arm]
            x, y = curve.runs.compute_N, curve.runs.value_N
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
        label_loss(ax, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8))
        ax.set_xlabel("parameters without vocabulary maps")

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
