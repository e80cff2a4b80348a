"""Figures of the anatomy: survival of entropy, classes among forking tokens, gains, courses, relabelling."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from compare.analysis.base import LookOf
from compare.analysis.drawing import NEUTRAL, Figure, draw_figure
from compare.analysis.tokens.measure import ABOVE, CLASSES, END, START, AnatomyStudy, ArmAnatomy, Phase
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
    gaining = [arm for arm in study.arms if arm.gains]
    if gaining:
        figures.append(gain_figure(name, gaining, look))
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
        columns = set.intersection(*({c for c in run.at[stage] if c.startswith(ABOVE)} for run in arm.runs))
        means = {c: float(np.mean([run.at[stage][c] for run in arm.runs])) for c in columns}
        shares = dict(sorted((float(c.removeprefix(ABOVE)), mean) for c, mean in means.items()))
        colour, marker = (NEUTRAL, "") if stage == START else look[arm.arm]
        lines.append((label, colour, marker, shares))

    def draw(ax: Axes) -> None:
        for label, colour, marker, shares in lines:
            style = "-" if marker else "--"
            x, y = list(shares), list(shares.values())
            ax.plot(x, y, style + marker, color=colour, markersize=4.5, label=label, alpha=0.9)
        ax.axhline(0.2, color=NEUTRAL, linewidth=0.8, alpha=0.5)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_ylim(-0.02, 1.02)
        ax.set_xlabel("entropy, nats")
        ax.set_ylabel("share of tokens above")

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
        ax.set_yticks(range(len(rows)), [text for _, text, _, _ in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(-0.02, 1.02)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("share")

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


def gain_figure(name: str, arms: list[ArmAnatomy], look: LookOf) -> Figure:
    """Exact answers gained over the warm start: seeds small, means large with intervals."""
    gains = [(arm, arm.gain) for arm in arms if arm.gain is not None]

    def draw(ax: Axes) -> None:
        for y, (arm, gain) in enumerate(gains):
            colour, marker = look[arm.arm]
            if not gain.single_run:
                ax.plot([gain.low, gain.high], [y, y], color=colour, linewidth=1.1, alpha=0.7)
            ax.plot(arm.gains, [y] * len(arm.gains), marker, markersize=2.5, color=colour)
            ax.plot(gain.value, y, marker, markersize=7, color=colour)
        ax.axvline(0, color=NEUTRAL, linewidth=0.8, alpha=0.6)
        ax.set_yticks(range(len(arms)), [arm.arm for arm in arms])
        ax.set_ylim(len(arms) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        every = [0.0, *(gain for arm in arms for gain in arm.gains)]
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
        tuple(cell for arm in arms for cell in arm.cells),
    )


def course_figure(name: str, arm: ArmAnatomy, phase: Phase) -> Figure:
    """Entropy or error of each class over reinforcement learning, with half-falls."""
    measure, grid = phase.measure, np.linspace(0, 1, POINTS)
    runs = [run for run in arm.runs if measure in run.curves]
    seeds = {
        label: [
            (stretches(curves.share_T, POINTS), stretches(curves.classes[label], POINTS))
            for curves in (run.curves[measure] for run in runs)
            if label in curves.classes
        ]
        for label in CLASSES
    }

    def draw(ax: Axes) -> None:
        for label, own in seeds.items():
            if not own:
                continue
            colour, marker = CLASS_LOOK[label]
            for x, y in own:
                ax.plot(x, y, color=colour, linewidth=0.6, alpha=0.4)
            mean = np.mean([np.interp(grid, x, y) for x, y in own], axis=0)
            thick = {"linewidth": 2.0, "marker": marker, "markevery": 10, "markersize": 5}
            ax.plot(grid, mean, color=colour, label=CLASSES[label], **thick)
            if label in phase.half:
                at = phase.half[label].value
                ax.plot([at, at], [0, np.interp(at, grid, mean)], color=colour, linewidth=1.2, linestyle=":")
        ax.set_xlim(0, 1)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.set_xlabel("share of the compute of reinforcement learning")
        ax.set_ylabel(
            "entropy, nats per token" if measure == "entropy" else "error, first departures per token"
        )

    def spoken(label: str) -> str:
        first, last = (float(np.mean([y[i] for _, y in seeds[label]])) for i in (0, -1))
        half = f"half-fall at {phase.half[label].value:.0%}" if label in phase.half else "no half-fall"
        return f"{CLASSES[label]} from {first:.3g} to {last:.3g}, {half}"

    return draw_figure(
        f"{name}-anatomy-{measure}",
        f"{name}, {arm.arm}: {measure} by class over reinforcement learning",
        "Thin: seeds, in means of consecutive updates. Thick: means over seeds. Dotted: half-fall, mean over "
        "seeds.",
        draw,
        "; ".join(spoken(label) for label, own in seeds.items() if own),
        tuple(run.run.planned.cell for run in runs),
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
        ax.set_xlabel("half-fall, planning less execution, share of compute")
        ax.set_ylabel("labellings")

    return draw_figure(
        f"{name}-anatomy-{phase.measure}-relabelled",
        f"{name}, {arm.arm}: lag of {phase.measure} under relabelling",
        f"Mean over seeds of the half-fall of planning less that of execution, for the true labels and for "
        f"{len(known) - 1} others of the same places.",
        draw,
        f"true lag {true:.3g}; {phase.p_relabelled:.1%} of labellings are at least as far from zero",
        arm.cells_of(phase),
    )
