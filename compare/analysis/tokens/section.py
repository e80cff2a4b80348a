"""The section on tokens: questions and their answers in words, figures, tables."""

from collections.abc import Sequence

from compare.analysis.base import LookOf
from compare.analysis.blocks import (
    Block,
    Callout,
    Figures,
    Fold,
    Heading,
    Inline,
    Listing,
    Mark,
    Prose,
    Table,
)
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Finding, grounds, word
from compare.analysis.text import count_text, grouped, interval_text, p_text, sentence
from compare.analysis.tokens.figures import of_anatomy
from compare.analysis.tokens.measure import CLASSES, END, START, AnatomyStudy, ArmAnatomy
from compare.analysis.tokens.quantities import LAGS, QUANTITIES

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

TWO_PHASES = (
    'Two phases: "yes" if both the entropy and the error of planning tokens make half their fall after those '
    'of execution tokens, over seeds and against random labels; "no" if one of them comes first, or if the '
    "difference lies within the margin; else undecided."
)

BEWARE = (
    "Entropies are those of the full next-token distribution at temperature 1, over tokens that the policy "
    "sampled itself. Shares are measured on fixed validation problems with the same random numbers each "
    "time, courses over training on each update's rollout.",
    "The class of a token is the task's own, of the place at which it stands; a sample that has left the "
    "chain's form has no classes from there on, but its tokens count among all.",
    "An error is the first token of a sample that differs from the reference, over the tokens that got that "
    "far: what only follows from an earlier error is not counted.",
    "A half-fall is when a curve, smoothed over 10% of the updates, is first half-way from its start (the "
    "first 5%) to its end (the last 10%). A curve that loses less than a fifth of its start has none.",
    "Under relabelling the same places are called planning and execution at random, as many of each, the "
    "same way for all seeds. A lag counts only if it is larger than those of other labellings, and differs "
    "from zero over seeds.",
    "Places differ in more than their class: a planning token that stands early in the chain is also early. "
    "The relabelling says whether an order this clear is rare among places, not why it is there.",
)


def blocks(
    studies: Sequence[tuple[Cohort, AnatomyStudy | None]], findings: Sequence[Finding], look: LookOf
) -> list[Block]:
    """One part for each study of which a contrast names a quantity of the section."""
    asked = [(cohort, study) for cohort, study in studies if cohort.asked & QUANTITIES.keys()]
    if not asked:
        return []
    out: list[Block] = [Heading(text="Which tokens", level=2, anchor="anatomy")]
    for cohort, study in asked:
        out.append(Heading(text=cohort.study))
        if study is None:
            out.append(Prose(text="No finished run of this study recorded where its entropy sits."))
            continue
        out += [
            *answers(study, [finding for finding in findings if finding.study == cohort.study]),
            Prose(text=TWO_PHASES, soft=True),
            Figures(figures=of_anatomy(cohort.study, study, look)),
            _half_falls(cohort.study, study),
            Fold(summary="Every class of tokens, before and after", blocks=(_classes(cohort.study, study),)),
        ]
    return [*out, Listing(items=BEWARE, soft=True)]


def answers(study: AnatomyStudy, findings: Sequence[Finding]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""
    shown = {"forking_excess": study.main.arm}
    excess = [f for f in findings if shown.get(f.quantity) == f.arm and f.estimate is not None]
    gains = [f for f in findings if f.quantity == "extra_gain"]
    order = [f for f in findings if f.quantity in LAGS]
    where = " ".join([*_where(study.main), *(EXCESS[f.verdict] for f in excess)])
    told = (
        ("Where does entropy sit?", where, excess),
        ("Does training on some tokens gain more than on others?", _against(gains), _named(gains)),
        ("Are there two phases?", _phases(study, order), _named(order)),
    )
    return [Callout(question=q, answer=answer, grounds=grounds(own)) for q, answer, own in told]


def _named(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Those named beforehand, if there are any: all others stand in the table of findings."""
    return [f for f in findings if f.primary] or findings


def _where(arm: ArmAnatomy) -> list[str]:
    """A sentence per stage."""
    out: list[str] = []
    openings = {START: "At the end of the warm start", END: f"After reinforcement learning ({arm.arm})"}
    for stage, opening in openings.items():
        held = arm.mean(stage, "entropy_in_forks")
        assert held is not None
        parts: list[str] = []
        for name, spoken in CLASSES.items():
            tokens, forks = (arm.mean(stage, f"{of}_{name}") for of in ("tokens", "forks"))
            if tokens is not None and forks is not None:
                shares = f"{tokens.value:.0%} of all tokens and {forks.value:.0%} of that fifth"
                parts.append(f"{spoken} tokens are {shares}")
        text = f"{opening} the fifth of tokens with the highest entropy holds {held.value:.0%} of all entropy"
        out.append(f"{text}: {'; '.join(parts)}." if parts else f"{text}.")
    return out


def _against(findings: Sequence[Finding]) -> str:
    """Gains of arms against each baseline, those named beforehand first."""
    if not findings:
        return "There is nothing to compare: no two arms have finished runs."
    pairs: dict[str, list[tuple[str, str]]] = {}
    for f in sorted(findings, key=lambda f: not f.primary):
        pairs.setdefault(f.baseline, []).append((f.arm, word(f, GAINS)))
    return " ".join(f"Against {baseline}: {grouped(own)}" for baseline, own in pairs.items())


def _phases(study: AnatomyStudy, findings: Sequence[Finding]) -> str:
    """Yes, no or undecided for each arm, by the rule of docs/anatomy.md."""
    pairs: list[tuple[str, str]] = []
    for arm in study.arms:
        tested = [f for f in findings if f.arm == arm.arm and f.estimate is not None]
        reasons = dict.fromkeys(reason for phase in arm.phases.values() for reason in phase.reasons)
        pairs.append((arm.arm, two_phases(tested) if tested else f"not tested, {'; '.join(reasons)}"))
    return sentence(grouped(pairs))


def two_phases(findings: Sequence[Finding]) -> str:
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


def _half_falls(name: str, study: AnatomyStudy) -> Table:
    rows: list[tuple[Inline, ...]] = []
    for arm in study.arms:
        for phase in arm.phases.values():
            times = map(interval_text, (*map(phase.half.get, CLASSES), phase.lag))
            tested = (p_text(phase.p_relabelled), len(phase.relabelled_R)) if phase.lag else ("–", "–")
            remarks = "; ".join(phase.reasons)
            rows.append((Mark(arm.arm, arm.cells), phase.measure, *times, *tested, remarks))
    return Table(
        label=f"Half-falls of {name}",
        caption="When each class of tokens makes half its fall, as a share of the compute of reinforcement "
        f"learning at {count_text(study.budget)} training FLOPs in all; means over seeds with 95% intervals. "
        "Lag: planning less execution. p: share of labellings of the same places with a lag as large.",
        columns=("arm", "of", *CLASSES.values(), "lag", "p of the relabelling", "labellings", "remarks"),
        rows=tuple(rows),
        wrap=("remarks",),
    )


def _classes(name: str, study: AnatomyStudy) -> Table:
    rows: list[tuple[Inline, ...]] = []
    start = f"warm start, that of {study.main.arm}"
    for arm, stage, spoken in ((study.main, START, start), *((arm, END, END) for arm in study.arms)):
        held = interval_text(arm.mean(stage, "entropy_in_forks"))
        met = [label for label in CLASSES if any(f"tokens_{label}" in run.at[stage] for run in arm.runs)]
        for label in met or ["all tokens"]:
            columns = (f"{of}_{label}" for of in ("tokens", "forks", "held_out_entropy"))
            numbers = (interval_text(arm.mean(stage, column)) for column in columns)
            rows.append((Mark(arm.arm, arm.cells), spoken, held, label, *numbers))
            held = ""
    return Table(
        label=f"Classes of {name}",
        caption="Means over seeds with 95% intervals, on fixed validation problems.",
        columns=(
            "arm",
            "at",
            "share of all entropy held by the top fifth",
            "class",
            "share of all tokens",
            "share of the top fifth",
            "entropy, nats",
        ),
        rows=tuple(rows),
    )
