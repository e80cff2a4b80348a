"""The section on pictures of thinking in words: each question, its answer, and what it rests on."""

from compare.analysis.ceiling.words import Answer, grouped
from compare.analysis.energy.measure import Place
from compare.stats.intervals import LEVEL, Estimate
from compare.store.descent import SOLVED


def answers(places: tuple[Place, ...]) -> tuple[Answer, ...]:
    """Every question, in the order in which a reader asks them."""
    return (
        Answer(
            question="Does low energy mean right?",
            answer=_sentence([(place.name, trusted(place)) for place in places]) + _fifths(places),
            grounds=tuple(_ground(place) for place in places),
        ),
        Answer(
            question="Does it say more than the entropy of the same answer?",
            answer=_sentence([(place.name, _more(place)) for place in places]),
            grounds=tuple(
                f"{place.name}: AUROC of the energy less that of the entropy, paired by seed: "
                f"{_estimate(place.over_entropy)}"
                for place in places
                if place.over_entropy is not None
            ),
        ),
        Answer(
            question="Does thinking lower the energy?",
            answer=_sentence(
                [
                    (f"{place.name}, {SOLVED[solved]}", _fell(fall))
                    for place in places
                    for solved, fall in place.fall.items()
                ]
            ),
            grounds=tuple(
                f"{place.name}: energy at the start less that at the end, mean over "
                f"{SOLVED[solved]} problems: {_estimate(fall)}"
                for place in places
                for solved, fall in place.fall.items()
            ),
        ),
    )


def trusted(place: Place) -> str:
    """Yes, the reverse, or undecided; not measured where too few answers were right or wrong."""
    signal = place.signal("energy")
    if signal is None:
        return "not measured"
    if signal.auroc.single_run:
        return "undecided, a single run"
    if signal.p_holm >= 1 - LEVEL or signal.auroc.low <= 0.5 <= signal.auroc.high:
        return "undecided"
    return "yes" if signal.auroc.value > 0.5 else "no, the reverse"


def _more(place: Place) -> str:
    found = place.over_entropy
    if found is None:
        return "not measured"
    if found.single_run:
        return "undecided, a single run"
    return "more" if found.low > 0 else "less" if found.high < 0 else "undecided"


def _fell(fall: Estimate) -> str:
    if fall.single_run:
        return "it falls in the one run" if fall.value > 0 else "it rises in the one run"
    return "it falls" if fall.low > 0 else "it rises" if fall.high < 0 else "undecided"


def _fifths(places: tuple[Place, ...]) -> str:
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


def _ground(place: Place) -> str:
    signal = place.signal("energy")
    if signal is None:
        reasons = "; ".join(f"seed {seed}: {reason}" for seed, reason in place.unmeasured)
        return f"{place.name}: not measured ({reasons})"
    left = f"; runs with too few of one outcome: {len(place.unmeasured)}" if place.unmeasured else ""
    return (
        f"{place.name}: a right answer has lower energy than a wrong one with probability "
        f"{_estimate(signal.auroc)}, Holm-adjusted p {_p(signal.p_holm)} against 1/2; Spearman's correlation "
        f"of energy with correctness {_estimate(signal.rho)}{left}"
    )


def _estimate(found: Estimate | None) -> str:
    if found is None:
        return "not measured"
    if found.single_run:
        return f"{found.value:.3g} (single run, no interval)"
    return f"{found.value:.3g}, 95% interval {found.low:.3g} to {found.high:.3g}, {found.n} seeds"


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _sentence(pairs: list[tuple[str, str]]) -> str:
    text = grouped(pairs)
    return text[:1].upper() + text[1:]
