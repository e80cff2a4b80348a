"""The sections on thinking: who gains from it, in words, figures and tables; and every way to answer."""

from collections.abc import Mapping, Sequence

from compare.analysis.base import LookOf
from compare.analysis.blocks import (
    Block,
    Callout,
    Figures,
    Heading,
    Inline,
    Listing,
    Mark,
    Prose,
    Table,
    table,
)
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Finding, grounds, word
from compare.analysis.paired import complement
from compare.analysis.text import count_text, fixed, grouped, interval_text
from compare.analysis.thinking.chain import ChainPair, chain_pairs
from compare.analysis.thinking.figures import of_thinking
from compare.analysis.thinking.measure import Curve, Thinking
from compare.analysis.thinking.quantities import CHEAPEST, QUANTITIES
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

OWN = {
    "ahead": "gains",
    "behind": "loses",
    "equivalent": "gains nothing beyond the margin",
    "undecided": "undecided",
}
MORE = {
    "ahead": "gains more",
    "behind": "gains less",
    "equivalent": "gains as much",
    "undecided": "undecided",
}
BETTER = {"ahead": "better", "behind": "worse", "equivalent": "as good", "undecided": "undecided"}


def blocks(
    studies: Sequence[tuple[Cohort, Thinking | None]], findings: Sequence[Finding], look: LookOf
) -> list[Block]:
    """Curves of every study if a contrast of the experiment asks for them, then every way to answer."""
    out: list[Block] = []
    if any({c.quantity for c in cohort.manifest.contrasts} & QUANTITIES.keys() for cohort, _ in studies):
        out.append(Heading(text="Thinking longer", level=2, anchor="thinking"))
        chains = chain_pairs([cohort for cohort, _ in studies])
        for cohort, thinking in studies:
            out.append(Heading(text=cohort.study))
            own = [f for f in findings if f.study == cohort.study]
            pairs = [pair for pair in chains if pair.plain == cohort.study]
            if thinking is None:
                out.append(Prose(text="No finished run of this study was evaluated."))
            else:
                out += answers(thinking, own, pairs)
                out.append(Figures(figures=tuple(of_thinking(cohort.study, thinking, look))))
                out += _gains(cohort.study, thinking)
                out += [block for pair in pairs for block in _chains(pair)]
        out.append(Listing(items=BEWARE, soft=True))
    return out + _ways(studies)


def answers(thinking: Thinking, findings: list[Finding], chains: Sequence[ChainPair]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""
    gains = [f for f in findings if f.quantity == "thinking_gain" and f.baseline == CHEAPEST]
    against = [f for f in findings if f.quantity == "thinking_gain" and f.baseline != CHEAPEST]
    areas = [f for f in findings if f.quantity == "thinking_area"]
    return [
        Callout(
            question="Who gains from thinking longer?",
            answer=_own(gains),
            grounds=grounds(f for f in gains if f.primary),
        ),
        Callout(
            question="Who gains more?",
            answer=_against(against, MORE) or "No contrast asked for it.",
            grounds=grounds(against),
        ),
        Callout(
            question="Who answers better at equal FLOPs per answer?",
            answer=_against(areas, BETTER) or "No two arms were compared.",
            grounds=grounds(f for f in areas if f.primary),
        ),
        Callout(question="What would a perfect choice among samples gain?", answer=_oracle(thinking)),
        *(_chain(pair) for pair in chains),
    ]


def _own(findings: list[Finding]) -> str:
    """Gains of arms over their own cheapest effort."""
    pairs = [(f"{f.arm} {f.value_text}", OWN[f.verdict]) for f in findings if f.estimate is not None]
    if not pairs:
        return "No arm has more than one way to answer."
    return f"Over its own cheapest effort, an arm: {grouped(pairs)}"


def _against(findings: list[Finding], words: Mapping[str, str]) -> str:
    parts: list[str] = []
    for baseline in dict.fromkeys(f.baseline for f in findings):
        theirs = [f for f in findings if f.baseline == baseline]
        names = [f.arm if f.estimate is None else f"{f.arm} {f.value_text}" for f in theirs]
        pairs = list(zip(names, (word(f, words) for f in theirs), strict=True))
        parts.append(f"Against {baseline}: {grouped(pairs)}")
    return " ".join(parts)


def _placed(arm: str, severity: int) -> str:
    return f"{arm} at severity {severity}" if severity else arm


def _oracle(thinking: Thinking) -> str:
    parts = [
        f"{_placed(c.arm, c.place[1])} {fixed(c.oracle_gain.value, 3, sign=True)}"
        for c in thinking.curves
        if c.oracle_gain is not None
    ]
    if not parts:
        return "No arm was asked."
    return f"Over its cheapest effort, with the most samples: {'; '.join(parts)}. A bound, no way to answer."


def _chain(pair: ChainPair) -> Callout:
    """What writing the working out gains, beside what it costs."""
    parts: list[str] = []
    for row in pair.rows:
        value, low, high = (fixed(x, 3, sign=True) for x in (row.gain.value, row.gain.low, row.gain.high))
        parts.append(
            f"{_placed(row.arm, row.place[1])} {value}, {LEVEL:.0%} interval [{low}, {high}], at "
            f"{row.flops_with / row.flops_without:.1f} times the FLOPs per answer"
        )
    return Callout(
        question=f"What does thinking in a chain gain ({pair.chain} less {pair.plain})?",
        answer=f"{'; '.join(parts)}. Exploratory, paired by seed and problem.",
    )


def _gains(study: str, thinking: Thinking) -> list[Table]:
    unit = "exact answers" if thinking.metric == "exact" else "nats"
    caption = f"Gains over the cheapest effort, in {unit}; above zero is better. Means with 95% intervals."
    rows = [_gain(curve) for curve in thinking.curves if curve.deployable]
    return table(f"Gains from thinking, {study}", rows, caption, wrap=("chosen as best", "remarks"))


def _gain(curve: Curve) -> dict[str, Inline]:
    cheapest, dearest = curve.deployable[0], curve.deployable[-1]
    return {
        "arm": Mark(curve.arm, curve.cells),
        "axis": curve.place[0],
        "severity": curve.place[1],
        "cheapest": cheapest.effort,
        "FLOPs per answer, cheapest": count_text(cheapest.flops),
        "value, cheapest": interval_text(cheapest.value),
        "dearest": dearest.effort,
        "FLOPs per answer, dearest": count_text(dearest.flops),
        "value, dearest": interval_text(dearest.value),
        "chosen as best": curve.chosen if curve.gain else "–",
        "gain of the best, cross-fitted": interval_text(curve.gain),
        "gain of the dearest": interval_text(curve.dearest_gain),
        "gain of an oracle": interval_text(curve.oracle_gain),
        "remarks": "; ".join(curve.reasons),
    }


def _chains(pair: ChainPair) -> list[Table]:
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


def _ways(studies: Sequence[tuple[Cohort, Thinking | None]]) -> list[Block]:
    """Every way to answer of the arms that have two or more, each arm at its own largest budget or rung."""
    every = [
        (cohort.study, way) for cohort, thinking in studies if thinking is not None for way in thinking.ways
    ]
    efforts: dict[tuple[str, str, str], set[str]] = {}
    for study, way in every:
        efforts.setdefault((study, way.arm, way.metric), set()).add(way.effort)
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
        for study, way in every
        if len(efforts[study, way.arm, way.metric]) > 1
    ]
    text = (
        f"At each arm's largest {studies[0][0].point}. Counted FLOPs per answer, all samples in. An oracle "
        "looks at the answer: a bound, not a way to answer."
    )
    heading = Heading(text="Ways to answer", level=2, anchor="efforts")
    return [heading, Prose(text=text, soft=True), *table("Ways to answer", rows)] if rows else []
