"""The section on thinking in words: each question, its answer, and the findings that it rests on."""

from compare.analysis.ceiling.words import Answer, grounds, grouped
from compare.analysis.findings import Finding
from compare.analysis.thinking.chain import ChainPair
from compare.analysis.thinking.measure import ThinkingStudy
from compare.stats.intervals import LEVEL
from compare.store.manifest import CHEAPEST, THINKING_QUANTITIES

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
BETTER = {
    "ahead": "better",
    "behind": "worse",
    "equivalent": "as good",
    "undecided": "undecided",
}


def answers(
    study: str, section: ThinkingStudy, findings: tuple[Finding, ...], chains: tuple[ChainPair, ...]
) -> tuple[Answer, ...]:
    """Every question, in the order in which a reader asks them."""
    own = [f for f in findings if f.study == study and f.quantity in THINKING_QUANTITIES]
    gains = [f for f in own if f.quantity == "thinking_gain" and f.baseline == CHEAPEST]
    against = [f for f in own if f.quantity == "thinking_gain" and f.baseline != CHEAPEST]
    areas = [f for f in own if f.quantity == "thinking_area"]
    return (
        Answer(
            question="Who gains from thinking longer?",
            answer=_own(gains),
            grounds=grounds([f for f in gains if f.primary]),
        ),
        Answer(
            question="Who gains more?",
            answer=_against(against, MORE, "No contrast asked for it."),
            grounds=grounds(against),
        ),
        Answer(
            question="Who answers better at equal FLOPs an answer?",
            answer=_against(areas, BETTER, "No two arms were compared."),
            grounds=grounds([f for f in areas if f.primary]),
        ),
        Answer(
            question="What would a perfect choice among samples gain?", answer=_oracle(section), grounds=()
        ),
        *(_chain(pair) for pair in chains),
    )


def _own(findings: list[Finding]) -> str:
    """Gains of arms over their own cheapest effort, one sentence for each set of problems."""
    measured = [f for f in findings if f.estimate is not None]
    if not measured:
        return "No arm has more than one way to answer."
    text = grouped([(f"{f.arm} {f.value_text}", OWN[f.verdict]) for f in measured])
    return f"Over its own cheapest effort, an arm: {text}"


def _against(findings: list[Finding], words: dict[str, str], nothing: str) -> str:
    if not findings:
        return nothing
    said: list[str] = []
    for baseline in dict.fromkeys(f.baseline for f in findings):
        pairs = [(_with_value(f), _word(f, words)) for f in findings if f.baseline == baseline]
        said.append(f"Against {baseline}: {grouped(pairs)}")
    return " ".join(said)


def _with_value(finding: Finding) -> str:
    return finding.arm if finding.estimate is None else f"{finding.arm} {finding.value_text}"


def _word(finding: Finding, words: dict[str, str]) -> str:
    return words[finding.verdict] if finding.estimate is not None else "not measured"


def _oracle(section: ThinkingStudy) -> str:
    said = [
        f"{c.arm}{f' at severity {c.severity}' if c.severity else ''} {c.oracle_gain.value:+.3f}"
        for c in section.curves
        if c.oracle_gain is not None
    ]
    if not said:
        return "No arm was asked."
    text = f"Over its cheapest effort, with the most samples: {'; '.join(said)}. A bound, no way to answer."
    return text.replace("-", "\u2212")


def _chain(pair: ChainPair) -> Answer:
    """What writing the working out gains, beside what it costs."""
    said = [
        f"{row.arm}{f' at severity {row.severity}' if row.severity else ''} {row.gain.value:+.3f}, "
        f"{LEVEL:.0%} interval [{row.gain.low:+.3f}, {row.gain.high:+.3f}], at "
        f"{row.flops_with / row.flops_without:.1f} times the FLOPs an answer"
        for row in pair.rows
    ]
    return Answer(
        question=f"What does thinking in a chain gain ({pair.chain} less {pair.plain})?",
        answer="; ".join(said).replace("-", "\u2212") + ". Exploratory, paired by seed and problem.",
        grounds=(),
    )
