"""Does low energy mean right? Rank statistics and calibration over the traced problems of finished runs.

Energies of two models have neither their zero nor their unit in common, so each run is ranked by itself
and the rank statistics are averaged over seeds. Shapes: P problems, S seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from compare.stats.intervals import LEVEL, Array, Estimate, holm, over_seeds
from compare.store.descent import Descent, Example
from compare.store.evidence import Run

FEWEST = 5
"""Solved and failed problems, of each, below which a run's ranks say nothing."""
BINS = 5
"""Equal parts into which a run's problems are sorted by energy."""

SIGNALS: dict[str, Callable[[Descent], Array]] = {
    "energy": lambda d: np.array(d.energy),
    "energy a token": lambda d: np.array(d.energy) / np.array(d.tokens),
    "entropy": lambda d: np.array(d.entropy),
}
"""What an answer may be trusted by; the lower, the more."""


class Unmeasured(ValueError):
    """A run does not say it. The message is the reason, in a few words."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """How well one signal tells solved problems from failed ones, over seeds."""

    name: str
    auroc: Estimate
    """Probability that a solved problem has a lower value than a failed one, ties half; p against 1/2."""
    rho: Estimate
    """Spearman's correlation of the signal with correctness; below 0: low means right."""
    p_holm: float
    """The AUROC's p-value, adjusted over all arms and severities of the study for this signal."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Share of correct answers in a part of the problems."""

    right: int
    n: int
    low: float
    """Wilson's 95% interval."""
    high: float

    @property
    def value(self) -> float:
        return self.right / self.n


@dataclass(frozen=True, kw_only=True)
class Place:
    """One arm at one severity, at the largest budget at which its answers were traced."""

    arm: str
    axis: str
    severity: int
    budget: float
    runs: tuple[tuple[Run, Descent], ...]
    """By seed."""
    signals: tuple[Signal, ...]
    """Empty if no run had enough of both outcomes."""
    over_entropy: Estimate | None
    """AUROC of the energy less that of the entropy, paired by seed."""
    fall: dict[bool, Estimate]
    """Energy at the start less that at the end, of solved (True) and failed problems."""
    calibration: tuple[Share, ...]
    """Share correct, from the lowest to the highest part by energy, problems of all seeds together."""
    unmeasured: tuple[tuple[int, str], ...]
    """Seed and reason of each run whose ranks say nothing."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The runs' cells."""
        return tuple(run.planned.cell for run, _ in self.runs)

    def cell_of(self, example: Example) -> str:
        """The cell of which the example is one."""
        return next(r.planned.cell for r, d in self.runs if any(e is example for e in d.examples))

    @property
    def name(self) -> str:
        """For tables and sentences."""
        return (
            f"{self.arm} at {self.axis} {self.severity}" if self.severity else f"{self.arm} in distribution"
        )

    @property
    def answers(self) -> int:
        """How many there are, over all seeds."""
        return sum(len(descent.correct) for _, descent in self.runs)

    @property
    def right(self) -> int:
        """How many of them are right."""
        return sum(descent.correct.count("1") for _, descent in self.runs)

    def signal(self, name: str) -> Signal | None:
        """The signal of that name, if it was measured."""
        return next((signal for signal in self.signals if signal.name == name), None)


def study_energies(runs: tuple[Run, ...], arms: tuple[str, ...]) -> tuple[Place, ...]:
    """Every arm and severity that some finished run has traced; empty if none has."""
    places: list[Place] = []
    for arm in arms:
        own = [run for run in runs if run.planned.arm == arm and run.record.traces]
        top = max((run.planned.budget for run in own), default=0.0)
        own = sorted((run for run in own if run.planned.budget == top), key=lambda run: run.planned.seed)
        sets = dict.fromkeys((d.severity, d.axis) for run in own for d in run.record.traces)
        for severity, axis in sorted(sets):
            pairs = [
                (run, d) for run in own for d in run.record.traces if (d.severity, d.axis) == (severity, axis)
            ]
            places.append(_place(arm, axis, severity, top, pairs))
    return _adjusted(places)


def _place(arm: str, axis: str, severity: int, budget: float, pairs: list[tuple[Run, Descent]]) -> Place:
    measured: list[tuple[Run, Descent]] = []
    unmeasured: list[tuple[int, str]] = []
    for run, descent in pairs:
        try:
            check_outcomes(outcomes(descent))
            measured.append((run, descent))
        except Unmeasured as error:
            unmeasured.append((run.planned.seed, str(error)))
    found = [d for _, d in measured]
    ranked = {name: np.array([auroc(look(d), outcomes(d)) for d in found]) for name, look in SIGNALS.items()}
    # Answers of one length rank the same by energy and by energy a token.
    alike = all(len(set(d.tokens)) == 1 for d in found)
    falls = {
        solved: [c.energy[0] - c.energy[-1] for _, d in pairs for c in d.courses if c.solved == solved]
        for solved in (True, False)
    }
    return Place(
        arm=arm,
        axis=axis,
        severity=severity,
        budget=budget,
        runs=tuple(pairs),
        signals=tuple(
            Signal(
                name=name,
                auroc=_against_half(ranked[name]),
                rho=_bounded(
                    over_seeds(np.array([rank_correlation(look(d), outcomes(d)) for d in found])), -1.0
                ),
                p_holm=1.0,
            )
            for name, look in SIGNALS.items()
            if found and not (name == "energy a token" and alike)
        ),
        over_entropy=_bounded(over_seeds(ranked["energy"] - ranked["entropy"]), -1.0) if found else None,
        fall={solved: over_seeds(np.array(values)) for solved, values in falls.items() if values},
        calibration=calibration([(np.array(d.energy), outcomes(d)) for _, d in pairs]),
        unmeasured=tuple(unmeasured),
    )


def _against_half(values_S: Array) -> Estimate:
    """Mean over seeds, its p-value against 1/2."""
    found = over_seeds(values_S - 0.5)
    return _bounded(replace(found, value=found.value + 0.5, low=found.low + 0.5, high=found.high + 0.5), 0.0)


def _bounded(found: Estimate, least: float) -> Estimate:
    """The interval within [least, 1]: Student's t knows no bounds, a probability or correlation has them."""
    if found.single_run:
        return found
    return replace(found, low=max(found.low, least), high=min(found.high, 1.0))


def _adjusted(places: list[Place]) -> tuple[Place, ...]:
    """The places with Holm's correction over all of them, signal by signal."""
    p_holm: dict[tuple[int, str], float] = {}
    for name in SIGNALS:
        at = [(i, s) for i, place in enumerate(places) if (s := place.signal(name)) is not None]
        for (i, _), p in zip(at, holm([s.auroc.p for _, s in at]), strict=True):
            p_holm[i, name] = p
    return tuple(
        replace(place, signals=tuple(replace(s, p_holm=p_holm[i, s.name]) for s in place.signals))
        for i, place in enumerate(places)
    )


def outcomes(descent: Descent) -> NDArray[np.bool_]:
    """Which answers are correct, P."""
    return np.array([c == "1" for c in descent.correct])


def check_outcomes(correct_P: NDArray[np.bool_]) -> None:
    """Raise Unmeasured unless there are FEWEST of either outcome."""
    right, n = int(correct_P.sum()), len(correct_P)
    if min(right, n - right) < FEWEST:
        raise Unmeasured(f"{right} of {n} answers are right, and at least {FEWEST} of either are needed")


def auroc(values_P: Array, correct_P: NDArray[np.bool_]) -> float:
    """Probability that a correct answer has the lower value: Mann-Whitney's U over its largest value."""
    wrong, right = values_P[~correct_P], values_P[correct_P]
    pairs = scipy_stats.mannwhitneyu(wrong, right, method="asymptotic").statistic
    return float(pairs / (len(wrong) * len(right)))


def rank_correlation(values_P: Array, correct_P: NDArray[np.bool_]) -> float:
    """Spearman's rho of the values with correctness; 0 where all values are the same."""
    if np.ptp(values_P) == 0:
        return 0.0
    found: Any = scipy_stats.spearmanr(values_P, correct_P.astype(float))
    return float(found.statistic)


def calibration(runs: list[tuple[Array, NDArray[np.bool_]]], bins: int = BINS) -> tuple[Share, ...]:
    """Share correct by part of the problems, sorted by value within each run, then added up over runs."""
    counts = np.zeros((bins, 2), dtype=int)
    for values_P, correct_P in runs:
        for i, part in enumerate(np.array_split(np.argsort(values_P, kind="stable"), bins)):
            counts[i] += int(correct_P[part].sum()), len(part)
    return tuple(_share(int(right), int(n)) for right, n in counts if n)


def _share(right: int, n: int) -> Share:
    interval = scipy_stats.binomtest(right, n).proportion_ci(LEVEL, method="wilson")
    return Share(right=right, n=n, low=float(interval.low), high=float(interval.high))
