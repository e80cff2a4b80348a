"""The section on tokens: questions and their answers in words, figures, tables."""

from collections.abc import Iterator, Sequence

from compare.analysis.blocks import Callout, Inline, Mark, Table, table
from compare.analysis.findings import Finding, grounds, word, words
from compare.analysis.text import count_text, grouped, interval_text, p_text, sentence, sentences
from compare.analysis.tokens.measure import CLASSES, END, START, AnatomyStudy, ArmAnatomy
from compare.analysis.tokens.quantities import LAGS

GAINS = words("gains more", "gains less", "gains as much")
EXCESS = words(
    "Planning tokens are over-represented in that fifth.",
    "Planning tokens are under-represented in that fifth.",
    "Planning tokens are as frequent in that fifth as among all.",
) | {"undecided": "Whether planning tokens are over-represented there is undecided."}

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


def answers(study: AnatomyStudy, findings: Sequence[Finding]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""
    measured = [f for f in findings if f.estimate is not None]
    excess = [f for f in measured if (f.quantity, f.arm) == ("forking_excess", study.main.arm)]
    gains = [f for f in findings if f.quantity == "extra_gain"]
    order = [f for f in findings if f.quantity in LAGS]
    named_first = sorted(gains, key=lambda f: not f.primary)
    against = sentences((f"Against {f.baseline}", f.arm, word(f, GAINS)) for f in named_first)
    phases: list[tuple[str, str]] = []
    for arm in study.arms:
        tested = [f for f in order if f.arm == arm.arm and f.estimate is not None]
        reasons = dict.fromkeys(reason for phase in arm.phases.values() for reason in phase.reasons)
        phases.append((arm.arm, two_phases(tested) if tested else f"not tested, {'; '.join(reasons)}"))
    where = " ".join([*_where(study.main), *(EXCESS[f.verdict] for f in excess)])
    told = (
        ("Where does entropy sit?", where, excess),
        (
            "Does training on some tokens gain more than on others?",
            against or "There is nothing to compare: no two arms have finished runs.",
            _named(gains),
        ),
        ("Are there two phases?", sentence(grouped(phases)), _named(order)),
    )
    return [Callout(question=q, answer=answer, grounds=grounds(own)) for q, answer, own in told]


def _named(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Those named beforehand, if there are any: all others stand in the table of findings."""
    return [f for f in findings if f.primary] or findings


def _where(arm: ArmAnatomy) -> Iterator[str]:
    """A sentence per stage."""
    openings = {START: "At the end of the warm start", END: f"After reinforcement learning ({arm.arm})"}
    for stage, opening in openings.items():
        held = arm.mean(stage, "entropy_in_forks")
        assert held is not None
        parts = [
            f"{spoken} tokens are {tokens.value:.0%} of all tokens and {forks.value:.0%} of that fifth"
            for name, spoken in CLASSES.items()
            if (tokens := arm.mean(stage, f"tokens_{name}")) and (forks := arm.mean(stage, f"forks_{name}"))
        ]
        text = f"{opening} the fifth of tokens with the highest entropy holds {held.value:.0%} of all entropy"
        yield f"{text}: {'; '.join(parts)}." if parts else f"{text}."


def two_phases(findings: Sequence[Finding]) -> str:
    """The rule of TWO_PHASES, from an arm's lags as far as they could be measured."""
    verdicts = {f.verdict for f in findings}
    if verdicts & {"behind", "equivalent"}:
        return "no"
    return "yes" if verdicts == {"ahead"} and len(findings) == len(LAGS) else "undecided"


def half_falls(name: str, study: AnatomyStudy) -> list[Table]:
    """When each class of tokens settles, by arm and measure."""
    rows = [
        {"arm": Mark(arm.arm, arm.cells), "of": phase.measure}
        | {spoken: interval_text(phase.half.get(label)) for label, spoken in CLASSES.items()}
        | {
            "lag": interval_text(phase.lag),
            "p of the relabelling": p_text(phase.p_relabelled) if phase.lag else "–",
            "labellings": len(phase.relabelled_R) if phase.lag else "–",
            "remarks": "; ".join(phase.reasons),
        }
        for arm in study.arms
        for phase in arm.phases.values()
    ]
    budget = count_text(study.main.runs[0].run.planned.budget)
    caption = (
        "When each class of tokens makes half its fall, as a share of the compute of reinforcement learning "
        f"at {budget} training FLOPs in all; means over seeds with 95% intervals. Lag: planning "
        "less execution. p: share of labellings of the same places with a lag as large."
    )
    return table(f"Half-falls of {name}", rows, caption, wrap=("remarks",))


def classes(name: str, study: AnatomyStudy) -> list[Table]:
    """What the probes recorded of each class of tokens, before and after."""
    rows: list[dict[str, Inline]] = []
    start = f"warm start, that of {study.main.arm}"
    for arm, stage, spoken in ((study.main, START, start), *((arm, END, END) for arm in study.arms)):
        met = [label for label in CLASSES if any(f"tokens_{label}" in run.at[stage] for run in arm.runs)]
        for i, label in enumerate(met or ["all tokens"]):
            held = "" if i else interval_text(arm.mean(stage, "entropy_in_forks"))
            rows.append(
                {
                    "arm": Mark(arm.arm, arm.cells),
                    "at": spoken,
                    "share of all entropy held by the top fifth": held,
                    "class": label,
                    "share of all tokens": interval_text(arm.mean(stage, f"tokens_{label}")),
                    "share of the top fifth": interval_text(arm.mean(stage, f"forks_{label}")),
                    "entropy, nats": interval_text(arm.mean(stage, f"held_out_entropy_{label}")),
                }
            )
    caption = "Means over seeds with 95% intervals, on fixed validation problems."
    return table(f"Classes of {name}", rows, caption)
