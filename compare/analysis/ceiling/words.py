"""The section on the ceiling in words: each question, its answer, and the findings that it rests on."""

from dataclasses import dataclass

from compare.analysis.ceiling.forecast import LABELS
from compare.analysis.ceiling.measure import CeilingStudy
from compare.analysis.findings import Finding
from compare.stats.entropy_law import possible, surely_impossible
from compare.stats.intervals import LEVEL, Estimate
from compare.store.manifest import WARM_START

COLLAPSE = 0.5
"""Entropy has collapsed where the whole interval of the share that is left lies below this."""

WORDS = {
    "start": {"ahead": "rose", "behind": "fell", "equivalent": "held", "undecided": "undecided"},
    "entropy_held": {
        "ahead": "keeps more",
        "behind": "keeps less",
        "equivalent": "keeps as much",
        "undecided": "undecided",
    },
    "ceiling": {
        "ahead": "raised it",
        "behind": "lowered it",
        "equivalent": "left it where it was",
        "undecided": "undecided",
    },
    "above_ceiling": {
        "ahead": "above it",
        "behind": "below it",
        "equivalent": "level with it",
        "undecided": "undecided",
    },
    "forecast_error": {
        "ahead": "better",
        "behind": "worse",
        "equivalent": "no different",
        "undecided": "undecided",
    },
}
"""What a verdict says in answer to each question."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question of the section."""

    question: str
    answer: str
    """One sentence."""
    grounds: tuple[str, ...]
    """The findings in full, with their confidence."""


def answers(study: str, section: CeilingStudy, findings: tuple[Finding, ...]) -> tuple[Answer, ...]:
    """Every question, in the order in which a reader asks them."""
    own = [f for f in findings if f.study == study]
    start = [f for f in own if f.quantity == "entropy_held" and f.baseline == WARM_START]
    kept = [f for f in own if f.quantity == "entropy_held" and f.baseline != WARM_START]
    moved = [f for f in own if f.quantity == "ceiling"]
    rewards = [f for f in own if f.quantity == "final_reward"]
    passed = [f for f in own if f.quantity == "above_ceiling"]
    better = [f for f in own if f.quantity == "forecast_error"]
    return (
        Answer(
            question="Did entropy collapse?",
            answer=_sentence(grouped([(f.arm, _fall(f)) for f in start])),
            grounds=grounds(start),
        ),
        Answer(
            question="Did managing entropy hold it?",
            answer=_against(kept, "entropy_held"),
            grounds=grounds(kept),
        ),
        Answer(
            question="Did managing entropy move the ceiling?",
            answer=_against(moved, "ceiling"),
            grounds=grounds(moved) + grounds(rewards),
        ),
        Answer(
            question="Is the ceiling possible, and does the law foretell rewards better than others?",
            answer=_possibilities(section) + " " + _forecasts(better),
            # The rest stands in the table of errors.
            grounds=grounds([f for f in better if f.primary]),
        ),
        Answer(
            question="Did the arms without reinforcement learning pass it, at the same total compute?",
            answer=_passed(passed),
            grounds=grounds(passed),
        ),
    )


def _fall(finding: Finding) -> str:
    if finding.verdict == "behind" and finding.high < COLLAPSE:
        return "collapsed"
    if finding.verdict == "behind" and finding.low >= COLLAPSE:
        return "fell, without collapsing"
    return WORDS["start"][finding.verdict]


def _against(findings: list[Finding], question: str) -> str:
    """Answers of arms against each baseline there is."""
    if not findings:
        return "There is nothing to compare: no managed arm and its baseline have finished runs."
    said = []
    for baseline in dict.fromkeys(f.baseline for f in findings):
        pairs = [(f.arm, WORDS[question][f.verdict]) for f in findings if f.baseline == baseline]
        said.append(f"Against {baseline}: {grouped(pairs)}")
    return " ".join(said)


def _passed(findings: list[Finding]) -> str:
    if not findings:
        return "There is nothing to compare: no such arm has exact answers at this compute."
    said = []
    for arm in dict.fromkeys(f.arm for f in findings):
        pairs = [(f.baseline, WORDS["above_ceiling"][f.verdict]) for f in findings if f.arm == arm]
        said.append(f"{arm}, against the ceiling of each: {grouped(pairs)}")
    return " ".join(said)


def _forecasts(findings: list[Finding]) -> str:
    said = []
    for method in LABELS:
        pairs = [(f.arm, WORDS["forecast_error"][f.verdict]) for f in findings if f.baseline == method]
        if pairs:
            said.append(f"Against {method.replace('_', ' ')}: {grouped(pairs)}")
    return " ".join(said)


def _possibilities(section: CeilingStudy) -> str:
    pairs = [(arm.arm, possibility(arm.ceiling)) for arm in section.arms if arm.ceiling is not None]
    return f"Ceilings: {grouped(pairs)}" if pairs else "No ceiling could be fitted."


def possibility(ceiling: Estimate | None) -> str:
    """Whether a ceiling can be one of rewards in [0, 1], and how sure that is."""
    if ceiling is None:
        return "not fitted"
    if surely_impossible(ceiling):
        return f"impossible at {LEVEL:.0%} confidence"
    if not possible(ceiling):
        return "impossible as fitted, its interval reaches into [0, 1]"
    inside = ceiling.low >= 0 and ceiling.high <= 1
    return "possible" if inside else "possible, its interval reaches beyond [0, 1]"


def grouped(pairs: list[tuple[str, str]]) -> str:
    """(name, word) as one sentence, names of one word together."""
    words = dict.fromkeys(word for _, word in pairs)
    parts = [f"{word} ({', '.join(name for name, w in pairs if w == word)})" for word in words]
    return "; ".join(parts) + "." if parts else "not measured."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def grounds(findings: list[Finding]) -> tuple[str, ...]:
    """The findings in full, with their confidence."""
    return tuple(f"{f.claim} {_confidence(f)}" for f in findings)


def _confidence(finding: Finding) -> str:
    p = "below 0.001" if finding.p_holm < 0.001 else f"{finding.p_holm:.3f}"
    kind = "named beforehand" if finding.primary else "exploratory"
    return f"Holm-adjusted p {p}, {kind}."
