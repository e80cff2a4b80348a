"""Figures of thinking: courses along the steps, energy against correctness, a board being filled."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from compare.analysis.drawing import NEUTRAL, Figure, draw_bars, draw_figure
from compare.analysis.energy.measure import BINS, ENERGY, Place, calibration
from compare.analysis.paired import bits
from compare.stats.intervals import Array
from compare.store.descent import SOLVED, Course, Example

STYLES: dict[bool, dict[str, Any]] = {
    True: {"color": "#009E73", "linestyle": "-"},
    False: {"color": "#D55E00", "linestyle": "--"},
}
"""Of solved and of failed problems; so are SHAPES."""
SHAPES = {True: "o", False: "X"}
CHANGED, WRONG = "#56B4E9", "#D55E00"
SHOWN = {4: 8, 9: 6}
"""Most boards in a picture, by the cells of a side."""
ABREAST = {4: 4, 9: 3}
"""Boards beside each other."""


def course_figure(name: str, place: Place) -> Figure:
    """Energy and entropy after each step, solved problems against failed ones."""
    both = {solved: curve for solved in (True, False) if (curve := curves(place, solved)) is not None}

    def draw(*panels: Axes) -> None:
        for i, ax in enumerate(panels):
            for solved, (_, courses) in both.items():
                (seeds_ST, mean_T, spread_T), style = courses[i], STYLES[solved]
                grid, ends = np.arange(len(mean_T)), (mean_T - spread_T, mean_T + spread_T)
                ax.fill_between(grid, *ends, color=style["color"], alpha=0.15, linewidth=0)
                if len(seeds_ST) > 1:
                    ax.plot(grid, seeds_ST.T, linewidth=0.7, alpha=0.5, **style)
                ax.plot(grid, mean_T, linewidth=2.0, marker=SHAPES[solved], label=SOLVED[solved], **style)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].set_ylabel("energy; mean start: 0")
        panels[0].tick_params(labelbottom=False)
        panels[1].set(ylabel="entropy, nats per token", ylim=(0, None))
        panels[1].set_xlabel("steps of thinking; 0 is the start")

    summary = "; ".join(
        f"{SOLVED[solved]} problems ({n}): energy from {e[1][0]:.3g} to {e[1][-1]:.3g}, "
        f"entropy from {h[1][0]:.3g} to {h[1][-1]:.3g} nats per token"
        for solved, (n, (e, h)) in both.items()
    )
    return draw_figure(
        f"{name}-pictures-{place.arm}-{place.axis}-{place.severity}-course",
        f"{name}, {place.name}: energy and entropy along the steps",
        "Thick: means over seeds. Thin: seeds. Bands: one standard deviation over the problems of a run. "
        "An energy's zero means nothing: from each run's energies, their mean at the start over all its "
        "problems is taken.",
        draw,
        summary,
        place.cells,
        rows=2,
        height=5.4,
    )


Curve = tuple[Array, Array, Array]
"""Each seed's mean over problems (S, T), their mean (T,), and the spread over problems within a run (T,)."""


def curves(place: Place, solved: bool) -> tuple[int, tuple[Curve, Curve]] | None:
    """Number of problems, and the curves of energy and entropy; none if no problem had that outcome.

    Runs that think for another number of steps than the first one are left out.
    """
    energies, courses = list[Array](), list[Course]()
    entries = len(place.runs[0][1].courses[0].energy)
    for _, descent in place.runs:
        start = sum(c.n * c.energy[0] for c in descent.courses) / len(descent.correct)
        same = [c for c in descent.courses if c.solved == solved and len(c.energy) == entries]
        courses += same
        energies += [np.array(c.energy) - start for c in same]
    if not courses:
        return None
    return sum(c.n for c in courses), (
        _curve(energies, [c.energy_sd for c in courses]),
        _curve([c.entropy for c in courses], [c.entropy_sd for c in courses]),
    )


def _curve(means_ST: Sequence[Any], deviations_ST: Sequence[Any]) -> Curve:
    return np.array(means_ST), np.mean(means_ST, axis=0), np.sqrt(np.mean(np.square(deviations_ST), axis=0))


def calibration_figure(name: str, places: list[Place], look: tuple[str, str]) -> Figure:
    """Share correct by fifth of the problems, sorted by energy: one line per severity."""
    colour, marker = look

    def draw(ax: Axes) -> None:
        for k, place in enumerate(places):
            x = np.arange(len(place.calibration)) + 1 + 0.08 * (k - (len(places) - 1) / 2)
            style, face = ("--", "none") if k else ("-", colour)
            values = [share.value for share in place.calibration]
            ax.plot(x, values, style + marker, color=colour, markerfacecolor=face, label=_label(place))
            draw_bars(ax, x, place.calibration, colour)
            for _, descent in place.runs if len(place.runs) > 1 else ():
                shares = [s.value for s in calibration([(np.array(descent.energy), bits(descent.correct))])]
                ax.plot(x[: len(shares)], shares, marker, markersize=2.5, color=colour, alpha=0.55)
        ax.set_xticks(range(1, BINS + 1), ["lowest", *map(str, range(2, BINS)), "highest"])
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set(ylabel="answers that are right", ylim=(-0.03, 1.03))
        ax.set_xlabel("fifth of a run's problems, by the energy of the answer")

    summary = "; ".join(
        f"{place.name}: {', '.join(f'{share.value:.0%}' for share in place.calibration)} right, from the "
        f"lowest to the highest fifth by energy"
        for place in places
    )
    return draw_figure(
        f"{name}-pictures-{places[0].arm}-calibration",
        f"{name}, {places[0].arm}: energy against correctness",
        "Problems of all seeds, each run sorted by itself, with 95% Wilson intervals; they take outcomes as "
        "independent, which the same problems under several seeds are not quite. Small points: seeds. A line "
        "that falls from left to right: low energy means right.",
        draw,
        summary,
        tuple(cell for place in places for cell in place.cells),
    )


def _label(place: Place) -> str:
    where = f"{place.axis} {place.severity}" if place.severity else "in distribution"
    signal = place.signals.get(ENERGY)
    return f"{where}, AUROC {signal.auroc.value:.2f}" if signal else where


def boards(example: Example, cells: int) -> list[str]:
    """The board that each entry ends in, blank where it is too short: after a chain, `>` opens it."""
    last = example.completions[-1]
    first = last.index(">") + 1 if ">" in example.reference and ">" in last else 0
    return [text[first : first + cells].ljust(cells) for text in example.completions]


def solution(example: Example, cells: int) -> str:
    """The board that the reference ends in."""
    return example.reference.rpartition(">")[2][:cells]


def side_of(place: Place, shown: list[Example]) -> int:
    """Cells per side of the boards that the examples print; 0: they print none."""
    task = place.runs[0][0].record.config.get("task")
    side = task.get("side") if isinstance(task, dict) and task.get("kind") == "sudoku" else None
    if side not in SHOWN or not shown or len({len(example.completions) for example in shown}) > 1:
        return 0
    texts = [text for e in shown for text in (e.prompt[: side**2], solution(e, side**2))]
    return side if all(len(text) == side**2 and text.isdigit() for text in texts) else 0


def chosen_steps(entries: int, most: int) -> list[int]:
    """Which entries to show: the start, the end, and evenly spaced ones between."""
    return sorted({round(i) for i in np.linspace(0, entries - 1, min(entries, most))})


def board_figure(name: str, place: Place, examples: list[Example], side: int) -> Figure:
    """Sudokus after each step: clues bold, what changed shaded, what is wrong struck through."""
    steps = chosen_steps(len(examples[0].completions), SHOWN[side])
    columns = min(len(steps), ABREAST[side])
    rows = math.ceil(len(steps) / columns)
    states = [_states(example, steps, side) for example in examples]

    def draw(*panels: Axes) -> None:
        for ax in panels:
            ax.set_axis_off()
        for e, example in enumerate(examples):
            for k, (i, state, before) in enumerate(states[e]):
                ax = panels[e * rows * columns + k]
                _draw_board(ax, state, before, example, side)
                outcome = "" if k else f"{SOLVED[example.correct]} in the end"
                step = f"step {i}" if i else "start"
                ax.set_title(f"{outcome}\n{step}, E = {example.energy[i] + 0.0:.3g}", fontsize=8)
        first = panels[0]
        # Beyond the board: for the legend alone.
        first.plot([], [], "s", color=CHANGED, alpha=0.45, markersize=9, label="changed")
        first.plot([], [], marker=(2, 0, -45), color=WRONG, markersize=11, linestyle="none", label="wrong")

    left_out = "" if len(steps) == len(examples[0].completions) else " Not every step is shown."
    return draw_figure(
        f"{name}-pictures-{place.arm}-{place.axis}-{place.severity}-boards",
        f"{name}, {place.name}: Sudokus being filled in",
        "The most probable digits after each step. Bold: given. Shaded: changed since the board before. "
        f"Struck through: not the solution's.{left_out} E: energy of the whole answer.",
        draw,
        "; ".join(_in_words(*pair, side) for pair in zip(examples, states, strict=True)),
        tuple(place.cell_of(example) for example in examples),
        rows=rows * len(examples),
        columns=columns,
        height=0.4 + rows * len(examples) * (5.0 / max(columns, 3) + 0.3),
    )


def _states(example: Example, steps: list[int], side: int) -> list[tuple[int, str, str]]:
    """Each shown step, its board, and the board shown before it."""
    every = boards(example, side**2)
    return [(i, every[i], every[steps[max(k - 1, 0)]]) for k, i in enumerate(steps)]


def _in_words(example: Example, states: list[tuple[int, str, str]], side: int) -> str:
    parts: list[str] = []
    for i, state, before in states:
        wrong = sum(a != b for a, b in zip(state, solution(example, side**2), strict=True))
        changed = sum(a != b for a, b in zip(state, before, strict=True))
        parts.append(f"step {i}: {changed} cells changed, {wrong} wrong" if i else f"start: {wrong} wrong")
    return f"{SOLVED[example.correct]} in the end: {', '.join(parts)}"


def _draw_board(ax: Axes, state: str, before: str, example: Example, side: int) -> None:
    reference, size, stroke = solution(example, side**2), *{4: (14, 1.2), 9: (8, 0.9)}[side]
    ax.set(xlim=(-0.05, side + 0.05), ylim=(side + 0.05, -0.05), aspect="equal")
    for cell, digit in enumerate(state):
        row, column = divmod(cell, side)
        wrong = digit != reference[cell]
        if digit != before[cell]:
            ax.add_patch(Rectangle((column, row), 1, 1, color=CHANGED, alpha=0.45, linewidth=0))
        if wrong:
            ax.plot([column + 0.12, column + 0.88], [row + 0.88, row + 0.12], color=WRONG, linewidth=stroke)
        ax.text(
            column + 0.5,
            row + 0.53,
            digit if digit.strip() else "·",
            ha="center",
            va="center",
            fontsize=size,
            fontweight="bold" if example.prompt[cell] != "0" else "normal",
            color=WRONG if wrong else NEUTRAL,
        )
    for i in range(side + 1):
        width = 0.5 if i % math.isqrt(side) else 1.6
        ax.plot([i, i], [0, side], color=NEUTRAL, linewidth=width, solid_capstyle="projecting")
        ax.plot([0, side], [i, i], color=NEUTRAL, linewidth=width, solid_capstyle="projecting")
