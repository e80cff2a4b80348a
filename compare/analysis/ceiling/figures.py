"""Figures of the ceiling: entropy over compute, reward against exp(H), errors of the forecasts."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from compare.analysis.ceiling.forecast import LABELS
from compare.analysis.ceiling.measure import ArmCeiling, CeilingStudy
from compare.analysis.drawing import NEUTRAL, Figure, draw_figure
from compare.stats.intervals import Array
from compare.stats.rl_history import stretches

Look = dict[str, tuple[str, str]]
"""Colour and marker of each arm."""

POINTS = 40
"""Points drawn of a run: means of consecutive updates, so that one rollout's noise does not hide the line."""


def of_ceiling(name: str, section: CeilingStudy, look: Look) -> list[Figure]:
    """Every figure of the section that has something to show."""
    figures = [entropy_figure(name, section, look)] if any(arm.fits for arm in section.arms) else []
    figures += [law_figure(name, section, arm, look) for arm in section.arms if arm.fits]
    if any(arm.mean_error for arm in section.arms):
        figures.append(error_figure(name, section, look))
    return figures


def entropy_figure(name: str, section: CeilingStudy, look: Look) -> Figure:
    """Entropy against the compute of reinforcement learning: seeds thin, their mean thick."""

    def draw(ax: Axes) -> None:
        for arm in section.arms:
            colour, marker = look[arm.arm]
            seeds = [(_thin(fit.trace.compute_T), _thin(fit.trace.entropy_T)) for fit in arm.fits]
            if not seeds:
                continue
            for x, y in seeds:
                ax.plot(x, y, color=colour, linewidth=0.7, alpha=0.5)
            grid = np.linspace(max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds), 100)
            ax.plot(
                grid,
                np.mean([np.interp(grid, x, y) for x, y in seeds], axis=0),
                color=colour,
                linewidth=2.2,
                label=arm.arm,
                marker=marker,
                markevery=20,
                markersize=5,
            )
        ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:.1e}".replace("e+", "e") if value else "0")
        )
        ax.set_xlabel("FLOPs since reinforcement learning began, counted")
        ax.set_ylabel("policy entropy, nats a token")

    said = "; ".join(
        f"{arm.arm} from {arm.start_entropy.value:.3g} to {arm.end_entropy.value:.3g} nats"
        for arm in section.arms
        if arm.start_entropy and arm.end_entropy
    )
    return draw_figure(
        f"{name}-ceiling-entropy",
        f"{name}: entropy over the compute of reinforcement learning",
        f"Thin: seeds, in means of consecutive updates ({POINTS} points). Thick: mean over seeds.",
        draw,
        said,
    )


def law_figure(name: str, section: CeilingStudy, arm: ArmCeiling, look: Look) -> Figure:
    """Reward against exp(H): what the law saw, its line to exp(0) = 1, and what came after."""
    colour, marker = look[arm.arm]

    def draw(ax: Axes) -> None:
        right = 1.0
        for fit in arm.fits:
            seen, after = fit.trace.split(fit.seen)
            share = fit.seen / len(fit.trace)
            for part, count, face, label in (
                (seen, round(POINTS * share), colour, "seen by the law"),
                (after, POINTS - round(POINTS * share), "none", "came after"),
            ):
                if len(part) == 0:
                    continue
                x = np.exp(_thin(part.entropy_T, count))
                right = max(right, float(x.max()))
                ax.plot(
                    x,
                    _thin(part.reward_T, count),
                    linestyle="none",
                    marker=marker,
                    markersize=4.5,
                    markerfacecolor=face,
                    markeredgecolor=colour,
                    markeredgewidth=0.8,
                    alpha=0.75,
                    label=label if fit is arm.fits[0] else None,
                )
            if fit.law is not None:
                x = np.array([1.0, float(np.exp(seen.entropy_T.min())), float(np.exp(seen.entropy_T.max()))])
                y = fit.law.b - fit.law.a * x
                first = fit is next(f for f in arm.fits if f.law is not None)
                ax.plot(x[1:], y[1:], color=colour, linewidth=1.8, label="law" if first else None)
                ax.plot(
                    x[:2],
                    y[:2],
                    color=colour,
                    linewidth=1.2,
                    linestyle="--",
                    label="its forecast" if first else None,
                )
        _draw_ceiling(ax, arm, colour)
        _draw_levels(ax, section, look)
        span = right - 1
        ax.set_xlim(1 - 0.05 * span - 1e-3, right + 0.04 * span + 1e-3)
        _limit_height(ax, section, arm)
        ax.axvline(1, color=NEUTRAL, linewidth=0.8, alpha=0.5)
        ax.set_xlabel("exp(H); at 1 no entropy is left")
        ax.set_ylabel("reward")

    said = "no ceiling could be fitted"
    if arm.ceiling is not None:
        said = (
            f"ceiling {arm.ceiling.value:.3g}, 95% interval {arm.ceiling.low:.3g} to {arm.ceiling.high:.3g}"
        )
    return draw_figure(
        f"{name}-ceiling-{arm.arm}",
        f"{name}, {arm.arm}: reward against exp(entropy)",
        "Points: means of consecutive updates, all seeds; time runs from right to left where entropy falls. "
        f"Lines: the law of each seed, fitted on the first {section.share:.0%} of updates. Band: 95% "
        "interval of its ceiling, cut at the frame. Levels: exact answers at the same total compute.",
        draw,
        said,
    )


def _draw_ceiling(ax: Axes, arm: ArmCeiling, colour: str) -> None:
    if arm.ceiling is None:
        return
    ax.axhline(arm.ceiling.value, color=colour, linewidth=1.2, label="its ceiling")
    if math.isfinite(arm.ceiling.low) and math.isfinite(arm.ceiling.high):
        ax.axhspan(arm.ceiling.low, arm.ceiling.high, color=colour, alpha=0.12, linewidth=0)


def _draw_levels(ax: Axes, section: CeilingStudy, look: Look) -> None:
    for k, level in enumerate(section.levels):
        value = level.estimate.value
        ax.axhline(
            value,
            color=look[level.arm][0],
            linewidth=1.6,
            linestyle=(0, (1, 1.2)) if k % 2 else (0, (5, 1.5)),
            label=f"{level.arm}, {value:.3g}",
        )


def _limit_height(ax: Axes, section: CeilingStudy, arm: ArmCeiling) -> None:
    """Room for every point, level and ceiling; a ceiling beyond [0, 1] is followed half a unit outside."""
    shown = [float(value) for fit in arm.fits for value in _thin(fit.trace.reward_T)]
    shown += [level.estimate.value for level in section.levels]
    shown += [float(np.clip(arm.ceiling.value, -0.5, 1.5))] if arm.ceiling is not None else []
    margin = max(0.06 * (max(shown) - min(shown)), 0.02)
    ax.set_ylim(min(shown) - margin, max(shown) + margin)


def error_figure(name: str, section: CeilingStudy, look: Look) -> Figure:
    """Mean absolute error of each forecast: seeds small, means large with their intervals."""
    arms = [arm for arm in section.arms if arm.mean_error]
    methods = [m for m in LABELS if any(m in arm.mean_error for arm in arms)]

    def draw(ax: Axes) -> None:
        for k, arm in enumerate(arms):
            colour, marker = look[arm.arm]
            shift = 0.62 * ((k + 0.5) / len(arms) - 0.5)
            rows = [i + shift for i, m in enumerate(methods) if m in arm.mean_error]
            found = [arm.mean_error[m] for m in methods if m in arm.mean_error]
            values = np.array([e.value for e in found])
            low = np.maximum([0.0 if e.single_run else e.value - e.low for e in found], 0)
            high = np.array([0.0 if e.single_run else e.high - e.value for e in found])
            # An error is never below 0, whatever Student's t says.
            ax.errorbar(
                values,
                rows,
                xerr=np.array([np.minimum(low, values), high]),
                linestyle="none",
                color=colour,
                elinewidth=1.1,
                capsize=2,
                alpha=0.7,
            )
            for i, method in enumerate(methods):
                each = [fit.errors[method].mean for fit in arm.fits if method in fit.errors]
                ax.plot(
                    each,
                    [i + shift] * len(each),
                    linestyle="none",
                    marker=marker,
                    markersize=2.5,
                    color=colour,
                    alpha=0.55,
                )
            ax.plot(values, rows, linestyle="none", marker=marker, markersize=6, color=colour, label=arm.arm)
        ax.set_yticks(range(len(methods)), [LABELS[m].replace(", ", ",\n") for m in methods])
        ax.set_ylim(len(methods) - 0.5, -0.5)
        every = [fit.errors[m].mean for arm in arms for fit in arm.fits for m in fit.errors]
        means = [arm.mean_error[m].value for arm in arms for m in arm.mean_error]
        # Student's t at three seeds reaches far; the points are what must be read.
        ax.set_xlim(0, 1.6 * max([*every, *means, 1e-3]))
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("mean absolute error of the reward forecast")

    said = "; ".join(
        f"{arm.arm}: " + ", ".join(f"{m} {e.value:.3g}" for m, e in arm.mean_error.items()) for arm in arms
    )
    return draw_figure(
        f"{name}-ceiling-errors",
        f"{name}: how far each forecast was off",
        f"Fitted on the first {section.share:.0%} of updates, judged on ten stretches of the rest. Small "
        "points: seeds. Large: means, with 95% Student's t intervals, cut at the frame. The first three are "
        "told the later entropies, the last two are not.",
        draw,
        said,
    )


def _thin(values_T: Array, count: int = POINTS) -> Array:
    return stretches(values_T, count)
