"""Drawing a figure as SVG text: inline in the page, and a file beside the Markdown.

Text is drawn as paths, so it looks the same everywhere. What is neutral (axes, text, the baseline) is
drawn in `currentColor` and follows the page into dark mode; arms keep one colour and one marker over
all figures, from Okabe and Ito's palette, which survives colour blindness.
"""

import io
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np

from compare.analysis.quantity import BASELINE
from compare.stats.intervals import Array, Estimate, Interval
from compare.stats.rl_history import stretches

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

NEUTRAL = "#010203"
"""Stands for currentColor while matplotlib draws; no arm has it."""

PALETTE = {
    BASELINE: NEUTRAL,
    "ebt_s1": "#0072B2",
    "ebt_one_step": "#56B4E9",
    "rl_grpo": "#D55E00",
    "rl_clip_cov": "#E69F00",
    "rl_kl_cov": "#009E73",
    "rl_gppo": "#CC79A7",
}
SPARE = ("#999933", "#882255", "#44AA99", "#AA4499", "#8C8C8C", "#B8860B")
"""For other arms, in order of name."""

POINTS = 40
"""Points drawn of a run: means of consecutive updates, so that one rollout's noise does not hide the line."""

MARKERS = "osD^vP*X<>ph"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.18,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.figsize": (5.0, 3.7),
    **dict.fromkeys(
        ("grid.color", "text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        NEUTRAL,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure, ready to be put in a page."""

    name: str
    """File name without its ending."""
    title: str
    caption: str
    svg: str
    records: tuple[str, ...] = ()
    """Cells that it shows; empty: those of its study or section."""


def standalone(figure: Figure) -> str:
    """SVG text for a file of its own: a viewer gives no colour to inherit, so it brings paper and ink."""
    return figure.svg.replace("<title>", "<style>:root{color:#1b1f24;background:#fff}</style><title>", 1)


def colours(arms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each arm, the same whatever subset a figure shows."""
    shown = set(arms)
    others = sorted(shown - PALETTE.keys())
    tints = [*PALETTE.values(), *(SPARE[i % len(SPARE)] for i in range(len(others)))]
    looks = zip([*PALETTE, *others], tints, itertools.cycle(MARKERS), strict=False)
    return {name: (colour, marker) for name, colour, marker in looks if name in shown}


def draw_figure(
    name: str,
    title: str,
    caption: str,
    draw: Callable[..., None],
    summary: str,
    records: tuple[str, ...] = (),
    *,
    rows: int = 1,
    columns: int = 1,
    height: float | None = None,
) -> Figure:
    """A figure of one plot, or of several, row by row; the first one's labelled artists become the legend.

    Args:
        name: file name; what a file name cannot hold becomes a dash.
        draw: puts everything into the axes, which it is given one by one.
        summary: the figure in words, for those who cannot see it.
        records: cells that it shows, if not all of its study or section.
        height: inches at a width of 5; none: that of every figure.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
    width, usual = STYLE["figure.figsize"]
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": safe}):
        figure, grid = plt.subplots(
            rows, columns, squeeze=False, figsize=(width, height or usual), layout="constrained"
        )
        draw(*grid.flat)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        if labels:
            # Some 66 characters go into a line; six are the sign's.
            fit = max(1, min(len(labels), 3, 66 // (max(map(len, labels)) + 6)))
            figure.legend(handles, labels, loc="outside upper center", ncols=fit, fontsize=9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    svg = _accessible(buffer.getvalue(), safe, title, summary)
    return Figure(name=safe, title=title, caption=caption, svg=svg, records=records)


WIDE = 400
"""Points of width beyond which a figure does not shrink to a narrow screen."""


def _accessible(svg: str, name: str, title: str, summary: str) -> str:
    """An SVG element alone, with a text alternative, neutral colours and ids of its own.

    Several figures share a page, and matplotlib gives each the same ids.
    """
    svg = svg[svg.index("<svg") :].replace(NEUTRAL, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    text = escape(f"{title}. {summary}", quote=True)
    head, body = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*pt"', "", head)
    size = re.search(r'viewBox="0 0 ([\d.]+) ', head)
    if size and float(size[1]) > WIDE:
        # On a phone its letters would be too small to read: it keeps its width, and its frame scrolls.
        head += f' style="min-width: {float(size[1]):.0f}px"'
    return f'{head} role="img" aria-label="{text}"><title>{text}</title>{body}'


def draw_courses(
    ax: Axes, courses: list[tuple[Array, Array]], points: int, look: tuple[str, str], label: str
) -> tuple[Array, Array]:
    """Seeds, each (x, y), thin; their mean thick, over the x that all of them cover. Returns the mean.

    Args:
        points: means of consecutive rows to draw of each, so that noise does not hide the line.
    """
    colour, marker = look
    seeds = [(stretches(x, points), stretches(y, points)) for x, y in courses]
    for x, y in seeds:
        ax.plot(x, y, color=colour, linewidth=0.7, alpha=0.5)
    grid = np.linspace(max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds), 100)
    mean = np.mean([np.interp(grid, x, y) for x, y in seeds], axis=0)
    ax.plot(grid, mean, f"-{marker}", color=colour, label=label, linewidth=2.2, markevery=20, markersize=5)
    return grid, mean


def draw_row(
    ax: Axes, y: float, seeds: Sequence[float], mean: Estimate, look: tuple[str, str], least: float = -np.inf
) -> None:
    """Along one row: seeds small, their mean large with its interval, which is cut at `least`."""
    colour, marker = look
    if not mean.single_run:
        ax.plot([max(mean.low, least), mean.high], [y, y], color=colour, linewidth=1.1, alpha=0.7)
    ax.plot(seeds, [y] * len(seeds), marker, markersize=2.5, color=colour, alpha=0.55)
    ax.plot(mean.value, y, marker, markersize=6, color=colour)


def draw_bars(
    ax: Axes, x: Iterable[float], intervals: Sequence[Interval], colour: str, least: float = -np.inf
) -> None:
    """Over each x its interval, where there is one, cut at `least`."""
    style = {"fmt": "none", "ecolor": colour, "elinewidth": 1.1, "capsize": 2, "alpha": 0.7}
    for at, e in zip(x, intervals, strict=True):
        if np.isfinite([e.low, e.high]).all():
            low = max(e.low, least)
            ax.errorbar(at, (low + e.high) / 2, (e.high - low) / 2, **style)


def name_rows(ax: Axes, names: list[str]) -> None:
    """Names of rows 0, 1, ..., the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
