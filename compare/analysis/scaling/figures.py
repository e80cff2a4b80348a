"""The figures of a study: loss and error against its axis, entropy and reward over training by reward."""

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from compare.analysis.base import LookOf
from compare.analysis.drawing import Figure, draw_bars, draw_figure
from compare.analysis.scaling.axes import READ
from compare.analysis.scaling.fit_figures import isoflop_figure, label_loss, residual_figure
from compare.analysis.scaling.measure import Means, Scaling
from compare.stats.intervals import percentile_interval
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
                band = [percentile_interval(row[1:], fit.degrees(row, arm)) for row in rows.T]
                if np.isfinite(band).all():
                    ax.fill_between(grid, *np.transpose(band), color=colour, alpha=0.18, linewidth=0)
                ax.plot(grid, rows[0], color=colour)
            else:
                ax.plot(*_means(points), ":", color=colour)
            _draw_points(ax, arm, points, look)
        ax.set_xscale("log")
        _label_one_budget(ax, study.loss)
        if not on_flops:
            _name_ticks(ax, sorted({round(m.compute) for m in study.loss}), lambda value: f"{value:,.0f}")
        ax.set_xlabel(READ[study.cohort.axis].label)
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        # Within a decade or so every step earns a label; over several only the powers of ten do.
        label_loss(
            ax, (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 20 * low else (1, 3) if high < 200 * low else (1,)
        )

    lines = "least squares of log loss on the log of the axis"
    if on_flops:
        lines = "L = E + A C^-alpha, one E for all arms, with the 95% bootstrap band"
    caption = f"Small points: runs. Large points: means over seeds. Lines: {lines}; dotted: no fit."
    return _figure(study, "loss", "loss", caption, draw, study.loss)


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
        ax.set_xscale("log")
        _label_one_budget(ax, study.error)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel(READ[study.cohort.axis].label)
        ax.set_ylabel("answer error, 1 - exact")

    caption = (
        "Small points: runs. Large points: means over seeds, with 95% Student's t intervals "
        "(three seeds make them wide). Lines: fitted sigmoid; dotted: no fit. Arms shifted sideways a little."
    )
    return _figure(study, "error", "answer error", caption, draw, study.error, "exact")


def _figure(
    study: Scaling,
    name: str,
    what: str,
    caption: str,
    draw: Callable[[Axes], None],
    means: tuple[Means, ...],
    metric: str = "loss",
) -> Figure:
    """A figure against the study's axis; its summary in words is the last mean of every arm."""
    cohort, short = study.cohort, READ[study.cohort.axis].short
    last = {m.arm: m for m in means}
    words = "; ".join(f"{arm} {m.estimate.value:.3g} at {m.compute:.3g} {short}" for arm, m in last.items())
    against = "training compute" if cohort.axis == "flops" else short
    cells = study.cells(*cohort.arms, metric=metric)
    return draw_figure(
        f"{cohort.study}-{name}", f"{cohort.study}: {what} against {against}", caption, draw, words, cells
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
    if len({m.budget for m in means}) == 1:
        _name_ticks(ax, [means[0].compute], lambda value: f"{value:.3g}".replace("e+", "e"))


def _name_ticks(ax: Axes, places: list[float], text: Callable[[float], str]) -> None:
    """Name these places of the x axis and no others."""
    ax.xaxis.set_major_locator(FixedLocator(places))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    ax.xaxis.set_minor_locator(NullLocator())


def _by_arm(means: tuple[Means, ...]) -> list[tuple[str, list[Means]]]:
    return [(arm, [m for m in means if m.arm == arm]) for arm in dict.fromkeys(m.arm for m in means)]


def _means(points: list[Means], nudge: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Places on the axis, and means over seeds."""
    return np.array([p.compute * nudge for p in points]), np.array([p.estimate.value for p in points])


def _draw_points(ax: Axes, arm: str, points: list[Means], look: LookOf, nudge: float = 1.0) -> None:
    """An arm's runs small, their means large."""
    colour, marker = look[arm]
    runs = [(p.compute * nudge, value) for p in points for value in p.values]
    ax.plot(*zip(*runs, strict=True), marker, markersize=2.5, color=colour, alpha=0.55)
    ax.plot(*_means(points, nudge), marker, color=colour, markersize=6, label=arm)
