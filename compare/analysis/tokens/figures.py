"""Figures of the anatomy: survival of entropy, classes among forking tokens, gains, courses, relabelling."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from compare.analysis.drawing import NEUTRAL, Figure, draw_figure
from compare.analysis.tokens.measure import (
    CLASSES,
    AnatomyStudy,
    ArmAnatomy,
    Curves,
    Phase,
    RunAnatomy,
    Snapshot,
    mean_of,
)
from compare.stats.intervals import Array
from compare.stats.rl_history import stretches

Look = dict[str, tuple[str, str]]
"""Colour and marker of each arm."""

POINTS = 50
"""Points drawn of a course: means of consecutive updates."""

TONES = {"plan": "#0072B2", "execute": "#D55E00", "format": "#8C8C8C", "answer": "#009E73"}
"""Colour of each class of tokens; its marker is in SHAPES."""
SHAPES = {"plan": "o", "execute": "s", "format": "X", "answer": "D"}
WORDS = {"plan": "planning", "execute": "execution", "format": "format", "answer": "answer"}


def of_anatomy(name: str, section: AnatomyStudy, look: Look) -> list[Figure]:
    """Every figure of the section that has something to show."""
    main = section.main
    figures = [survival_figure(name, section, look)]
    if any(run.start.tokens for run in main.runs):
        figures.append(classes_figure(name, main))
    if any(arm.gains for arm in section.arms):
        figures.append(gain_figure(name, section, look))
    for phase in main.phases.values():
        if any(phase.measure in run.curves for run in main.runs):
            figures.append(course_figure(name, main, phase))
        if phase.lag is not None and len(phase.relabelled_R) > 1:
            figures.append(relabelling_figure(name, main, phase))
    return figures


def survival_figure(name: str, section: AnatomyStudy, look: Look) -> Figure:
    """Share of tokens above each entropy: one line at the warm start, one an arm at the end."""
    lines: list[tuple[str, str, str, Array, Array]] = []
    main = section.main
    for arm, label, of in [
        (main, "warm start", _start),
        *((arm, arm.arm, _end) for arm in section.arms),
    ]:
        levels, shares = _survival(arm.runs, of)
        colour, marker = (NEUTRAL, "") if of is _start else look[arm.arm]
        lines.append((label, colour, marker, levels, shares))

    def draw(ax: Axes) -> None:
        for label, colour, marker, levels, shares in lines:
            ax.plot(
                levels,
                shares,
                color=colour,
                marker=marker,
                markersize=4.5,
                label=label,
                linestyle="--" if not marker else "-",
                alpha=0.9,
            )
        ax.axhline(0.2, color=NEUTRAL, linewidth=0.8, alpha=0.5)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel("entropy, nats")
        ax.set_ylabel("share of tokens above")

    said = "; ".join(f"{label}: {_spoken(levels, shares)}" for label, _, _, levels, shares in lines)
    return draw_figure(
        f"{name}-anatomy-survival",
        f"{name}: share of tokens above each entropy",
        f"At the end of training, and of {main.arm}'s warm start. Means over seeds, fixed validation "
        "problems. Where a curve crosses the thin line begins the fifth that rl_forking learns from.",
        draw,
        said,
    )


def classes_figure(name: str, arm: ArmAnatomy) -> Figure:
    """Each class's share of all tokens and of the forking ones, before and after."""
    rows: list[tuple[str, str, list[float], list[float]]] = []
    for stage, of in (("warm start", _start), ("end", _end)):
        for label in CLASSES:
            having = [run for run in arm.runs if label in of(run).tokens]
            if having:
                rows.append(
                    (
                        label,
                        f"{WORDS[label]}, {stage}",
                        [of(run).tokens[label] for run in having],
                        [of(run).forks.get(label, 0.0) for run in having],
                    )
                )

    def draw(ax: Axes) -> None:
        for y, (label, _, tokens, forks) in enumerate(rows):
            colour, marker = TONES[label], SHAPES[label]
            ax.plot([np.mean(tokens), np.mean(forks)], [y, y], color=colour, linewidth=1.4, alpha=0.6)
            ax.plot(forks, [y] * len(forks), linestyle="none", marker=marker, markersize=2.5, color=colour)
            for values, face in ((tokens, "none"), (forks, colour)):
                ax.plot(
                    np.mean(values),
                    y,
                    linestyle="none",
                    marker=marker,
                    markersize=7,
                    markerfacecolor=face,
                    markeredgecolor=colour,
                )
        for face, label in (("none", "of all tokens"), (NEUTRAL, "of the most uncertain fifth")):
            ax.plot(
                [],
                [],
                linestyle="none",
                marker="o",
                markeredgecolor=NEUTRAL,
                markerfacecolor=face,
                label=label,
            )
        ax.set_yticks(range(len(rows)), [text for _, text, _, _ in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(-0.02, 1.02)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("share")

    said = "; ".join(
        f"{text}: {np.mean(tokens):.0%} of all tokens, {np.mean(forks):.0%} of the most uncertain fifth"
        for _, text, tokens, forks in rows
    )
    return draw_figure(
        f"{name}-anatomy-classes",
        f"{name}, {arm.arm}: which tokens are the uncertain ones",
        "Hollow: share of all tokens. Filled: share of the fifth with the highest entropy. Large: means over "
        "seeds. Small: seeds.",
        draw,
        said,
    )


def gain_figure(name: str, section: AnatomyStudy, look: Look) -> Figure:
    """Exact answers gained over the warm start: seeds small, means large with intervals."""
    arms = [arm for arm in section.arms if arm.gains and arm.gain is not None]

    def draw(ax: Axes) -> None:
        for y, arm in enumerate(arms):
            colour, marker = look[arm.arm]
            assert arm.gain is not None
            if not arm.gain.single_run:
                ax.plot([arm.gain.low, arm.gain.high], [y, y], color=colour, linewidth=1.1, alpha=0.7)
            ax.plot(
                arm.gains,
                [y] * len(arm.gains),
                linestyle="none",
                marker=marker,
                markersize=3,
                color=colour,
                alpha=0.6,
            )
            ax.plot(arm.gain.value, y, linestyle="none", marker=marker, markersize=7, color=colour)
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        ax.set_yticks(range(len(arms)), [arm.arm for arm in arms])
        ax.set_ylim(len(arms) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        every = [0.0, *(gain for arm in arms for gain in arm.gains)]
        room = 0.5 * max(max(every) - min(every), 0.02)
        # Student's t at three seeds reaches far; the points are what must be read.
        ax.set_xlim(min(every) - room, max(every) + room)
        ax.set_xlabel("exact answers gained over the warm start, sampled")

    said = "; ".join(
        f"{arm.arm} {arm.gain.value:+.3g}, 95% interval {arm.gain.low:.3g} to {arm.gain.high:.3g}"
        for arm in arms
        if arm.gain is not None
    )
    return draw_figure(
        f"{name}-anatomy-gains",
        f"{name}: what training on each choice of tokens gained",
        "Small: seeds. Large: means, with 95% intervals over seeds and problems, cut at the frame. "
        "Differences between arms are paired and stand among the findings: they are known better.",
        draw,
        said,
    )


def course_figure(name: str, arm: ArmAnatomy, phase: Phase) -> Figure:
    """Entropy or error of each class over reinforcement learning, with half-falls."""
    measure = phase.measure
    having = [run.curves[measure] for run in arm.runs if measure in run.curves]
    met = [label for label in CLASSES if any(label in curves.classes for curves in having)]

    def draw(ax: Axes) -> None:
        for label in met:
            grid = np.linspace(0, 1, POINTS)
            thin = []
            for curves in having:
                if label not in curves.classes:
                    continue
                x, y = stretches(curves.share_T, POINTS), stretches(curves.classes[label], POINTS)
                ax.plot(x, y, color=TONES[label], linewidth=0.6, alpha=0.4)
                thin.append(np.interp(grid, x, y))
            mean = np.mean(thin, axis=0)
            ax.plot(
                grid,
                mean,
                color=TONES[label],
                linewidth=2.0,
                marker=SHAPES[label],
                markevery=10,
                markersize=5,
                label=WORDS[label],
            )
            if label in phase.half:
                at = phase.half[label].value
                ax.plot(
                    [at, at], [0, np.interp(at, grid, mean)], color=TONES[label], linewidth=1.2, linestyle=":"
                )
        ax.set_xlim(0, 1)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.set_xlabel("share of the compute of reinforcement learning")
        ax.set_ylabel("entropy, nats a token" if measure == "entropy" else "error, first departures a token")

    ends = "; ".join(_course(having, phase, label) for label in met)
    return draw_figure(
        f"{name}-anatomy-{measure}",
        f"{name}, {arm.arm}: {measure} by class over reinforcement learning",
        "Thin: seeds, in means of consecutive updates. Thick: means over seeds. Dotted: half-fall, mean over "
        "seeds.",
        draw,
        ends,
    )


def _course(having: list[Curves], phase: Phase, label: str) -> str:
    own = [curves.classes[label] for curves in having if label in curves.classes]
    first, last = (float(np.mean([stretches(y, POINTS)[i] for y in own])) for i in (0, -1))
    half = f", half-fall at {phase.half[label].value:.0%}" if label in phase.half else ", no half-fall"
    return f"{WORDS[label]} from {first:.3g} to {last:.3g}{half}"


def relabelling_figure(name: str, arm: ArmAnatomy, phase: Phase) -> Figure:
    """The lag of planning tokens among the lags that other labellings of the same places give."""
    known = phase.relabelled_R[~np.isnan(phase.relabelled_R)]
    true = float(known[0])

    def draw(ax: Axes) -> None:
        edges = np.linspace(min(known.min(), -0.01), max(known.max(), 0.01), 31)
        ax.hist(known[1:], bins=edges, color=NEUTRAL, alpha=0.3, label="other labellings")
        ax.axvline(true, color=TONES["plan"], linewidth=2.2, label="the true one")
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        ax.set_xlabel("half-fall, planning less execution, share of compute")
        ax.set_ylabel("labellings")

    return draw_figure(
        f"{name}-anatomy-{phase.measure}-relabelled",
        f"{name}, {arm.arm}: lag of {phase.measure} under relabelling",
        f"Mean over seeds of the half-fall of planning less that of execution, for the true labels and for "
        f"{len(known) - 1} others of the same places.",
        draw,
        f"true lag {true:.3g}; {phase.p_relabelled:.1%} of labellings are at least as far from zero",
    )


def _start(run: RunAnatomy) -> Snapshot:
    return run.start


def _end(run: RunAnatomy) -> Snapshot:
    return run.end


def _spoken(levels: Array, shares: Array) -> str:
    return ", ".join(
        f"{s:.0%} above {x:g} nats" for x, s in zip(levels, shares, strict=True) if x in (0.01, 0.1, 0.5)
    )


def _survival(runs: tuple[RunAnatomy, ...], of: Callable[[RunAnatomy], Snapshot]) -> tuple[Array, Array]:
    levels = sorted(set.intersection(*(set(of(run).above) for run in runs)))
    means = [mean_of(runs, lambda run, level=level: of(run).above[level]) for level in levels]
    return np.array(levels), np.array([mean.value for mean in means if mean is not None])
