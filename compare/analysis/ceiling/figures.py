"""Figures of the ceiling: entropy over compute, reward against exp(H), errors of the forecasts."""

import math

import numpy as np
from matplotlib.axes import Axes

from compare.analysis.base import LookOf
from compare.analysis.ceiling.forecast import LABELS, METHODS
from compare.analysis.ceiling.measure import ArmCeiling, CeilingStudy, RunFit
from compare.analysis.drawing import NEUTRAL, POINTS, Figure, draw_courses, draw_figure, draw_row, name_rows
from compare.analysis.text import count_text
from compare.stats.rl_history import stretches


def of_ceiling(name: str, study: CeilingStudy, look: LookOf) -> tuple[Figure, ...]:
    """Every figure of a study that has something to show."""
    arms = [arm for arm in study.arms if arm.fits]
    scored = [arm for arm in arms if any(fit.errors for fit in arm.fits)]
    return (
        *([entropy_figure(name, arms, look)] if arms else ()),
        *(law_figure(name, study, arm, look) for arm in arms),
        *([error_figure(name, study.share, scored, look)] if scored else ()),
    )


def entropy_figure(name: str, arms: list[ArmCeiling], look: LookOf) -> Figure:
    """Entropy against the compute of reinforcement learning."""

    def draw(ax: Axes) -> None:
        for arm in arms:
            courses = [(fit.trace.compute_T, fit.trace.entropy_T) for fit in arm.fits]
            draw_courses(ax, courses, POINTS, look[arm.arm], arm.arm)
        ax.locator_params(axis="x", nbins=5)
        ax.xaxis.set_major_formatter(lambda value, _: count_text(value))
        ax.set(xlim=(0, None), ylim=(0, None), ylabel="policy entropy, nats per token")
        ax.set_xlabel("FLOPs since reinforcement learning began, counted")

    return draw_figure(
        f"{name}-ceiling-entropy",
        f"{name}: entropy over the compute of reinforcement learning",
        f"Thin: seeds, in means of consecutive updates ({POINTS} points). Thick: mean over seeds.",
        draw,
        "; ".join(
            f"{arm.arm} from {start.value:.3g} to {end.value:.3g} nats"
            for arm in arms
            if (start := arm.mean(lambda fit: fit.start_entropy))
            and (end := arm.mean(lambda fit: fit.end_entropy))
        ),
        tuple(cell for arm in arms for cell in arm.cells),
    )


def law_figure(name: str, study: CeilingStudy, arm: ArmCeiling, look: LookOf) -> Figure:
    """Reward against exp(H): what the law saw, its line to exp(0) = 1, and what came after."""
    colour, ceiling = look[arm.arm][0], arm.ceiling
    lawful = [(fit, fit.law) for fit in arm.fits if fit.law is not None]

    def draw(ax: Axes) -> None:
        for fit in arm.fits:
            _draw_points(ax, fit, look[arm.arm], fit is arm.fits[0])
        for k, (fit, law) in enumerate(lawful):
            # Where it was fitted, and dashed from there to where no entropy is left.
            seen_T = fit.trace.entropy_T[: fit.seen]
            entropy = np.array([0.0, seen_T.min(), seen_T.max()])
            x, y = np.exp(entropy), law(entropy)
            ax.plot(x[1:], y[1:], color=colour, linewidth=1.8, label=None if k else "law")
            ax.plot(x[:2], y[:2], "--", color=colour, linewidth=1.2, label=None if k else "its forecast")
        if ceiling is not None:
            ax.axhline(ceiling.value, color=colour, linewidth=1.2, label="its ceiling")
            if math.isfinite(ceiling.low) and math.isfinite(ceiling.high):
                ax.axhspan(ceiling.low, ceiling.high, color=colour, alpha=0.12, linewidth=0)
        for k, level in enumerate(study.levels):
            value, dashes = level.estimate.value, (0, (1, 1.2)) if k % 2 else (0, (5, 1.5))
            label = f"{level.arm}, {value:.3g}"
            ax.axhline(value, color=look[level.arm][0], linewidth=1.6, linestyle=dashes, label=label)
        ax.axvline(1, color=NEUTRAL, linewidth=0.8, alpha=0.5)
        ax.set(xlabel="exp(H); at 1 no entropy is left", ylabel="reward", ylim=_height(study, arm))

    summary = "no ceiling could be fitted"
    if ceiling is not None:
        summary = f"ceiling {ceiling.value:.3g}, 95% interval {ceiling.low:.3g} to {ceiling.high:.3g}"
    return draw_figure(
        f"{name}-ceiling-{arm.arm}",
        f"{name}, {arm.arm}: reward against exp(entropy)",
        "Points: means of consecutive updates, all seeds; time runs from right to left where entropy falls. "
        f"Lines: the law of each seed, fitted on the first {study.share:.0%} of updates. Band: 95% "
        "interval of its ceiling, cut at the frame. Levels: exact answers at the same total compute.",
        draw,
        summary,
        arm.cells + tuple(cell for level in study.levels for cell in level.cells),
    )


def _draw_points(ax: Axes, fit: RunFit, look: tuple[str, str], named: bool) -> None:
    """What the law saw, filled, and what came after, hollow."""
    (colour, marker), filled = look, round(POINTS * fit.seen / len(fit.trace))
    seen, after = fit.trace.split(fit.seen)
    for part, count, label in ((seen, filled, "seen by the law"), (after, POINTS - filled, "came after")):
        if len(part):
            x, y = np.exp(stretches(part.entropy_T, count)), stretches(part.reward_T, count)
            face = {"mfc": colour if part is seen else "none", "mec": colour, "mew": 0.8}
            ax.plot(x, y, marker, ms=4.5, alpha=0.75, label=label if named else None, **face)


def _height(study: CeilingStudy, arm: ArmCeiling) -> tuple[float, float]:
    """Room for every point, level and ceiling; a ceiling beyond [0, 1] is followed half a unit outside."""
    shown = [float(value) for fit in arm.fits for value in stretches(fit.trace.reward_T, POINTS)]
    shown += [level.estimate.value for level in study.levels]
    shown += [float(np.clip(arm.ceiling.value, -0.5, 1.5))] if arm.ceiling is not None else []
    margin = max(0.06 * (max(shown) - min(shown)), 0.02)
    return min(shown) - margin, max(shown) + margin


def error_figure(name: str, share: float, arms: list[ArmCeiling], look: LookOf) -> Figure:
    """Mean absolute error of each forecast: seeds small, means large with their intervals."""
    means = {arm.arm: {m: e for m in METHODS if (e := arm.error(m)) is not None} for arm in arms}
    methods = [m for m in METHODS if any(m in own for own in means.values())]

    def draw(ax: Axes) -> None:
        right = 1e-3
        for k, arm in enumerate(arms):
            colour, marker = look[arm.arm]
            ax.plot([], [], marker, markersize=6, color=colour, label=arm.arm)
            for method, e in means[arm.arm].items():
                y = methods.index(method) + 0.62 * ((k + 0.5) / len(arms) - 0.5)
                seeds = [fit.errors[method].mean() for fit in arm.fits if method in fit.errors]
                # An error is never below 0, whatever Student's t says.
                draw_row(ax, y, seeds, e, look[arm.arm], least=0.0)
                right = max(right, *seeds)
        name_rows(ax, [LABELS[m].replace(", ", ",\n") for m in methods])
        ax.locator_params(axis="x", nbins=5)
        # Student's t at three seeds reaches far; the points are what must be read.
        ax.set(xlabel="mean absolute error of the reward forecast", xlim=(0, 1.6 * right))

    return draw_figure(
        f"{name}-ceiling-errors",
        f"{name}: how far each forecast was off",
        f"Fitted on the first {share:.0%} of updates, judged on ten stretches of the rest. Small "
        "points: seeds. Large: means, with 95% Student's t intervals, cut at the frame. No forecast is told "
        "the later entropies.",
        draw,
        "; ".join(
            f"{arm}: " + ", ".join(f"{m} {e.value:.3g}" for m, e in own.items()) for arm, own in means.items()
        ),
        tuple(cell for arm in arms for cell in arm.cells),
    )
