"""Figures of thinking: metric against counted FLOPs per answer, every arm's ladder as a line."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from compare.analysis.base import LookOf
from compare.analysis.drawing import Figure, draw_figure
from compare.analysis.thinking.measure import Place, Thinking, Way


def ladder_figure(name: str, thinking: Thinking, place: Place, look: LookOf) -> Figure:
    """Every effort as a point; the line is the curve that arms are compared on; oracles dashed."""
    axis, severity = place
    curves = thinking.at(place)
    sign = 1 if thinking.metric == "exact" else -1

    def points(ways: Sequence[Way]) -> tuple[list[float], list[float]]:
        return [way.flops for way in ways], [way.value.value for way in ways]

    def draw(ax: Axes) -> None:
        for curve in curves:
            colour, marker = look[curve.arm]
            ax.plot(*points(curve.deployable), marker, color=colour, markersize=4, alpha=0.6)
            if curve.ladders:
                flops_E, score_E = curve.line
                ax.plot(flops_E, sign * score_E, color=colour)
            # For the legend: line and marker in one.
            ax.plot([], [], color=colour, marker=marker, markersize=5, label=curve.arm)
            oracles = [way for way in curve.ways if not way.deployable]
            if oracles:
                x, y = points([*curve.deployable[:1], *oracles])
                hollow = {"marker": marker, "markersize": 6, "markerfacecolor": "none"}
                ax.plot(x, y, "--", color=colour, linewidth=1, label=f"{curve.arm}, oracle", **hollow)
        unit = "exact answers" if thinking.metric == "exact" else "held-out loss, nats per token"
        ax.set(xscale="log", xlabel="FLOPs per answer, counted", ylabel=unit)
        if thinking.metric == "exact":
            ax.set_ylim(-0.03, 1.03)

    where = "in distribution" if not severity else f"{axis}, severity {severity}"
    return draw_figure(
        f"{name}-thinking" + (f"-{axis}-{severity}" if severity else ""),
        f"{name}, {where}: what an answer costs and how good it is",
        "Points: every effort, mean over seeds. Lines: the best effort of at most this cost, chosen on one "
        "part of the data and scored on the other. Dashed, hollow: the same samples with the choice left to "
        "an oracle that knows the answer, a bound and not a way to answer.",
        draw,
        "; ".join(
            f"{curve.arm} {own[0].value.value:.3g} at {own[0].flops:.2g} FLOPs ({own[0].effort}), "
            f"{own[-1].value.value:.3g} at {own[-1].flops:.2g} ({own[-1].effort})"
            for curve in curves
            if (own := curve.deployable)
        ),
        tuple(cell for curve in curves for cell in curve.cells),
    )
