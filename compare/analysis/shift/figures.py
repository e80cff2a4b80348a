"""Figures of decay: a map of all levels, a curve for each axis, the gain from thinking by severity."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from compare.analysis.drawing import NEUTRAL, Figure, draw_figure
from compare.analysis.shift.measure import ArmDecay, Decay, OodStudy
from compare.analysis.shift.thinking_gain import places
from compare.stats.intervals import Estimate

Look = dict[str, tuple[str, str]]
"""Colour and marker of each arm."""

LABELS = {"exact": "exact answers", "loss": "held-out loss, nats a token"}
INK = "#0072B2"
"""Of the map's cells; never opaque, so that the number in a cell is read on light and on dark paper."""
OPAQUE = 0.6
"""Opacity of a cell whose level is 1."""


def of_ood(name: str, section: OodStudy, look: Look) -> list[Figure]:
    """Every figure of the section that has something to show."""
    drawn = [map_figure(name, section)] if any(_levels(arm) for arm in section.arms) else []
    for axis in section.axes:
        for metric in LABELS:
            if any(arm.decay(metric, axis) for arm in section.arms):
                drawn.append(curve_figure(name, section, axis, metric, look))
    for metric in LABELS:
        if any(each.metric == metric for arm in section.arms for each in arm.thinking):
            drawn.append(gain_figure(name, section, metric, look))
    return drawn


def _levels(arm: ArmDecay) -> dict[tuple[str, int], Estimate]:
    """(axis, severity) -> exact answers; severity 0 under the first axis measured."""
    found: dict[tuple[str, int], Estimate] = {}
    for decay in arm.decays:
        if decay.metric == "exact":
            for severity, level in zip(decay.severities, decay.levels, strict=True):
                if severity or not found:
                    found[decay.axis, severity] = level
    return found


def _columns(axes: dict[str, tuple[int, ...]]) -> tuple[list[tuple[str, int]], list[str]]:
    """Places in order, and their labels: severities, and under the middle one of each axis its name."""
    where = places(axes)
    labels = [str(severity) for _, severity in where]
    labels[0] += "\nnone"
    for i, axis in enumerate(axes):
        own = [k for k, (name, severity) in enumerate(where) if name == axis and severity]
        # Names of neighbours stand at two heights, or they would run into one another.
        labels[own[(len(own) - 1) // 2]] += "\n" * (1 + i % 2) + axis
    return where, labels


def map_figure(name: str, section: OodStudy) -> Figure:
    """Arms by (axis, severity): exact answers, written in each cell."""
    where, labels = _columns(section.axes)
    levels = {arm.arm: found for arm in section.arms if (found := _levels(arm))}

    def draw(ax: Axes) -> None:
        ax.figure.set_size_inches(max(5.0, 1.6 + 0.42 * len(where)), 1.2 + 0.42 * len(levels))  # pyright: ignore[reportAttributeAccessIssue]
        for row, found in enumerate(levels.values()):
            for column, place in enumerate(where):
                if place not in found:
                    continue
                value = found[place].value
                corner = (column - 0.48, row - 0.46)
                ax.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=INK, alpha=OPAQUE * value, linewidth=0))
                ax.add_patch(
                    Rectangle(corner, 0.96, 0.92, fill=False, edgecolor=NEUTRAL, alpha=0.25, linewidth=0.5)
                )
                text = f"{value:.2f}".replace("0.", ".", 1) if value < 0.995 else "1"
                ax.text(column, row, text, ha="center", va="center", fontsize=9)
        ax.set_xlim(-0.6, len(where) - 0.4)
        ax.set_ylim(len(levels) - 0.4, -0.6)
        ax.set_xticks(range(len(where)), labels, fontsize=9)
        ax.set_yticks(range(len(levels)), list(levels))
        ax.tick_params(length=0)
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_xlabel("severity, and axis of shift")

    said = "; ".join(
        f"{arm}: " + ", ".join(f"{axis} {s} {e.value:.2f}" for (axis, s), e in found.items())
        for arm, found in levels.items()
    )
    return draw_figure(
        f"{name}-ood-map",
        f"{name}: exact answers by axis and severity",
        "Means over seeds, each arm answering in its default way. Severity 0: held out, not shifted.",
        draw,
        said,
    )


def curve_figure(name: str, section: OodStudy, axis: str, metric: str, look: Look) -> Figure:
    """One metric against the severity of one axis, with intervals."""
    shown = [(arm.arm, decay) for arm in section.arms if (decay := arm.decay(metric, axis)) is not None]

    def draw(ax: Axes) -> None:
        for k, (arm, decay) in enumerate(shown):
            colour, marker = look[arm]
            x = np.array(decay.severities) + 0.05 * (k - (len(shown) - 1) / 2)
            for track in decay.tracks:
                values = [e.value for e in track.at]
                ax.plot(x, values, linestyle="none", marker=marker, markersize=2.5, color=colour, alpha=0.55)
            ax.plot(
                x,
                [level.value for level in decay.levels],
                color=colour,
                marker=marker,
                markersize=6,
                label=arm,
            )
            _bars(ax, x, decay.levels, colour, (0.0, 1.0) if metric == "exact" else (0.0, np.inf))
        ax.xaxis.set_major_locator(FixedLocator(list(section.axes[axis])))
        if metric == "exact":
            ax.set_ylim(-0.03, 1.03)
        else:
            # Student's t at three seeds reaches far; the points are what must be read.
            every = [e.value for _, decay in shown for track in decay.tracks for e in track.at]
            ax.set_ylim(0, 1.1 * max(every))
        ax.set_xlabel(f"severity of {axis}; 0 is in distribution, held out")
        ax.set_ylabel(LABELS[metric])

    said = "; ".join(f"{arm}: {_course(decay)}" for arm, decay in shown)
    return draw_figure(
        f"{name}-ood-{axis}-{metric}",
        f"{name}: {LABELS[metric].split(',')[0]} along {axis}",
        "Small points: seeds. Large: means, with 95% intervals, cut at the frame. Arms shifted sideways a "
        "little.",
        draw,
        said,
    )


def _course(decay: Decay) -> str:
    levels = ", ".join(f"{level.value:.3g}" for level in decay.levels)
    return f"{levels} at severities {', '.join(map(str, decay.severities))}"


def gain_figure(name: str, section: OodStudy, metric: str, look: Look) -> Figure:
    """What the most thinking gains over the least, by axis and severity."""
    where, labels = _columns(section.axes)
    shown = [(arm.arm, each) for arm in section.arms for each in arm.thinking if each.metric == metric]

    def draw(ax: Axes) -> None:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        for k, (arm, each) in enumerate(shown):
            colour, marker = look[arm]
            found = [gain for _, _, gain in each.gains]
            x = np.arange(len(where)) + 0.16 * (k - (len(shown) - 1) / 2)
            values = [gain.value for gain in found]
            label = f"{arm}, {each.most} over {each.least}"
            ax.plot(x, values, linestyle="none", marker=marker, markersize=6, color=colour, label=label)
            _bars(ax, x, found, colour, (-np.inf, np.inf))
        every = np.array([gain.value for _, each in shown for _, _, gain in each.gains])
        reach = max(1.6 * float(np.abs(every).max()), 0.01)
        ax.set_ylim(-reach, reach)
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.set_xticks(range(len(where)), labels, fontsize=9)
        ax.set_xlabel("severity, and axis of shift")
        ax.set_ylabel("exact answers gained" if metric == "exact" else "nats a token saved")

    said = "; ".join(
        f"{arm}: " + ", ".join(f"{axis} {s} {gain.value:+.3g}" for axis, s, gain in each.gains)
        for arm, each in shown
    )
    what = "exact answers" if metric == "exact" else "loss"
    return draw_figure(
        f"{name}-ood-thinking-{metric}",
        f"{name}: gain from thinking by severity, in {what}",
        "The most thinking less the least, means over seeds with 95% Student's t intervals, cut at the "
        "frame. Above 0 thinking helps.",
        draw,
        said,
    )


def _bars(
    ax: Axes, x: np.ndarray, found: Sequence[Estimate], colour: str, within: tuple[float, float]
) -> None:
    """Intervals, where there are any, cut to where the metric can be."""
    known = [i for i, e in enumerate(found) if np.isfinite(e.low) and np.isfinite(e.high)]
    if not known:
        return
    values = np.array([found[i].value for i in known])
    low = np.maximum([found[i].low for i in known], within[0])
    high = np.minimum([found[i].high for i in known], within[1])
    ax.errorbar(
        x[known],
        values,
        yerr=np.maximum([values - low, high - values], 0),
        linestyle="none",
        color=colour,
        elinewidth=1.1,
        capsize=2,
        alpha=0.7,
    )
