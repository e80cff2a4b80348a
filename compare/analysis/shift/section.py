"""The sections on shift: who decays slower, in words, figures and tables; and what every shift adds."""

from collections.abc import Mapping, Sequence
from itertools import product

from compare.analysis.base import Studies
from compare.analysis.blocks import Badge, Block, Callout, Fold, Heading, Inline, Mark, Prose, table
from compare.analysis.findings import Finding, grounds, word, words
from compare.analysis.quantity import BASELINE
from compare.analysis.shift.measure import ERRORS, ArmDecay, Shift
from compare.analysis.shift.quantities import ASKED
from compare.analysis.shift.thinking_gain import correlate, gained, pearson, places, rank, uncorrelated
from compare.analysis.text import count_text, fixed, interval_text, sentences
from compare.stats.intervals import Estimate

BEWARE = (
    "A slope is the least-squares line through a metric at severities 0, 1, 2 and so on. Severities are "
    "ordered but have no unit: slopes compare arms on one axis, not axes with one another.",
    "An arm that starts at 60% cannot lose as much as one that starts at 100%, and one that has nothing left "
    "after the first severity loses nothing more: read slopes beside the retained share and the levels.",
    "Levels, slopes, retained shares and correlations of exact answers carry the variance of the held-out "
    "problems, which seeds share; those of the loss and of edit distances are Student's t over seeds alone.",
    "An answer is right or wrong whatever its chain. A plan is what the chain says is to be done, an "
    "execution what it says has come out, each judged by itself against the reference or whatever the task "
    "accepts.",
    "An arm trained by reward on answers alone was not paid for its chain: its chain errors say what it gave "
    "up, not what it cannot do; and it minimises no loss, so that its loss says less than the others'.",
    "The gain from thinking is bounded by what is left to gain: it is zero where everything, or nothing, is "
    "right. A correlation over seeds asks whether it grows with the severity, not how large it is.",
)

SLOPE = words("slower", "faster", "as fast")
SHARE = words("more", "less", "as much")
WHOLE = {"text": "exact", "text_edit": "edit distance", "text_bleu": "BLEU"}
"""Metric of a whole text -> its column."""
GROWTH = words(
    "grows with the shift", "shrinks with the shift", "does not change with the shift, within the margin"
)


def answers(shift: Shift, findings: Sequence[Finding]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""
    by = {quantity: [f for f in findings if f.quantity == quantity] for quantity in ASKED}
    gains = [*by["thinking_shift"], *by["thinking_shift_loss"]]
    gain_in = {"thinking_shift": "Gain in exact answers", "thinking_shift_loss": "Gain in loss"}
    growth = sentences(
        (gain_in[f.quantity], f"{f.arm}, along {f.axis}" if f.axis else f.arm, word(f, GROWTH)) for f in gains
    )
    leaning = sentences(
        (f"Along {axis}", arm.arm, lean(planning))
        for axis, severities in shift.axes.items()
        for arm in shift.largest
        if (planning := arm.planning((axis, severities[-1]))) is not None
    )
    questions = (
        ("Who decays slower, in exact answers lost per severity?", by["decay_slope"], SLOPE),
        ("Who keeps a larger share of what it answers in distribution?", by["retained_share"], SHARE),
        ("Whose loss rises slower?", by["decay_slope_loss"], SLOPE),
    )
    # Of those explored, the decided ones; those named beforehand whatever came of them.
    told = [
        (asks, _against(own, called), [f for f in own if f.primary or f.verdict != "undecided"])
        for asks, own, called in questions
    ]
    alone = "There is nothing to tell: no arm was answered at two efforts of thinking."
    told.append(("Does thinking help more under shift?", growth or alone, gains))
    if leaning:
        told.append(("What fails under the largest shift, the plan or its execution?", leaning, []))
    return [Callout(question=asks, answer=answer, grounds=grounds(own)) for asks, answer, own in told]


def _against(findings: Sequence[Finding], called: Mapping[str, str]) -> str:
    """How often each word was the answer, undecided as loud as the rest; then arms, axis by axis."""
    if not findings:
        return "Nothing could be compared."
    every = [word(f, called) for f in findings]
    counts = [f"{every.count(one)} {one}" for one in (*called.values(), "not measured") if one in every]
    parts = [f"Of {len(findings)} comparisons: {', '.join(counts)}."]
    for baseline in dict.fromkeys(f.baseline for f in findings):
        theirs = [f for f in findings if f.baseline == baseline]
        along = sentences((f"Along {f.axis}", f.arm, word(f, called)) for f in theirs)
        parts.append(f"Against {baseline}. {along}")
    return " ".join(parts)


def lean(planning: Estimate) -> str:
    """Whether the plan fails more often than its execution, as far as its interval tells."""
    if planning.value == planning.low == planning.high == 0:
        return "both alike"
    if planning.low > 0:
        return "rather the plan"
    return "rather the execution" if planning.high < 0 else "undecided"


def slopes(name: str, shift: Shift, findings: Sequence[Finding]) -> Sequence[Block]:
    difference = f"slope less that of {BASELINE}"
    against: dict[tuple[str, str, str], dict[str, Inline]] = {
        (f.arm, f.axis, f.quantity): {difference: f"{f.value_text} {f.interval_text}", "verdict": Badge(f)}
        for f in findings
        if f.baseline == BASELINE and f.estimate is not None
    }
    quantities = (("exact", "decay_slope"), ("loss", "decay_slope_loss"))
    rows = [
        {
            "axis": axis,
            "metric": metric,
            "arm": Mark(arm.arm, decay.cells),
            "in distribution": interval_text(decay.levels[0]),
            "at the largest shift": interval_text(decay.levels[-1]),
            "slope": interval_text(decay.slope),
            "retained share": interval_text(decay.retained),
            **against.get((arm.arm, axis, quantity), {difference: "–", "verdict": "–"}),
        }
        for axis, (metric, quantity), arm in product(shift.axes, quantities, shift.largest)
        if (decay := arm.decay(metric, axis)) is not None
    ]
    caption = (
        "Slopes, means over seeds with 95% intervals, at "
        f"{count_text(shift.largest[0].runs[0].planned.budget)} training FLOPs. exact: answers lost per "
        "severity; loss: nats per token added. Below 0 in the difference an arm decays slower than "
        f"{BASELINE}."
    )
    return table(f"Decay slopes of {name}", rows, caption)


def errors(name: str, shift: Shift) -> list[Fold]:
    measured = [(place, arm, arm.errors(place)) for place, arm in product(places(shift.axes), shift.largest)]
    kinds = [kind for kind in ERRORS if any(kind in errors for _, _, errors in measured)]
    rows = [
        {
            "axis": axis if severity else "none",
            "severity": severity,
            "arm": Mark(arm.arm, tuple(run.planned.cell for run in arm.runs)),
            **{kind: interval_text(errors.get(kind)) for kind in kinds},
            "answer, guessed": _guessed(arm, axis, severity),
        }
        for (axis, severity), arm, errors in measured
        if errors
    ]
    caption = (
        "Errors, means over seeds with 95% intervals: 1 less the share of right answers, plans, executions "
        "and whole chains; edit: mean edit distance of the answer, 0 to 1; guessed: error of a blind guess."
    )
    summary = f"What went wrong, by severity: {', '.join(kinds)}"
    tables = tuple(table(f"Errors of {name}", rows, caption))
    return [Fold(summary=summary, blocks=tables, open=len(shift.axes) == 1)] if tables else []


def _guessed(arm: ArmDecay, axis: str, severity: int) -> str:
    """Answer error of blind guesses; a dash where records are older than that they tell."""
    rate = arm.runs[0].record.guess_rate(severity, axis)
    return "–" if rate is None else fixed(1 - rate, 3)


def gains(name: str, shift: Shift) -> Sequence[Block]:
    rows = [
        {
            "arm": Mark(arm.arm, tuple(gain.run.planned.cell for gain in gains)),
            "gain in": metric,
            "least": gains[0].efforts[1],
            "most": gains[0].efforts[0],
            "gain in distribution": interval_text(gained(gains)[0][1]),
            "rank correlation": interval_text(correlate(gains, rank)),
            "Pearson's": interval_text(correlate(gains, pearson)),
            "n": sum(gain.varies for gain in gains),
            "without a correlation": "; ".join(uncorrelated(gains)),
        }
        for arm in shift.largest
        for metric, gains in arm.gains.items()
    ]
    caption = (
        "Correlation over all axes and severities between severity and what the most thinking gains over "
        "the least, run by run; means over seeds with 95% intervals, cut to [\u22121, 1]."
    )
    return table(f"Gain from thinking in {name}", rows, caption, wrap=("without a correlation",))


def increases(studies: Studies[Shift]) -> list[Block]:
    """What each shift adds, every arm at its own largest budget or rung."""
    arms = [(cohort.study, arm) for cohort, shift in studies if shift is not None for arm in shift.arms]
    rows = [
        {
            "study": study,
            "arm": arm.arm,
            "FLOPs": count_text(arm.runs[0].planned.budget),
            "metric": what,
            "axis": decay.axis,
            "in distribution (severity 0)": interval_text(decay.worse[0]),
            "severity": severity,
            "shifted": interval_text(decay.worse[k]),
            "increase": interval_text(decay.increases[k]),
            "shifted, guessed": _guessed(arm, decay.axis, severity) if metric == "exact" else "–",
            "n": Mark(len(decay.tracks), decay.cells),
        }
        for study, arm in arms
        for metric, what in (("loss", "loss"), ("exact", "answer error"))
        for decay in arm.decays
        if decay.metric == metric
        for k, severity in enumerate(decay.severities)
        if severity
    ]
    text = (
        f"At each arm's largest {studies[0][0].point}; intervals by Student's t over seeds, the increase "
        "paired by seed."
    )
    heading = Heading(text="Out of distribution", level=2, anchor="shift")
    return [heading, Prose(text=text, soft=True), *table("Out of distribution", rows)] if rows else []


def whole_texts(studies: Studies[Shift]) -> Sequence[Block]:
    """Whole completions, of tasks that score them."""
    rows = [
        {
            "study": cohort.study,
            "arm": Mark(arm.arm, tuple(run.planned.cell for run in arm.runs)),
            "axis": axis if severity else "none",
            "severity": severity,
            **{called: interval_text(means.get(metric)) for metric, called in WHOLE.items()},
        }
        for cohort, shift in studies
        if shift is not None
        for arm in shift.arms
        for axis, severity in places(shift.axes)
        if (means := arm.means(WHOLE, (axis, severity)))
    ]
    caption = "Chain and answer as one text, scored as the task says; means over seeds with 95% intervals."
    return table("Whole texts", rows, caption)
