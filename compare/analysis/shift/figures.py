"""Figures of decay: a map of all levels, a curve for each axis, the gain from thinking by severity."""

from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from compare.analysis.base import LookOf
from compare.analysis.blocks import Figures
from compare.analysis.drawing import NEUTRAL, Figure, draw_bars, draw_figure
from compare.analysis.shift.measure import Shift
from compare.analysis.shift.thinking_gain import Place, gained, places

LABELS = {"exact": "exact answers", "loss": "held-out loss, nats per token"}
INK = "#0072B2"
"""Of the map's cells; never opaque, so that the number in a cell is read on light and on dark paper."""
OPAQUE = 0.6
"""Opacity of a cell whose level is 1."""


def of_shift(name: str, shift: Shift, look: LookOf) -> list[Figures]:
    """The map, at full width, and the others; those that have something to show."""
    curves = [curve_figure(name, shift, axis, metric, look) for axis, metric in product(shift.axes, LABELS)]
    gains = [gain_figure(name, shift, metric, look) for metric in LABELS]
    return [
        Figures(figures=shown, wide=wide)
        for wide, drawn in ((True, [map_figure(name, shift)]), (False, curves + gains))
        if (shown := tuple(figure for figure in drawn if figure is not None))
    ]


def _labels(shift: Shift) -> list[str]:
    """Of every place: its severity, and under the middle one of each axis the axis's name."""
    where = places(shift.axes)
    labels = [str(severity) for _, severity in where]
    labels[0] += "\nnone"
    for i, axis in enumerate(shift.axes):
        own = [k for k, (name, severity) in enumerate(where) if name == axis and severity]
        # Names of neighbours stand at two heights, or they would run into one another.
        labels[own[(len(own) - 1) // 2]] += "\n" * (1 + i % 2) + axis
    return labels


def map_figure(name: str, shift: Shift) -> Figure | None:
    """Arms by (axis, severity): exact answers, written in each cell."""
    where, levels = places(shift.axes), dict[str, dict[Place, float]]()
    decays = [(arm.arm, decay) for arm in shift.largest for decay in arm.decays if decay.metric == "exact"]
    for arm, decay in decays:
        for severity, level in zip(decay.severities, decay.levels, strict=True):
            if severity or arm not in levels:
                levels.setdefault(arm, {})[decay.axis, severity] = level.value
    if not levels:
        return None

    def draw(ax: Axes) -> None:
        ax.figure.set_size_inches(max(5.0, 1.6 + 0.42 * len(where)), 1.2 + 0.42 * len(levels))  # pyright: ignore[reportAttributeAccessIssue]
        cells = product(enumerate(levels.values()), enumerate(where))
        for row, column, value in ((r, c, own[place]) for (r, own), (c, place) in cells if place in own):
            corner = (column - 0.48, row - 0.46)
            ax.add_patch(Rectangle(corner, 0.96, 0.92, facecolor=INK, alpha=OPAQUE * value, linewidth=0))
            frame = {"fill": False, "edgecolor": NEUTRAL, "alpha": 0.25, "linewidth": 0.5}
            ax.add_patch(Rectangle(corner, 0.96, 0.92, **frame))
            text = f"{value:.2f}".replace("0.", ".", 1) if value < 0.995 else "1"
            ax.text(column, row, text, ha="center", va="center", fontsize=9)
        limits = {"xlim": (-0.6, len(where) - 0.4), "ylim": (len(levels) - 0.4, -0.6)}
        ax.set(xlabel="severity, and axis of shift", **limits)
        ax.set_xticks(range(len(where)), _labels(shift), fontsize=9)
        ax.set_yticks(range(len(levels)), list(levels))
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)

    return draw_figure(
        f"{name}-ood-map",
        f"{name}: exact answers by axis and severity",
        "Means over seeds, each arm answering in its default way. Severity 0: held out, not shifted.",
        draw,
        "; ".join(
            f"{arm}: " + ", ".join(f"{axis} {s} {value:.2f}" for (axis, s), value in own.items())
            for arm, own in levels.items()
        ),
        tuple(dict.fromkeys(cell for _, decay in decays for cell in decay.cells)),
    )


def curve_figure(name: str, shift: Shift, axis: str, metric: str, look: LookOf) -> Figure | None:
    """One metric against the severity of one axis, with intervals."""
    shown = [(arm.arm, decay) for arm in shift.largest if (decay := arm.decay(metric, axis)) is not None]
    if not shown:
        return None

    def draw(ax: Axes) -> None:
        for k, (arm, decay) in enumerate(shown):
            colour, marker = look[arm]
            x = np.array(decay.severities) + 0.05 * (k - (len(shown) - 1) / 2)
            seeds_KS = np.array([[e.value for e in track.at] for track in decay.tracks]).T
            ax.plot(x, seeds_KS, marker, markersize=2.5, color=colour, alpha=0.55)
            means = [level.value for level in decay.levels]
            ax.plot(x, means, f"-{marker}", color=colour, markersize=6, label=arm)
            draw_bars(ax, x, decay.levels, colour, least=0.0)
        ax.xaxis.set_major_locator(FixedLocator(list(shift.axes[axis])))
        # Student's t at three seeds reaches far; of a loss the points are what must be read.
        largest = max(e.value for _, decay in shown for track in decay.tracks for e in track.at)
        ax.set(ylabel=LABELS[metric], ylim=(-0.03, 1.03) if metric == "exact" else (0, 1.1 * largest))
        ax.set_xlabel(f"severity of {axis}; 0 is in distribution, held out")

    return draw_figure(
        f"{name}-ood-{axis}-{metric}",
        f"{name}: {LABELS[metric].split(',')[0]} along {axis}",
        "Small points: seeds. Large: means, with 95% intervals, cut at the frame. Arms shifted sideways a "
        "little.",
        draw,
        "; ".join(
            f"{arm}: {', '.join(f'{level.value:.3g}' for level in decay.levels)} at severities "
            f"{', '.join(map(str, decay.severities))}"
            for arm, decay in shown
        ),
        tuple(cell for _, decay in shown for cell in decay.cells),
    )


def gain_figure(name: str, shift: Shift, metric: str, look: LookOf) -> Figure | None:
    """What the most thinking gains over the least, by axis and severity."""
    labels = _labels(shift)
    shown = [(arm.arm, own, gained(own)) for arm in shift.largest if (own := arm.gains.get(metric))]
    if not shown:
        return None

    def draw(ax: Axes) -> None:
        ax.axhline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        for k, (arm, own, gains) in enumerate(shown):
            colour, marker = look[arm]
            x = np.arange(len(labels)) + 0.16 * (k - (len(shown) - 1) / 2)
            label = f"{arm}, {' over '.join(own[0].efforts)}"
            ax.plot(x, [e.value for _, e in gains], marker, markersize=6, color=colour, label=label)
            draw_bars(ax, x, [e for _, e in gains], colour)
        reach = max(0.01, *(1.6 * abs(e.value) for _, _, gains in shown for _, e in gains))
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.set_xticks(range(len(labels)), labels, fontsize=9)
        unit = "exact answers gained" if metric == "exact" else "nats per token saved"
        ax.set(xlabel="severity, and axis of shift", ylabel=unit, ylim=(-reach, reach))

    return draw_figure(
        f"{name}-ood-thinking-{metric}",
        f"{name}: gain from thinking by severity, in {'exact answers' if metric == 'exact' else 'loss'}",
        "The most thinking less the least, means over seeds with 95% Student's t intervals, cut at the "
        "frame. Above 0 thinking helps.",
        draw,
        "; ".join(
            f"{arm}: " + ", ".join(f"{axis} {s} {e.value:+.3g}" for (axis, s), e in gains)
            for arm, _, gains in shown
        ),
        tuple(gain.run.planned.cell for _, own, _ in shown for gain in own),
    )
