"""Figures of the anatomy: survival of entropy, classes among forking tokens, gains, courses, relabelling."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from compare.analysis.base import LookOf
from compare.analysis.drawing import NEUTRAL, Figure, draw_courses, draw_figure, draw_row, name_rows
from compare.analysis.tokens.measure import ABOVE, CLASSES, END, START, AnatomyStudy, ArmAnatomy, Phase
from compare.stats.intervals import Estimate
from compare.stats.rl_history import stretches

POINTS = 50
"""Points drawn of a course: means of consecutive updates."""

CLASS_LOOK = {
    "plan": ("#0072B2", "o"),
    "execute": ("#D55E00", "s"),
    "format": ("#8C8C8C", "X"),
    "answer": ("#009E73", "D"),
}
"""Colour and marker of each class of tokens."""


def of_anatomy(name: str, study: AnatomyStudy, look: LookOf) -> tuple[Figure, ...]:
    """Every figure of a study that has something to show."""
    main = study.main
    figures = [survival_figure(name, study, look)]
    if any(f"tokens_{label}" in run.at[START] for run in main.runs for label in CLASSES):
        figures.append(classes_figure(name, main))
    gains = [(arm, arm.gain) for arm in study.arms if arm.gain is not None]
    if gains:
        figures.append(gain_figure(name, gains, look))
    for phase in main.phases.values():
        if any(phase.measure in run.curves for run in main.runs):
            figures.append(course_figure(name, main, phase))
        if phase.lag is not None and len(phase.relabelled_R) > 1:
            figures.append(relabelling_figure(name, main, phase))
    return tuple(figures)


def survival_figure(name: str, study: AnatomyStudy, look: LookOf) -> Figure:
    """Share of tokens above each entropy: one line at the warm start, one per arm at the end."""
    main = study.main
    lines: list[tuple[str, str, str, dict[float, float]]] = []
    for arm, stage, label in [(main, START, START), *((arm, END, arm.arm) for arm in study.arms)]:
        means = {c: arm.mean(stage, c) for c in arm.runs[0].at[stage] if c.startswith(ABOVE)}
        shares = dict(sorted((float(c.removeprefix(ABOVE)), mean.value) for c, mean in means.items() if mean))
        colour, style = (NEUTRAL, "--") if stage == START else (look[arm.arm][0], "-" + look[arm.arm][1])
        lines.append((label, colour, style, shares))

    def draw(ax: Axes) -> None:
        for label, colour, style, shares in lines:
            x, y = list(shares), list(shares.values())
            ax.plot(x, y, style, color=colour, markersize=4.5, label=label, alpha=0.9)
        ax.axhline(0.2, color=NEUTRAL, linewidth=0.8, alpha=0.5)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set(xlabel="entropy, nats", ylabel="share of tokens above", ylim=(-0.02, 1.02))

    def spoken(shares: dict[float, float]) -> str:
        return ", ".join(f"{s:.0%} above {x:g} nats" for x, s in shares.items() if x in (0.01, 0.1, 0.5))

    return draw_figure(
        f"{name}-anatomy-survival",
        f"{name}: share of tokens above each entropy",
        f"At the end of training, and of {main.arm}'s warm start. Means over seeds, fixed validation "
        "problems. Where a curve crosses the thin line begins the fifth that rl_forking learns from.",
        draw,
        "; ".join(f"{label}: {spoken(shares)}" for label, _, _, shares in lines),
        tuple(cell for arm in study.arms for cell in arm.cells),
    )


def classes_figure(name: str, arm: ArmAnatomy) -> Figure:
    """Each class's share of all tokens and of the forking ones, before and after."""
    rows: list[tuple[str, str, list[float], list[float]]] = []
    for stage, label in ((stage, label) for stage in (START, END) for label in CLASSES):
        probes = [run.at[stage] for run in arm.runs if f"tokens_{label}" in run.at[stage]]
        tokens = [probe[f"tokens_{label}"] for probe in probes]
        forks = [probe.get(f"forks_{label}", 0.0) for probe in probes]
        if probes:
            rows.append((label, f"{CLASSES[label]}, {stage}", tokens, forks))

    def draw(ax: Axes) -> None:
        for y, (label, _, tokens, forks) in enumerate(rows):
            colour, marker = CLASS_LOOK[label]
            ax.plot([np.mean(tokens), np.mean(forks)], [y, y], color=colour, linewidth=1.4, alpha=0.6)
            ax.plot(forks, [y] * len(forks), marker, markersize=2.5, color=colour)
            ax.plot(np.mean(tokens), y, marker, markersize=7, color=colour, markerfacecolor="none")
            ax.plot(np.mean(forks), y, marker, markersize=7, color=colour)
        ax.plot([], [], "o", color=NEUTRAL, markerfacecolor="none", label="of all tokens")
        ax.plot([], [], "o", color=NEUTRAL, label="of the most uncertain fifth")
        name_rows(ax, [text for _, text, _, _ in rows])
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.set(xlabel="share", xlim=(-0.02, 1.02))

    return draw_figure(
        f"{name}-anatomy-classes",
        f"{name}, {arm.arm}: which tokens are the uncertain ones",
        "Hollow: share of all tokens. Filled: share of the fifth with the highest entropy. Large: means over "
        "seeds. Small: seeds.",
        draw,
        "; ".join(
            f"{text}: {np.mean(tokens):.0%} of all tokens, {np.mean(forks):.0%} of the most uncertain fifth"
            for _, text, tokens, forks in rows
        ),
        arm.cells,
    )


def gain_figure(name: str, gains: list[tuple[ArmAnatomy, Estimate]], look: LookOf) -> Figure:
    """Exact answers gained over the warm start, arm by arm."""

    def draw(ax: Axes) -> None:
        for y, (arm, gain) in enumerate(gains):
            draw_row(ax, y, arm.gains, gain, look[arm.arm])
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        name_rows(ax, [arm.arm for arm, _ in gains])
        every = [0.0, *(gain for arm, _ in gains for gain in arm.gains)]
        room = 0.5 * max(max(every) - min(every), 0.02)
        # Student's t at three seeds reaches far; the points are what must be read.
        ax.set_xlim(min(every) - room, max(every) + room)
        ax.set_xlabel("exact answers gained over the warm start, sampled")

    return draw_figure(
        f"{name}-anatomy-gains",
        f"{name}: what training on each choice of tokens gained",
        "Small: seeds. Large: means, with 95% intervals over seeds and problems, cut at the frame. "
        "Differences between arms are paired and stand among the findings: they are known better.",
        draw,
        "; ".join(f"{arm.arm} {e.value:+.3g}, 95% interval {e.low:.3g} to {e.high:.3g}" for arm, e in gains),
        tuple(cell for arm, _ in gains for cell in arm.cells),
    )


def course_figure(name: str, arm: ArmAnatomy, phase: Phase) -> Figure:
    """Entropy or error of each class over reinforcement learning, with half-falls."""
    measure = phase.measure
    runs = {run.run.planned.cell: run.curves[measure] for run in arm.runs if measure in run.curves}
    courses = {
        label: own
        for label in CLASSES
        if (own := [(c.share_T, c.classes[label]) for c in runs.values() if label in c.classes])
    }

    def draw(ax: Axes) -> None:
        for label, own in courses.items():
            x, mean = draw_courses(ax, own, POINTS, CLASS_LOOK[label], CLASSES[label])
            if label in phase.half:
                at = phase.half[label].value
                ax.plot([at, at], [0, np.interp(at, x, mean)], ":", color=CLASS_LOOK[label][0], linewidth=1.2)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.set(xlim=(0, 1), ylim=(0, None), xlabel="share of the compute of reinforcement learning")
        unit = "entropy, nats per token" if measure == "entropy" else "error, first departures per token"
        ax.set_ylabel(unit)

    def spoken(label: str) -> str:
        drawn = [stretches(y, POINTS) for _, y in courses[label]]
        first, last = (float(np.mean([y[i] for y in drawn])) for i in (0, -1))
        half = f"half-fall at {phase.half[label].value:.0%}" if label in phase.half else "no half-fall"
        return f"{CLASSES[label]} from {first:.3g} to {last:.3g}, {half}"

    return draw_figure(
        f"{name}-anatomy-{measure}",
        f"{name}, {arm.arm}: {measure} by class over reinforcement learning",
        "Thin: seeds, in means of consecutive updates. Thick: means over seeds. Dotted: half-fall, mean over "
        "seeds.",
        draw,
        "; ".join(map(spoken, courses)),
        tuple(runs),
    )


def relabelling_figure(name: str, arm: ArmAnatomy, phase: Phase) -> Figure:
    """The lag of planning tokens among the lags that other labellings of the same places give."""
    known = phase.relabelled_R[~np.isnan(phase.relabelled_R)]
    true = float(known[0])

    def draw(ax: Axes) -> None:
        edges = np.linspace(min(known.min(), -0.01), max(known.max(), 0.01), 31)
        ax.hist(known[1:], bins=edges, color=NEUTRAL, alpha=0.3, label="other labellings")
        ax.axvline(true, color=CLASS_LOOK["plan"][0], linewidth=2.2, label="the true one")
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        ax.set(xlabel="half-fall, planning less execution, share of compute", ylabel="labellings")

    return draw_figure(
        f"{name}-anatomy-{phase.measure}-relabelled",
        f"{name}, {arm.arm}: lag of {phase.measure} under relabelling",
        f"Mean over seeds of the half-fall of planning less that of execution, for the true labels and for "
        f"{len(known) - 1} others of the same places.",
        draw,
        f"true lag {true:.3g}; {phase.p_relabelled:.1%} of labellings are at least as far from zero",
        arm.cells_of(phase),
    )
