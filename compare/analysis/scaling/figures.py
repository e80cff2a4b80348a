"""The figures of a study: loss and error against its axis, what fits leave over, training by reward."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from compare.analysis.base import LookOf
from compare.analysis.drawing import NEUTRAL, POINTS, Figure, draw_bars, draw_courses, draw_figure
from compare.analysis.scaling.axes import READ
from compare.analysis.scaling.measure import Means, Scaling
from compare.analysis.text import count_text
from compare.stats.intervals import Array
from compare.stats.power_law import by_seed
from compare.store.evidence import Run

DASHES = ("-", "--", "-.", ":")
"""Budgets of an iso-FLOP figure, from the smallest."""


def of_study(study: Scaling, look: LookOf) -> tuple[Figure, ...]:
    """Every figure that the study has data for.

    Not entropy where the experiment fits a ceiling: that section draws it against compute. Where sizes are
    compared at equal FLOPs, only loss against size: by FLOPs, sizes of one budget would stand on one another.
    """
    if study.cohort.axis == "isoflop":
        made = [isoflop_figure(study, look)]
    else:
        made = [make(study, look) for make in (loss_figure, error_figure, residual_figure)]
        if not study.cohort.manifest.fit_share:
            made.append(trace_figure(study, look, "entropy", "policy entropy, nats per token"))
        made.append(trace_figure(study, look, "reward", "reward in training"))
    return tuple(figure for figure in made if figure is not None)


def loss_figure(study: Scaling, look: LookOf) -> Figure | None:
    """Loss against training FLOPs, log-log: runs, means, the joint fit and its band over seeds."""
    if not study.loss:
        return None
    fit, line, on_flops = study.fits.get("shared"), study.line, study.cohort.axis == "flops"

    def draw(ax: Axes) -> None:
        for arm, points in _by_arm(study.loss):
            colour = look[arm][0]
            if line is not None and not on_flops and arm in line.runs.arms:
                # The paper's reading, through the mean of the arm's points.
                x, y = (np.log(part[line.runs.of(arm)]) for part in (line.runs.compute_N, line.runs.value_N))
                ends = np.array([x.min(), x.max()])
                ax.plot(np.exp(ends), np.exp(y.mean() + line.slope(arm)[0] * (ends - x.mean())), color=colour)
            elif fit is not None and arm in fit.runs.arms:
                grid = np.geomspace(*fit.runs.span(arm), 60)
                rows = np.exp(fit.log_loss(arm, grid))
                band = [(ends.low, ends.high) for ends in map(by_seed, rows.T)]
                if np.isfinite(band).all():
                    ax.fill_between(grid, *np.transpose(band), color=colour, alpha=0.18, linewidth=0)
                ax.plot(grid, rows[0], color=colour)
            else:
                ax.plot(*_means(points), ":", color=colour)
            _draw_points(ax, arm, points, look)
        _label_axis(ax, study, study.loss)
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        # Within a decade or so every step earns a label; over several only the powers of ten do.
        steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 20 * low else (1, 3) if high < 200 * low else (1,)
        _label_loss(ax, steps)

    lines = "least squares of log loss on the log of the axis"
    if on_flops:
        lines = "L = E + A C^-alpha, one E for all arms, with the 95% band over the seeds' fits"
    caption = f"Small points: runs. Large points: means over seeds. Lines: {lines}; dotted: no fit."
    return _figure(study, "loss", caption, draw)


def error_figure(study: Scaling, look: LookOf) -> Figure | None:
    """Answer error against training FLOPs: runs, means with intervals over seeds, fitted sigmoids."""
    if not study.error:
        return None
    groups = _by_arm(study.error)

    def draw(ax: Axes) -> None:
        for k, (arm, points) in enumerate(groups):
            colour = look[arm][0]
            # Arms share their budgets; a small shift in log compute keeps their bars apart.
            nudge = 1.05 ** (k - (len(groups) - 1) / 2)
            x, mean = _means(points, nudge)
            if arm in study.accuracy:
                grid = np.geomspace(points[0].compute, points[-1].compute, 80)
                x, mean = grid * nudge, 1 - study.accuracy[arm].accuracy(grid)[0]
            ax.plot(x, mean, "-" if arm in study.accuracy else ":", color=colour, linewidth=1.2)
            draw_bars(ax, [m.compute * nudge for m in points], [m.estimate for m in points], colour)
            _draw_points(ax, arm, points, look, nudge)
        _label_axis(ax, study, study.error)
        ax.set(ylabel="answer error, 1 - exact", ylim=(-0.03, 1.03))

    caption = (
        "Small points: runs. Large points: means over seeds, with 95% Student's t intervals "
        "(three seeds make them wide). Lines: fitted sigmoid; dotted: no fit. Arms shifted sideways a little."
    )
    return _figure(study, "exact", caption, draw)


def _figure(study: Scaling, metric: str, caption: str, draw: Callable[[Axes], None]) -> Figure:
    """A figure of loss or of answer error; its summary in words is the last mean of every arm."""
    cohort, short = study.cohort, READ[study.cohort.axis].short
    name, what = ("loss", "loss") if metric == "loss" else ("error", "answer error")
    last = {m.arm: m for m in (study.loss if metric == "loss" else study.error)}
    words = "; ".join(f"{arm} {m.estimate.value:.3g} at {m.compute:.3g} {short}" for arm, m in last.items())
    title = f"{cohort.study}: {what} against {'training compute' if cohort.axis == 'flops' else short}"
    cells = study.cells(*cohort.arms, metric=metric)
    return draw_figure(f"{cohort.study}-{name}", title, caption, draw, words, cells)


def residual_figure(study: Scaling, look: LookOf) -> Figure | None:
    """log loss of every run less that of the joint fit, against training FLOPs."""
    fit = study.fits.get("shared")
    if fit is None:
        return None
    runs = fit.runs
    residuals: dict[str, tuple[Array, Array]] = {}
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
        ax.set(xscale="log", xlabel=READ["flops"].label, ylabel="log loss less the fit's")

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
        ax.set(xscale="log", yscale="log", xlabel=READ["isoflop"].label)
        _label_loss(ax, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8))

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


def trace_figure(study: Scaling, look: LookOf, column: str, label: str) -> Figure | None:
    """A history column against optimiser steps since RL began."""
    cohort = study.cohort
    tops = {arm: cohort.top(arm, look=lambda run: _course(run, column)) for arm in cohort.arms}
    courses = {arm: [c for run in top if (c := _course(run, column))] for arm, top in tops.items() if top}
    if not courses:
        return None

    def draw(ax: Axes) -> None:
        for arm, seeds in courses.items():
            draw_courses(ax, seeds, POINTS, look[arm], arm)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="optimiser steps since reinforcement learning began", ylabel=label)

    def spoken(arm: str) -> str:
        end = min(x[-1] for x, _ in courses[arm])
        first, last = np.mean([np.interp([0, end], x, y) for x, y in courses[arm]], axis=0)
        return f"{arm} from {first:.3g} to {last:.3g}"

    return draw_figure(
        f"{cohort.study}-{column}",
        f"{cohort.study}: {column} over reinforcement learning",
        f"Largest {cohort.point}. Thin: seeds, in means of consecutive updates. Thick: mean over seeds.",
        draw,
        "; ".join(map(spoken, courses)),
        tuple(run.planned.cell for top in tops.values() for run in top),
    )


def _course(run: Run, column: str) -> tuple[Array, Array] | None:
    """Steps since the first entry of a column, and its values; None with fewer than two, or no reward."""
    history = run.record.history
    if not {"step", "reward", column} <= history.keys():
        return None
    step_T, value_T = (np.array(history[name], dtype=float) for name in ("step", column))
    known_T = np.isfinite(step_T) & np.isfinite(value_T)
    if known_T.sum() < 2:
        return None
    return step_T[known_T] - step_T[known_T][0], value_T[known_T]


def _label_axis(ax: Axes, study: Scaling, means: tuple[Means, ...]) -> None:
    """The x axis is the study's, on a log scale.

    Places of an axis other than FLOPs are named, and a budget that all runs have: the steps of a decade would
    cover one another.
    """
    ax.set(xscale="log", xlabel=READ[study.cohort.axis].label)
    places = sorted({round(m.compute) for m in means})
    if study.cohort.axis != "flops":
        ax.set_xticks(places, [f"{place:,}" for place in places])
        ax.minorticks_off()
    elif len({m.budget for m in means}) == 1:
        ax.set_xticks([means[0].compute], [count_text(means[0].compute)])
        ax.minorticks_off()


def _label_loss(ax: Axes, steps: tuple[float, ...]) -> None:
    """The y axis is loss on a log scale, labelled at these steps of a decade."""
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("held-out loss, nats per token")


def _by_arm(means: tuple[Means, ...]) -> list[tuple[str, list[Means]]]:
    return [(arm, [m for m in means if m.arm == arm]) for arm in dict.fromkeys(m.arm for m in means)]


def _means(points: list[Means], nudge: float = 1.0) -> tuple[Array, Array]:
    """Places on the axis, and means over seeds."""
    return np.array([p.compute * nudge for p in points]), np.array([p.estimate.value for p in points])


def _draw_points(ax: Axes, arm: str, points: list[Means], look: LookOf, nudge: float = 1.0) -> None:
    """An arm's runs small, their means large."""
    colour, marker = look[arm]
    runs = [(p.compute * nudge, value) for p in points for value in p.values]
    ax.plot(*zip(*runs, strict=True), marker, markersize=2.5, color=colour, alpha=0.55)
    ax.plot(*_means(points, nudge), marker, color=colour, markersize=6, label=arm)
