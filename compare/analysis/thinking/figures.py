"""Figures of thinking: metric against counted FLOPs an answer, every arm's ladder as a line."""

from matplotlib.axes import Axes

from compare.analysis.drawing import Figure, draw_figure
from compare.analysis.thinking.measure import Curve, Place, ThinkingStudy

Look = dict[str, tuple[str, str]]
"""Colour and marker of each arm."""


def of_thinking(name: str, section: ThinkingStudy, look: Look) -> list[Figure]:
    """One figure for each set of problems."""
    return [ladder_figure(name, section, place, look) for place in section.places]


def ladder_figure(name: str, section: ThinkingStudy, place: Place, look: Look) -> Figure:
    """Every effort as a point; the line is the curve that arms are compared on; oracles dashed."""
    axis, severity = place
    curves = section.at(place)
    sign = 1 if section.metric == "exact" else -1

    def draw(ax: Axes) -> None:
        for curve in curves:
            colour, marker = look[curve.arm]
            points = curve.deployable
            ax.plot(
                [e.flops for e in points],
                [e.value.value for e in points],
                linestyle="none",
                marker=marker,
                markersize=4,
                color=colour,
                alpha=0.6,
            )
            if curve.ladders:
                flops_E, score_E = curve.line
                ax.plot(flops_E, sign * score_E, color=colour)
            # For the legend: line and marker in one.
            ax.plot([], [], color=colour, marker=marker, markersize=5, label=curve.arm)
            oracles = [e for e in curve.efforts if not e.deployable]
            if oracles:
                start = curve.deployable[:1]
                ax.plot(
                    [e.flops for e in (*start, *oracles)],
                    [e.value.value for e in (*start, *oracles)],
                    color=colour,
                    linestyle="--",
                    linewidth=1,
                    marker=marker,
                    markersize=6,
                    markerfacecolor="none",
                    label=f"{curve.arm}, oracle",
                )
        ax.set_xscale("log")
        if section.metric == "exact":
            ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel("FLOPs an answer, counted")
        ax.set_ylabel("exact answers" if section.metric == "exact" else "held-out loss, nats a token")

    budgets = {(c.arm, c.budget) for c in curves}
    where = "in distribution" if not severity else f"{axis}, severity {severity}"
    return draw_figure(
        f"{name}-thinking" + (f"-{axis}-{severity}" if severity else ""),
        f"{name}, {where}: what an answer costs and how good it is",
        "Points: every effort, mean over seeds. Lines: the best effort of at most this cost, chosen on one "
        "part of the data and scored on the other. Dashed, hollow: the same samples with the choice left to "
        "an oracle that knows the answer, a bound and not a way to answer.",
        draw,
        "; ".join(_said(curve) for curve in curves if curve.deployable),
        tuple(r.planned.cell for r in section.runs if (r.planned.arm, r.planned.budget) in budgets),
    )


def _said(curve: Curve) -> str:
    """An arm's ladder in words."""
    first, last = curve.deployable[0], curve.deployable[-1]
    return (
        f"{curve.arm} {first.value.value:.3g} at {first.flops:.2g} FLOPs ({first.name}), "
        f"{last.value.value:.3g} at {last.flops:.2g} ({last.name})"
    )
