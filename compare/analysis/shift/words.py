"""The section on decay in words: each question, its answer, and the findings that it rests on."""

from compare.analysis.ceiling.words import Answer, grounds, grouped
from compare.analysis.findings import Finding
from compare.analysis.shift.measure import OodStudy
from compare.stats.intervals import Estimate
from compare.store.manifest import THINKING_SHIFT_QUANTITIES

SLOPE = {"ahead": "slower", "behind": "faster", "equivalent": "as fast", "undecided": "undecided"}
SHARE = {"ahead": "more", "behind": "less", "equivalent": "as much", "undecided": "undecided"}
GROWTH = {
    "ahead": "grows with the shift",
    "behind": "shrinks with the shift",
    "equivalent": "does not change with the shift, within the margin",
    "undecided": "undecided",
}
UNMEASURED = "not measured"


def answers(study: str, section: OodStudy, findings: tuple[Finding, ...]) -> tuple[Answer, ...]:
    """Every question, in the order in which a reader asks them."""
    own = [f for f in findings if f.study == study]
    slopes = [f for f in own if f.quantity == "decay_slope"]
    losses = [f for f in own if f.quantity == "decay_slope_loss"]
    shares = [f for f in own if f.quantity == "retained_share"]
    gains = [f for f in own if f.quantity in THINKING_SHIFT_QUANTITIES]
    found = (
        Answer(
            question="Who decays slower, in exact answers lost a severity?",
            answer=_tally(slopes, SLOPE) + _against(slopes, SLOPE),
            grounds=_decided(slopes),
        ),
        Answer(
            question="Who keeps a larger share of what it answers in distribution?",
            answer=_tally(shares, SHARE) + _against(shares, SHARE),
            grounds=_decided(shares),
        ),
        Answer(
            question="Whose loss rises slower?",
            answer=_tally(losses, SLOPE) + _against(losses, SLOPE),
            grounds=_decided(losses),
        ),
        Answer(
            question="Does thinking help more under shift?",
            answer=_thinking(gains),
            grounds=grounds(gains),
        ),
    )
    planned = Answer(
        question="What fails under the largest shift, the plan or its execution?",
        answer=_planning(section),
        grounds=(),
    )
    return (*found, planned) if planned.answer else found


def _word(finding: Finding, words: dict[str, str]) -> str:
    return UNMEASURED if finding.estimate is None else words[finding.verdict]


def _tally(findings: list[Finding], words: dict[str, str]) -> str:
    """How often each word was the answer: what is undecided is counted as loudly as what is not."""
    if not findings:
        return "Nothing could be compared."
    said = [_word(f, words) for f in findings]
    parts = [f"{said.count(word)} {word}" for word in (*words.values(), UNMEASURED) if word in said]
    return f"Of {len(findings)} comparisons: {', '.join(parts)}. "


def _against(findings: list[Finding], words: dict[str, str]) -> str:
    """Answers of arms against each baseline, axis by axis."""
    said: list[str] = []
    for baseline in dict.fromkeys(f.baseline for f in findings):
        theirs = [f for f in findings if f.baseline == baseline]
        axes = [
            f"Along {axis}: {grouped([(f.arm, _word(f, words)) for f in theirs if f.axis == axis])}"
            for axis in dict.fromkeys(f.axis for f in theirs)
        ]
        said.append(f"Against {baseline}. {' '.join(axes)}")
    return " ".join(said)


def _thinking(findings: list[Finding]) -> str:
    if not findings:
        return "There is nothing to tell: no arm was answered at two efforts of thinking."
    said: list[str] = []
    for quantity, what in zip(THINKING_SHIFT_QUANTITIES, ("exact answers", "loss"), strict=True):
        pairs = [(_placed(f), _word(f, GROWTH)) for f in findings if f.quantity == quantity]
        if pairs:
            said.append(f"Gain in {what}: {grouped(pairs)}")
    return " ".join(said)


def _placed(finding: Finding) -> str:
    return f"{finding.arm}, along {finding.axis}" if finding.axis else finding.arm


def _planning(section: OodStudy) -> str:
    """Plan error less execution error at each axis's largest severity; empty if no task tells them apart."""
    said: list[str] = []
    for axis, severities in section.axes.items():
        pairs = [
            (arm.arm, lean(errors.planning))
            for arm in section.arms
            for errors in arm.errors
            if (errors.axis, errors.severity) == (axis, severities[-1]) and errors.planning is not None
        ]
        if pairs:
            said.append(f"Along {axis}: {grouped(pairs)}")
    return " ".join(said)


def lean(planning: Estimate) -> str:
    """Whether the plan fails more often than its execution, as far as its interval tells."""
    if planning.value == planning.low == planning.high == 0:
        return "both alike"
    if planning.low > 0:
        return "rather the plan"
    return "rather the execution" if planning.high < 0 else "undecided"


def _decided(findings: list[Finding]) -> tuple[str, ...]:
    """Those named beforehand, whatever they found, and those explored that found something."""
    return grounds([f for f in findings if f.primary or f.verdict != "undecided"])
