"""The figures of a study: loss and error against its axis, entropy and reward over training by reward."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from compare.analysis.base import LookOf
from compare.analysis.drawing import Figure, draw_figure
from compare.analysis.scaling.axes import READ
from compare.analysis.scaling.fit_figures import isoflop_figure, residual_figure
from compare.analysis.scaling.measure import Means, Scaling
from compare.stats.intervals import percentile_interval
from compare.stats.power_law import Lines
from compare.store.evidence import Run


def of_study(study: Scaling, look: LookOf) -> list[Figure]:
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
    return [figure for figure in made if figure is not None]


def loss_figure(study: Scaling, look: LookOf) -> Figure | None:
    """Loss against training FLOPs, log-log: runs, means, the joint fit and its bootstrap band."""
    if not study.loss:
        return None
    fit = study.fits.get("shared")
    axis = READ[study.cohort.axis]

    def draw(ax: Axes) -> None:
        for arm, points in _by_arm(study.loss):
            colour, marker = look[arm]
            x, mean = _means(points)
            if study.line is not None and study.cohort.axis != "flops" and arm in study.line.runs.arms:
                _straight_line(ax, study.line, arm, colour)
            elif fit is not None and arm in fit.runs.arms:
                grid = np.geomspace(*fit.runs.span(arm), 60)
                rows = np.exp(fit.log_loss(arm, grid))
                ends = [percentile_interval(row[1:], fit.degrees(row, arm)) for row in rows.T]
                low, high = (np.array(end) for end in zip(*ends, strict=True))
                if np.isfinite(low).all():
                    ax.fill_between(grid, low, high, color=colour, alpha=0.18, linewidth=0)
                ax.plot(grid, rows[0], color=colour)
            else:
                ax.plot(x, mean, ":", color=colour)
            _scatter(ax, points, colour, marker)
            ax.plot(x, mean, marker, color=colour, markersize=6, label=arm)
        ax.set_xscale("log")
        _label_one_budget(ax, study.loss)
        if study.cohort.axis != "flops":
            ax.xaxis.set_major_locator(FixedLocator(sorted({round(m.compute) for m in study.loss})))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            ax.xaxis.set_minor_locator(NullLocator())
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        # Within a decade or so every step earns a label; over several only the powers of ten do.
        steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 20 * low else (1, 3) if high < 200 * low else (1,)
        ax.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(axis.label)
        ax.set_ylabel("held-out loss, nats per token")

    lines = (
        "L = E + A C^-alpha, one E for all arms, with the 95% bootstrap band"
        if study.cohort.axis == "flops"
        else "least squares of log loss on the log of the axis"
    )
    return draw_figure(
        f"{study.cohort.study}-loss",
        f"{study.cohort.study}: loss against {_against(study)}",
        f"Small points: runs. Large points: means over seeds. Lines: {lines}; dotted: no fit.",
        draw,
        _summary(study.loss, axis.short),
        _having(study, "loss"),
    )


def _straight_line(ax: Axes, line: Lines, arm: str, colour: str) -> None:
    """The paper's reading of one arm, through the mean of its points."""
    i = line.runs.arms.index(arm)
    inside = line.runs.arm_N == i
    x, y = np.log(line.runs.compute_N[inside]), np.log(line.runs.value_N[inside])
    ends = np.array([x.min(), x.max()])
    ax.plot(np.exp(ends), np.exp(y.mean() + line.slope_RA[0, i] * (ends - x.mean())), color=colour)


def error_figure(study: Scaling, look: LookOf) -> Figure | None:
    """Answer error against training FLOPs: runs, means with intervals over seeds, fitted sigmoids."""
    if not study.error:
        return None
    groups = _by_arm(study.error)

    def draw(ax: Axes) -> None:
        for k, (arm, points) in enumerate(groups):
            colour, marker = look[arm]
            # Arms share their budgets; a small shift in log compute keeps their bars apart.
            nudge = 1.05 ** (k - (len(groups) - 1) / 2)
            x, mean = _means(points, nudge)
            ends = np.array([(p.estimate.low, p.estimate.high) for p in points]).T
            known = np.isfinite(ends[0])
            if arm in study.accuracy:
                grid = np.geomspace(points[0].compute, points[-1].compute, 80)
                ax.plot(grid * nudge, 1 - study.accuracy[arm].accuracy(grid)[0], color=colour, linewidth=1.2)
            else:
                ax.plot(x, mean, ":", color=colour, linewidth=1.2)
            bars = np.abs(ends - mean)[:, known]
            ax.errorbar(x[known], mean[known], bars, None, "none", ecolor=colour, capsize=2, alpha=0.7)
            _scatter(ax, points, colour, marker, nudge)
            ax.plot(x, mean, marker, color=colour, markersize=6, label=arm)
        ax.set_xscale("log")
        _label_one_budget(ax, study.error)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel(READ[study.cohort.axis].label)
        ax.set_ylabel("answer error, 1 - exact")

    caption = (
        "Small points: runs. Large points: means over seeds, with 95% Student's t intervals "
        "(three seeds make them wide). Lines: fitted sigmoid; dotted: no fit. Arms shifted sideways a little."
    )
    return draw_figure(
        f"{study.cohort.study}-error",
        f"{study.cohort.study}: answer error against {_against(study)}",
        caption,
        draw,
        _summary(study.error, READ[study.cohort.axis].short),
        _having(study, "exact"),
    )


def trace_figure(study: Scaling, look: LookOf, column: str, label: str) -> Figure | None:
    """A history column against optimiser steps since RL began: mean over seeds, band from min to max."""
    traces: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    shown: list[str] = []
    for arm in study.cohort.arms:
        top = study.cohort.top(arm, look=lambda run: _series(run, column))
        series = [pair for run in top if (pair := _series(run, column)) is not None]
        shown += [run.planned.cell for run in top]
        if series:
            grid = np.linspace(0, min(float(x[-1]) for x, _ in series), 120)
            traces[arm] = grid, np.array([np.interp(grid, x, y) for x, y in series])
    if not traces:
        return None

    def draw(ax: Axes) -> None:
        for arm, (grid, values) in traces.items():
            colour, marker = look[arm]
            low, mean, high = values.min(axis=0), values.mean(axis=0), values.max(axis=0)
            ax.fill_between(grid, low, high, color=colour, alpha=0.18, linewidth=0)
            ax.plot(grid, mean, f"-{marker}", color=colour, label=arm, markevery=24, markersize=5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("optimiser steps since reinforcement learning began")
        ax.set_ylabel(label)

    caption = (
        f"Largest {study.cohort.point}. Lines: mean over seeds. Bands: smallest to largest seed, no interval."
    )
    ends = "; ".join(
        f"{arm} from {v[:, 0].mean():.3g} to {v[:, -1].mean():.3g}" for arm, (_, v) in traces.items()
    )
    title = f"{study.cohort.study}: {column} over reinforcement learning"
    return draw_figure(f"{study.cohort.study}-{column}", title, caption, draw, ends, tuple(shown))


def _against(study: Scaling) -> str:
    return "training compute" if study.cohort.axis == "flops" else READ[study.cohort.axis].short


def _having(study: Scaling, metric: str) -> tuple[str, ...]:
    return tuple(run.planned.cell for run in study.cohort.runs if run.find(metric) and run.record.flops > 0)


def _series(run: Run, column: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps since the first entry of a column, and its values; None with fewer than two, or no reward."""
    history = run.record.history
    pairs = [
        (step, value)
        for step, value in zip(history.get("step", []), history.get(column, []), strict=False)
        if step is not None and value is not None and math.isfinite(value)
    ]
    if len(pairs) < 2 or "reward" not in history:
        return None
    steps, values = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    return steps - steps[0], values


def _label_one_budget(ax: Axes, means: tuple[Means, ...]) -> None:
    """Where all runs have one budget, name that one: the steps of a decade would cover one another."""
    budgets = {m.budget for m in means}
    if len(budgets) == 1:
        ax.xaxis.set_major_locator(FixedLocator([m.compute for m in means][:1]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}".replace("e+", "e")))
        ax.xaxis.set_minor_locator(NullLocator())


def _by_arm(means: tuple[Means, ...]) -> list[tuple[str, list[Means]]]:
    return [(arm, [m for m in means if m.arm == arm]) for arm in dict.fromkeys(m.arm for m in means)]


def _means(points: list[Means], nudge: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Places on the axis, and means over seeds."""
    return np.array([p.compute * nudge for p in points]), np.array([p.estimate.value for p in points])


def _scatter(ax: Axes, points: list[Means], colour: str, marker: str, nudge: float = 1.0) -> None:
    x = [p.compute * nudge for p in points for _ in p.values]
    y = [value for p in points for value in p.values]
    ax.plot(x, y, marker, markersize=2.5, color=colour, alpha=0.55)


def _summary(means: tuple[Means, ...], unit: str = "FLOPs") -> str:
    """The last mean of every arm in words, for those who cannot see the figure."""
    last = {m.arm: m for m in means}
    return "; ".join(f"{arm} {m.estimate.value:.3g} at {m.compute:.3g} {unit}" for arm, m in last.items())
