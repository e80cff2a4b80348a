"""The sections on thinking: who gains from it, in words, figures and tables; and every way to answer."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from compare.analysis.base import LookOf, Studies
from compare.analysis.blocks import Block, Callout, Heading, Mark, Prose, table
from compare.analysis.drawing import Figure, draw_figure
from compare.analysis.findings import Finding, grounds, word, words
from compare.analysis.paired import complement
from compare.analysis.text import count_text, fixed, interval_text, sentences
from compare.analysis.thinking.chain import ChainPair
from compare.analysis.thinking.measure import Place, Thinking, Way
from compare.analysis.thinking.quantities import CHEAPEST
from compare.stats.intervals import LEVEL

BEWARE = (
    "FLOPs per answer are counted with everything in: all samples, steps, restarts, prompts and chains.",
    "The best of several efforts is chosen on one half of the held-out problems (the even ones, or the odd) "
    "and scored on the other, both ways round, run by run; for a loss, whose record keeps no problem's own "
    "value, on the arm's other seeds. So a gain can be negative, and is zero on average where no effort is "
    "better than another.",
    "A gain is over the arm's own cheapest effort: an arm whose cheapest effort is one it was hardly trained "
    "for (a single loop, a single step) gains much without being good. The comparison at equal FLOPs per "
    "answer is free of that, within the range of FLOPs that both arms span.",
    "All samples of a run are drawn once: the efforts of one arm share them, and the first of a larger "
    "number are those of a smaller one. Each effort is charged what it would have cost alone.",
    "One draw without a choice (`sample`) costs what the most probable answer costs: it is no rung of a "
    "ladder.",
)

OWN = words("gains", "loses", "gains nothing beyond the margin")
MORE = words("gains more", "gains less", "gains as much")
BETTER = words("better", "worse", "as good")


def answers(thinking: Thinking, findings: Sequence[Finding]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""
    gains = [f for f in findings if f.quantity == "thinking_gain" and f.baseline == CHEAPEST]
    against = [f for f in findings if f.quantity == "thinking_gain" and f.baseline != CHEAPEST]
    areas = [f for f in findings if f.quantity == "thinking_area"]
    own = sentences(
        ("Over its own cheapest effort, an arm", f"{f.arm} {f.value_text}", word(f, OWN))
        for f in gains
        if f.estimate is not None
    )
    bounds = "; ".join(
        f"{_placed(curve.arm, curve.place)} {fixed(curve.oracle_gain.value, 3, sign=True)}"
        for curve in thinking.curves
        if curve.oracle_gain is not None
    )
    bound = f"Over its cheapest effort, with the most samples: {bounds}. A bound, no way to answer."
    more, better = _against(against, MORE), _against(areas, BETTER)
    told = (
        ("Who gains from thinking longer?", own or "No arm has more than one way to answer.", gains),
        ("Who gains more?", more or "No contrast asked for it.", against),
        ("Who answers better at equal FLOPs per answer?", better or "No two arms were compared.", areas),
        ("What would a perfect choice among samples gain?", bound if bounds else "No arm was asked.", []),
    )
    callouts = [
        Callout(question=question, answer=answer, grounds=grounds(f for f in rest if f.primary))
        for question, answer, rest in told
    ]
    return callouts + [_chain(pair) for pair in thinking.chains]


def _against(findings: Sequence[Finding], called: Mapping[str, str]) -> str:
    return sentences(
        (f"Against {f.baseline}", f.arm if f.estimate is None else f"{f.arm} {f.value_text}", word(f, called))
        for f in findings
    )


def _placed(arm: str, place: Place) -> str:
    return f"{arm} at severity {place[1]}" if place[1] else arm


def _chain(pair: ChainPair) -> Callout:
    """What writing the working out gains, beside what it costs."""
    parts: list[str] = []
    for row in pair.rows:
        value, low, high = (fixed(x, 3, sign=True) for x in (row.gain.value, row.gain.low, row.gain.high))
        chained, without = row.flops
        parts.append(
            f"{_placed(row.arm, row.place)} {value}, {LEVEL:.0%} interval [{low}, {high}], at "
            f"{chained / without:.1f} times the FLOPs per answer"
        )
    return Callout(
        question=f"What does thinking in a chain gain ({pair.chain} less {pair.plain})?",
        answer=f"{'; '.join(parts)}. Exploratory, paired by seed and problem.",
    )


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


def gains(study: str, thinking: Thinking) -> Sequence[Block]:
    unit = "exact answers" if thinking.metric == "exact" else "nats"
    caption = f"Gains over the cheapest effort, in {unit}; above zero is better. Means with 95% intervals."
    rows = [
        {
            "arm": Mark(curve.arm, curve.cells),
            "axis": curve.place[0],
            "severity": curve.place[1],
            "cheapest": own[0].effort,
            "FLOPs per answer, cheapest": count_text(own[0].flops),
            "value, cheapest": interval_text(own[0].value),
            "dearest": own[-1].effort,
            "FLOPs per answer, dearest": count_text(own[-1].flops),
            "value, dearest": interval_text(own[-1].value),
            "chosen as best": curve.chosen if curve.gain else "–",
            "gain of the best, cross-fitted": interval_text(curve.gain),
            "gain of the dearest": interval_text(curve.dearest_gain),
            "gain of an oracle": interval_text(curve.oracle_gain),
            "remarks": "; ".join(curve.reasons),
        }
        for curve in thinking.curves
        if (own := curve.deployable)
    ]
    return table(f"Gains from thinking, {study}", rows, caption, wrap=("chosen as best", "remarks"))


def chains(pair: ChainPair) -> Sequence[Block]:
    caption = (
        f"The same problems without a chain ({pair.plain}) and with one ({pair.chain}), each arm trained on "
        "that supervision at the same training compute and answering in its default way. Exploratory."
    )
    rows = [
        {
            "arm": Mark(row.arm, row.matched.cells),
            "training FLOPs": count_text(row.matched.runs[0][0].planned.budget),
            "axis": row.place[0],
            "severity": row.place[1],
            "FLOPs per answer, without": count_text(row.flops[1]),
            "exact, without": fixed(row.exact[1], 3),
            "FLOPs per answer, with": count_text(row.flops[0]),
            "exact, with": fixed(row.exact[0], 3),
            "gain": interval_text(row.gain),
        }
        for row in pair.rows
    ]
    return table(f"Chains, {pair.chain}", rows, caption)


def ways(studies: Studies[Thinking]) -> list[Block]:
    """Every way to answer of the arms that have two or more, each arm at its own largest budget or rung."""
    every = [(cohort.study, thinking.ways) for cohort, thinking in studies if thinking is not None]
    rows = [
        {
            "study": study,
            "arm": way.arm,
            "training FLOPs": count_text(way.budget),
            "metric": "loss" if way.metric == "loss" else "answer error",
            "axis": way.place[0],
            "severity": way.place[1],
            "effort": way.effort if way.deployable else f"{way.effort} (oracle)",
            "FLOPs per answer": count_text(way.flops),
            "value": interval_text(way.value if way.metric == "loss" else complement(way.value)),
            "n": Mark(way.value.n, way.cells),
        }
        for study, own in every
        for way in own
        if len({other.effort for other in own if (other.arm, other.metric) == (way.arm, way.metric)}) > 1
    ]
    text = (
        f"At each arm's largest {studies[0][0].point}. Counted FLOPs per answer, all samples in. An oracle "
        "looks at the answer: a bound, not a way to answer."
    )
    heading = Heading(text="Ways to answer", level=2, anchor="efforts")
    return [heading, Prose(text=text, soft=True), *table("Ways to answer", rows)] if rows else []
