"""The section on tokens in words: each question, its answer, and the findings that it rests on."""

from collections.abc import Callable

from compare.analysis.ceiling.words import Answer, grounds, grouped
from compare.analysis.findings import Finding
from compare.analysis.tokens.contrasts import LAGS
from compare.analysis.tokens.measure import AnatomyStudy, ArmAnatomy, RunAnatomy, Snapshot, mean_of

GAINS = {
    "ahead": "gains more",
    "behind": "gains less",
    "equivalent": "gains as much",
    "undecided": "undecided",
}
EXCESS = {
    "ahead": "Planning tokens are over-represented in that fifth.",
    "behind": "Planning tokens are under-represented in that fifth.",
    "equivalent": "Planning tokens are as frequent in that fifth as among all.",
    "undecided": "Whether planning tokens are over-represented there is undecided.",
}
NAMES = {"plan": "planning", "execute": "execution", "format": "format", "answer": "answer"}


def answers(study: str, section: AnatomyStudy, findings: tuple[Finding, ...]) -> tuple[Answer, ...]:
    """Every question, in the order in which a reader asks them."""
    own = [f for f in findings if f.study == study]
    excess = [f for f in own if f.quantity == "forking_excess" and f.arm == section.main.arm]
    gains = [f for f in own if f.quantity == "extra_gain"]
    order = [f for f in own if f.quantity in LAGS]
    measured = [f for f in excess if f.estimate is not None]
    return (
        Answer(
            question="Where does entropy sit?",
            answer=" ".join([_where(section.main), *(EXCESS[f.verdict] for f in measured)]),
            grounds=grounds(measured),
        ),
        Answer(
            question="Does training on some tokens gain more than on others?",
            answer=_against(gains),
            grounds=_named(gains),
        ),
        Answer(question="Are there two phases?", answer=_phases(section, order), grounds=_named(order)),
    )


def _named(findings: list[Finding]) -> tuple[str, ...]:
    """The findings named beforehand, if there are any: all others stand in the table of findings."""
    return grounds([f for f in findings if f.primary] or findings)


def _where(arm: ArmAnatomy) -> str:
    said: list[str] = []
    for opening, look in (
        ("At the end of the warm start", start),
        (f"After reinforcement learning ({arm.arm})", end),
    ):
        held = mean_of(arm.runs, lambda run, look=look: look(run).in_forks)
        assert held is not None
        classes = [_class(arm, look, name) for name in NAMES]
        parts = "; ".join(part for part in classes if part)
        text = f"{opening} the fifth of tokens with the highest entropy holds {held.value:.0%} of all entropy"
        said.append(text + (f": {parts}." if parts else "."))
    return " ".join(said)


def start(run: RunAnatomy) -> Snapshot:
    """The probe at the end of the warm start."""
    return run.start


def end(run: RunAnatomy) -> Snapshot:
    """The probe at the end of training."""
    return run.end


def _class(arm: ArmAnatomy, look: Callable[[RunAnatomy], Snapshot], name: str) -> str:
    tokens = mean_of(arm.runs, lambda run: look(run).tokens.get(name))
    forks = mean_of(arm.runs, lambda run: look(run).forks.get(name))
    if tokens is None or forks is None:
        return ""
    return f"{NAMES[name]} tokens are {tokens.value:.0%} of all tokens and {forks.value:.0%} of that fifth"


def _against(findings: list[Finding]) -> str:
    """Gains of arms against each baseline, those named beforehand first."""
    if not findings:
        return "There is nothing to compare: no two arms have finished runs."
    ordered = sorted(findings, key=lambda f: not f.primary)
    said: list[str] = []
    for baseline in dict.fromkeys(f.baseline for f in ordered):
        pairs = [(f.arm, _gain(f)) for f in ordered if f.baseline == baseline]
        said.append(f"Against {baseline}: {grouped(pairs)}")
    return " ".join(said)


def _gain(finding: Finding) -> str:
    return GAINS[finding.verdict] if finding.estimate is not None else "not measured"


def _phases(section: AnatomyStudy, findings: list[Finding]) -> str:
    """Yes, no or undecided for each arm, by the rule of docs/anatomy.md."""
    pairs: list[tuple[str, str]] = []
    for arm in section.arms:
        found = [f for f in findings if f.arm == arm.arm and f.estimate is not None]
        reasons = dict.fromkeys(reason for phase in arm.phases.values() for reason in phase.reasons)
        pairs.append((arm.arm, two_phases(found) if found else f"not tested, {'; '.join(reasons)}"))
    said = grouped(pairs)
    return said[:1].upper() + said[1:]


def two_phases(findings: list[Finding]) -> str:
    """Whether an arm's execution tokens settle before its planning tokens do.

    Yes if both entropy and error say so; no if one says that planning is first or that the difference
    lies within the margin; otherwise undecided.

    Args:
        findings: its lags of LAGS, as far as they could be measured.
    """
    verdicts = {f.verdict for f in findings}
    if verdicts & {"behind", "equivalent"}:
        return "no"
    return "yes" if verdicts == {"ahead"} and len(findings) == len(LAGS) else "undecided"
