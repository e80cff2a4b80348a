"""Figures of thinking: courses along the steps, energy against correctness, a board being filled."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from compare.analysis.drawing import NEUTRAL, Figure, draw_figure, draw_panels
from compare.analysis.energy.measure import BINS, Place, calibration, outcomes
from compare.stats.intervals import Array
from compare.store.descent import SOLVED, Course, Example

TONES = {True: "#009E73", False: "#D55E00"}
"""Colour of solved and of failed problems; their marker and line are in SHAPES and LINES."""
SHAPES = {True: "o", False: "X"}
LINES = {True: "-", False: "--"}
CHANGED, WRONG = "#56B4E9", "#D55E00"
SHOWN = {4: 8, 9: 6}
"""Most boards in a picture, by the cells of a side."""
ABREAST = {4: 4, 9: 3}
"""Boards beside each other."""


def course_figure(name: str, place: Place) -> Figure:
    """Energy and entropy after each step, solved problems against failed ones."""
    both = {solved: curves(place, solved) for solved in (True, False)}
    found = {solved: curve for solved, curve in both.items() if curve is not None}
    labels = ("energy; mean start: 0", "entropy, nats per token")

    def draw(panels: list[Axes]) -> None:
        for i, (ax, label) in enumerate(zip(panels, labels, strict=True)):
            for solved, (_, courses) in found.items():
                seeds, mean, spread = courses[i]
                grid = np.arange(len(mean))
                tone, line = TONES[solved], LINES[solved]
                ax.fill_between(grid, mean - spread, mean + spread, color=tone, alpha=0.15, linewidth=0)
                for values in seeds if len(seeds) > 1 else []:
                    ax.plot(grid, values, color=tone, linestyle=line, linewidth=0.7, alpha=0.5)
                ax.plot(
                    grid,
                    mean,
                    color=tone,
                    linestyle=line,
                    linewidth=2.0,
                    marker=SHAPES[solved],
                    label=SOLVED[solved],
                )
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_ylabel(label)
        panels[1].set_ylim(bottom=0)
        panels[1].set_xlabel("steps of thinking; 0 is the start")
        panels[0].tick_params(labelbottom=False)

    said = "; ".join(
        f"{SOLVED[solved]} problems ({n}): energy from {e[1][0]:.3g} to {e[1][-1]:.3g}, "
        f"entropy from {h[1][0]:.3g} to {h[1][-1]:.3g} nats per token"
        for solved, (n, (e, h)) in found.items()
    )
    return draw_panels(
        f"{name}-pictures-{place.arm}-{place.axis}-{place.severity}-course",
        f"{name}, {place.name}: energy and entropy along the steps",
        "Thick: means over seeds. Thin: seeds. Bands: one standard deviation over the problems of a run. "
        "An energy's zero means nothing: from each run's energies, their mean at the start over all its "
        "problems is taken.",
        draw,
        said,
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
    courses: list[tuple[Course, float]] = []
    entries = len(place.runs[0][1].courses[0].energy)
    for _, descent in place.runs:
        start = sum(c.n * c.energy[0] for c in descent.courses) / len(descent.correct)
        courses += [(c, start) for c in descent.courses if c.solved == solved and len(c.energy) == entries]
    if not courses:
        return None
    energies = np.array([np.array(c.energy) - start for c, start in courses])
    entropies = np.array([c.entropy for c, _ in courses])
    energy = energies, energies.mean(axis=0), _spread([c.energy_sd for c, _ in courses])
    entropy = entropies, entropies.mean(axis=0), _spread([c.entropy_sd for c, _ in courses])
    return sum(c.n for c, _ in courses), (energy, entropy)


def _spread(deviations: list[tuple[float, ...]]) -> Array:
    return np.sqrt((np.array(deviations) ** 2).mean(axis=0))


def calibration_figure(name: str, places: list[Place], look: tuple[str, str]) -> Figure:
    """Share correct by fifth of the problems, sorted by energy: one line per severity."""
    colour, marker = look

    def draw(ax: Axes) -> None:
        for k, place in enumerate(places):
            face = colour if k == 0 else "none"
            nudge = 0.08 * (k - (len(places) - 1) / 2)
            x = np.arange(len(place.calibration)) + 1 + nudge
            value = np.array([share.value for share in place.calibration])
            ends = np.array([(share.low, share.high) for share in place.calibration]).T
            # Wilson's interval holds the share up to rounding.
            bars = np.maximum((value - ends) * [[1], [-1]], 0)
            ax.errorbar(
                x,
                value,
                yerr=bars,
                color=colour,
                marker=marker,
                markerfacecolor=face,
                linestyle="--" if k else "-",
                elinewidth=1.1,
                capsize=2,
                label=f"{'in distribution' if not place.severity else f'{place.axis} {place.severity}'}"
                f"{_rate(place)}",
            )
            for _, descent in place.runs if len(place.runs) > 1 else ():
                own = calibration([(np.array(descent.energy), outcomes(descent))])
                ax.plot(
                    x[: len(own)],
                    [share.value for share in own],
                    linestyle="none",
                    marker=marker,
                    markersize=2.5,
                    color=colour,
                    alpha=0.55,
                )
        ax.set_xticks(range(1, BINS + 1), ["lowest", *map(str, range(2, BINS)), "highest"])
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_xlabel("fifth of a run's problems, by the energy of the answer")
        ax.set_ylabel("answers that are right")

    said = "; ".join(
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
        said,
        tuple(cell for place in places for cell in place.cells),
    )


def _rate(place: Place) -> str:
    signal = place.signal("energy")
    return f", AUROC {signal.auroc.value:.2f}" if signal else ""


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
    words: list[str] = []

    def draw(panels: list[Axes]) -> None:
        for ax in panels:
            ax.set_axis_off()
        for e, example in enumerate(examples):
            for k, (i, state, before) in enumerate(_states(example, steps, side)):
                ax = panels[e * rows * columns + k]
                _draw_board(ax, state, before, example, side)
                outcome = "" if k else f"{SOLVED[example.correct]} in the end"
                step = f"step {i}" if i else "start"
                ax.set_title(f"{outcome}\n{step}, E = {example.energy[i] + 0.0:.3g}", fontsize=8)
        first = panels[0]
        # Beyond the board: for the legend alone.
        first.plot([], [], "s", color=CHANGED, alpha=0.45, markersize=9, label="changed")
        first.plot([], [], marker=(2, 0, -45), color=WRONG, markersize=11, linestyle="none", label="wrong")

    for example in examples:
        told: list[str] = []
        for i, state, before in _states(example, steps, side):
            wrong = sum(a != b for a, b in zip(state, solution(example, side**2), strict=True))
            changed = sum(a != b for a, b in zip(state, before, strict=True))
            step = f"step {i}: {changed} cells changed, {wrong}" if i else f"start: {wrong}"
            told.append(f"{step} wrong")
        words.append(f"{SOLVED[example.correct]} in the end: {', '.join(told)}")
    left_out = "" if len(steps) == len(examples[0].completions) else " Not every step is shown."
    return draw_panels(
        f"{name}-pictures-{place.arm}-{place.axis}-{place.severity}-boards",
        f"{name}, {place.name}: Sudokus being filled in",
        "The most probable digits after each step. Bold: given. Shaded: changed since the board before. "
        f"Struck through: not the solution's.{left_out} E: energy of the whole answer.",
        draw,
        "; ".join(words),
        tuple(place.cell_of(example) for example in examples),
        rows=rows * len(examples),
        columns=columns,
        height=0.4 + rows * len(examples) * (5.0 / max(columns, 3) + 0.3),
    )


def _states(example: Example, steps: list[int], side: int) -> list[tuple[int, str, str]]:
    """Each shown step, its board, and the board shown before it."""
    every = boards(example, side**2)
    return [(i, every[i], every[steps[max(k - 1, 0)]]) for k, i in enumerate(steps)]


def _draw_board(ax: Axes, state: str, before: str, example: Example, side: int) -> None:
    box, reference = math.isqrt(side), solution(example, side**2)
    ax.set_xlim(-0.05, side + 0.05)
    ax.set_ylim(side + 0.05, -0.05)
    ax.set_aspect("equal")
    size = {4: 14, 9: 8}[side]
    for cell, digit in enumerate(state):
        row, column = divmod(cell, side)
        if digit != before[cell]:
            ax.add_patch(Rectangle((column, row), 1, 1, color=CHANGED, alpha=0.45, linewidth=0))
        wrong = digit != reference[cell]
        if wrong:
            ax.plot(
                [column + 0.12, column + 0.88],
                [row + 0.88, row + 0.12],
                color=WRONG,
                linewidth=1.2 if side == 4 else 0.9,
            )
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
        width = 1.6 if i % box == 0 else 0.5
        ax.plot([i, i], [0, side], color=NEUTRAL, linewidth=width, solid_capstyle="projecting")
        ax.plot([0, side], [i, i], color=NEUTRAL, linewidth=width, solid_capstyle="projecting")
