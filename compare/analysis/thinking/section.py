"""The sections on thinking: who gains from it, in words, figures and tables; and every way to answer."""

from collections.abc import Mapping, Sequence

from compare.analysis.base import Studies
from compare.analysis.blocks import Block, Callout, Heading, Mark, Prose, table
from compare.analysis.findings import Finding, grounds, word, words
from compare.analysis.paired import complement
from compare.analysis.text import count_text, fixed, interval_text, sentences
from compare.analysis.thinking.chain import ChainPair
from compare.analysis.thinking.measure import Place, Thinking
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
        parts.append(
            f"{_placed(row.arm, row.place)} {value}, {LEVEL:.0%} interval [{low}, {high}], at "
            f"{row.flops_with / row.flops_without:.1f} times the FLOPs per answer"
        )
    return Callout(
        question=f"What does thinking in a chain gain ({pair.chain} less {pair.plain})?",
        answer=f"{'; '.join(parts)}. Exploratory, paired by seed and problem.",
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
            "arm": Mark(row.arm, row.cells),
            "training FLOPs": count_text(row.budget),
            "axis": row.place[0],
            "severity": row.place[1],
            "FLOPs per answer, without": count_text(row.flops_without),
            "exact, without": fixed(row.without, 3),
            "FLOPs per answer, with": count_text(row.flops_with),
            "exact, with": fixed(row.with_chain, 3),
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
