"""The section on pictures of thinking: courses of energy, boards being filled, energy against correctness."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from compare.analysis.blocks import Block, Bold, Callout, Code, Figures, Inline, Mark, Table
from compare.analysis.energy import figures
from compare.analysis.energy.measure import BINS, ENERGY, FEWEST, Place
from compare.analysis.text import count_text, grouped, interval_text, p_text, sentence
from compare.stats.intervals import LEVEL, Estimate
from compare.store.descent import SOLVED, Example

UNMEASURED = "not measured"
ROWS = 8
"""Most steps in the table of an example."""

MEASURED = (
    "At the end of training an arm that descends on an energy answers the first held-out problems of the "
    "evaluation once more, in its default way, and every state on the way is kept: the most probable "
    "completion, the energy, and the entropy of the distributions. Entry 0 is the start.",
    "An autoregressive arm thinks once per token, after its own final tokens: step k of a completion is the "
    "row of states that its tokens had after k steps, and the last entry is its answer. Its energy is summed "
    "over the answer's tokens, that of the last step of thinking in every entry, so that a change along the "
    "steps is one of the state and not of the function. A parallel arm has one energy of the whole answer.",
    "Nothing in training asks that energies of different problems compare: an energy is trained only through "
    "its slope. Whether they do is what is measured here.",
    "AUROC: the probability that a right answer has lower energy than a wrong one of the same run and "
    f"severity; 1/2 is chance. A run counts if it has at least {FEWEST} answers of either outcome. Means "
    "over seeds, with Student's t intervals. Whether low energy means right is Holm-adjusted over all arms "
    "and severities of the study; every other interval stands for itself. Nobody named these beforehand: "
    "they are exploratory.",
    "A longer answer sums more energies. Where answers differ in length, the energy per token is given "
    "beside the sum: if only the sum tells right from wrong, length does.",
    f"Calibration: each run's problems, sorted by energy into {BINS} equal parts; shares over all seeds.",
    "Examples are the first solved and the first failed problem of the first seed that has one, not chosen "
    "for their looks.",
)


def answers(places: Sequence[Place]) -> tuple[Callout, ...]:
    """Every question, in the order in which a reader asks them."""
    more = "AUROC of the energy less that of the entropy, paired by seed: "
    fallen = "energy at the start less that at the end, mean over problems: "
    return (
        _callout(
            "Does low energy mean right?",
            [(place.name, trusted(place), _ranks(place)) for place in places],
            _fifths(places),
        ),
        _callout(
            "Does it say more than the entropy of the same answer?",
            [
                (place.name, _side(e, "more", "less") if e else UNMEASURED, more + _estimate(e) if e else "")
                for place in places
                for e in (place.over_entropy,)
            ],
        ),
        _callout(
            "Does thinking lower the energy?",
            [
                (f"{place.name}, {SOLVED[solved]}", _fell(fall), fallen + _estimate(fall))
                for place in places
                for solved, fall in place.fall.items()
            ],
        ),
    )


def _callout(question: str, facts: list[tuple[str, str, str]], more: str = "") -> Callout:
    """Facts are names, each with its answer in a word or two and what that rests on."""
    return Callout(
        question=question,
        answer=sentence(grouped([(name, word) for name, word, _ in facts])) + more,
        grounds=tuple(f"{name}: {ground}" for name, _, ground in facts if ground),
    )


def trusted(place: Place) -> str:
    """Yes, the reverse, or undecided; not measured where too few answers were right or wrong."""
    signal = place.signals.get(ENERGY)
    if signal is None:
        return UNMEASURED
    side = _side(signal.auroc, "yes", "no, the reverse", null=0.5)
    return side if signal.auroc.single_run or signal.p_holm < 1 - LEVEL else "undecided"


def _side(e: Estimate, above: str, below: str, null: float = 0.0) -> str:
    """On which side of the null the whole interval lies."""
    if e.single_run:
        return "undecided, a single run"
    return above if e.low > null else below if e.high < null else "undecided"


def _fell(fall: Estimate) -> str:
    if fall.single_run:
        return "it falls in the one run" if fall.value > 0 else "it rises in the one run"
    return _side(fall, "it falls", "it rises")


def _fifths(places: Sequence[Place]) -> str:
    """What the first place's calibration says, in one sentence."""
    for place in places:
        if place.signals and len(place.calibration) > 1:
            first, last = place.calibration[0], place.calibration[-1]
            return (
                f" Of the fifth of answers with the lowest energy {first.value:.0%} are right (95% interval "
                f"{first.low:.0%} to {first.high:.0%}), of that with the highest {last.value:.0%} "
                f"({last.low:.0%} to {last.high:.0%}) ({place.name})."
            )
    return ""


def _ranks(place: Place) -> str:
    signal = place.signals.get(ENERGY)
    if signal is None:
        reasons = (f"seed {seed}: {reason}" for seed, reason in place.unmeasured.items())
        return f"{UNMEASURED} ({'; '.join(reasons)})"
    left = f"; runs with too few of one outcome: {len(place.unmeasured)}" if place.unmeasured else ""
    return (
        f"a right answer has lower energy than a wrong one with probability {_estimate(signal.auroc)}, "
        f"Holm-adjusted p {p_text(signal.p_holm)} against 1/2; Spearman's correlation of energy with "
        f"correctness {_estimate(signal.rho)}{left}"
    )


def _estimate(e: Estimate) -> str:
    return interval_text(e) + ("" if e.single_run else f", {e.n} seeds")


def album(study: str, places: list[Place], look: tuple[str, str]) -> list[Block]:
    """One arm's pictures: figures, then examples as tables where they are no boards."""
    drawn = [figures.course_figure(study, place) for place in places]
    stories: list[Block] = []
    for place in places:
        shown = examples(place)
        if side := figures.side_of(place, shown):
            drawn.append(figures.board_figure(study, place, shown, side))
        else:
            stories += [_story(place, example) for example in shown]
    drawn.append(figures.calibration_figure(study, places, look))
    return [Figures(figures=tuple(drawn)), *stories]


def examples(place: Place) -> list[Example]:
    """The first solved and the first failed example of the first seeds that have one."""
    every = [example for _, descent in place.runs for example in descent.examples]
    firsts = [next((e for e in every if e.correct == solved), None) for solved in (True, False)]
    return [example for example in firsts if example is not None]


def _story(place: Place, example: Example) -> Table:
    """One example, step by step."""
    title = f"{place.name}: the first {SOLVED[example.correct]} problem"
    steps = figures.chosen_steps(len(example.completions), ROWS)
    texts = [example.completions[i] for i in steps]
    return Table(
        label=title,
        caption=(
            *(f"{title}: ", Code(example.prompt), ", reference ", Code(example.reference)),
            "; bold: changed since the row above",
        ),
        columns=("step", "most probable completion", "energy", "entropy, nats per token"),
        rows=tuple(
            (
                Mark(i or "start", (place.cell_of(example),)),
                Code(differences(text, before)),
                f"{example.energy[i]:.4g}",
                f"{example.entropy[i]:.3g}",
            )
            for i, text, before in zip(steps, texts, (None, *texts), strict=False)
        ),
        sortable=False,
    )


def differences(text: str, before: str | None) -> tuple[str | Bold, ...]:
    """The text in runs of characters, bold where they are not those at the same places of the one before."""
    changed = [before is not None and before[i : i + 1] != character for i, character in enumerate(text)]
    runs = groupby(zip(text, changed, strict=True), key=lambda pair: pair[1])
    joined = (("".join(character for character, _ in run), new) for new, run in runs)
    return tuple(Bold(run) if new else run for run, new in joined)


def signals(study: str, places: Sequence[Place]) -> Table:
    return Table(
        label=f"Energy against correctness in {study}",
        caption="How well each signal tells right answers from wrong ones, lower meaning right: means over "
        "seeds with 95% intervals.",
        columns=(
            *("arm", "training FLOPs", "axis", "severity", "answers", "right", "signal", "n", "AUROC"),
            *("p Holm, against 1/2", "Spearman's correlation with correctness"),
        ),
        rows=tuple(row for place in places for row in _rows(place)),
    )


def _rows(place: Place) -> Iterator[tuple[Inline, ...]]:
    """One for each signal; one that says so where none was measured."""
    correct = "".join(descent.correct for _, descent in place.runs)
    mark, right = Mark(place.arm, place.cells), correct.count("1")
    start = (mark, count_text(place.budget), place.axis, place.severity, len(correct), right)
    for name, s in place.signals.items():
        yield *start, name, s.auroc.n, interval_text(s.auroc), p_text(s.p_holm), interval_text(s.rho)
    if not place.signals:
        yield *start, "not measured: too few answers of one outcome in every run", "–", "–", "–", "–"
