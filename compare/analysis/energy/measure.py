"""Does low energy mean right? Rank statistics and calibration over the traced problems of finished runs.

Energies of two models have neither their zero nor their unit in common, so each run is ranked by itself
and the rank statistics are averaged over seeds. Shapes: P problems, S seeds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from compare.analysis.cohort import Cohort
from compare.analysis.paired import bounded
from compare.stats.intervals import LEVEL, Array, Estimate, holm, over_seeds
from compare.stats.ranks import ranks
from compare.store.descent import Descent, Example
from compare.store.evidence import Run

FEWEST = 5
"""Solved and failed problems, of each, below which a run's ranks say nothing."""
BINS = 5
"""Equal parts into which a run's problems are sorted by energy."""

ENERGY, PER_TOKEN, ENTROPY = "energy", "energy per token", "entropy"

SIGNALS: dict[str, Callable[[Descent], Array]] = {
    ENERGY: lambda d: np.array(d.energy),
    PER_TOKEN: lambda d: np.array(d.energy) / np.array(d.tokens),
    ENTROPY: lambda d: np.array(d.entropy),
}
"""What an answer may be trusted by; the lower, the more."""

Correct = NDArray[np.bool_]
"""P: whether an answer is right."""


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
    """Share of correct answers in a part of the problems, with Wilson's 95% interval (Wilson 1927)."""

    right: int
    n: int

    @property
    def value(self) -> float:
        return self.right / self.n

    @property
    def low(self) -> float:
        return self._end(-1)

    @property
    def high(self) -> float:
        return self._end(1)

    def _end(self, sign: int) -> float:
        z = float(special.ndtri((1 + LEVEL) / 2))
        half = math.sqrt(self.right * (self.n - self.right) / self.n + z**2 / 4)
        return (self.right + z**2 / 2 + sign * z * half) / (self.n + z**2)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One arm at one severity, at the largest budget at which its answers were traced."""

    arm: str
    axis: str
    severity: int
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
    def budget(self) -> float:
        """Training FLOPs allowed."""
        return self.runs[0][0].planned.budget

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


def places(cohort: Cohort) -> tuple[Place, ...]:
    """Every arm and severity that some finished run has traced; empty if none has."""
    found: list[Place] = []
    for arm in cohort.arms:
        top = cohort.top(arm, look=lambda run: run.record.traces or None)
        for severity, axis in sorted({(d.severity, d.axis) for run in top for d in run.record.traces}):
            runs = [
                (run, d) for run in top for d in run.record.traces if (d.severity, d.axis) == (severity, axis)
            ]
            found.append(_place(arm, axis, severity, runs))
    return _adjusted(found)


def _place(arm: str, axis: str, severity: int, runs: list[tuple[Run, Descent]]) -> Place:
    ranked: list[tuple[Descent, Correct]] = []
    unmeasured: list[tuple[int, str]] = []
    for run, descent in runs:
        if reason := shortage(outcomes(descent)):
            unmeasured.append((run.planned.seed, reason))
        else:
            ranked.append((descent, outcomes(descent)))
    # Answers of one length rank the same by energy and by energy per token.
    alike = all(len(set(descent.tokens)) == 1 for descent, _ in ranked)
    signals = {
        name: (
            np.array([auroc(values(descent), correct_P) for descent, correct_P in ranked]),
            np.array([rank_correlation(values(descent), correct_P) for descent, correct_P in ranked]),
        )
        for name, values in SIGNALS.items()
        if ranked and not (name == PER_TOKEN and alike)
    }
    falls = {
        solved: [c.energy[0] - c.energy[-1] for _, d in runs for c in d.courses if c.solved == solved]
        for solved in (True, False)
    }
    return Place(
        arm=arm,
        axis=axis,
        severity=severity,
        runs=tuple(runs),
        signals=tuple(
            Signal(
                name=name, auroc=_against_half(auroc_S), rho=bounded(over_seeds(rho_S), low=-1.0), p_holm=1.0
            )
            for name, (auroc_S, rho_S) in signals.items()
        ),
        over_entropy=bounded(over_seeds(signals[ENERGY][0] - signals[ENTROPY][0]), low=-1.0)
        if signals
        else None,
        fall={solved: over_seeds(np.array(values)) for solved, values in falls.items() if values},
        calibration=calibration([(np.array(d.energy), outcomes(d)) for _, d in runs]),
        unmeasured=tuple(unmeasured),
    )


def _against_half(values_S: Array) -> Estimate:
    """Mean over seeds, its p-value against 1/2."""
    e = over_seeds(values_S - 0.5)
    return bounded(replace(e, value=e.value + 0.5, low=e.low + 0.5, high=e.high + 0.5))


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


def outcomes(descent: Descent) -> Correct:
    """Which answers are correct, P."""
    return np.array([c == "1" for c in descent.correct])


def shortage(correct_P: Correct) -> str:
    """Why a run's ranks say nothing, in a few words; empty if there are FEWEST of either outcome."""
    right, n = int(correct_P.sum()), len(correct_P)
    if min(right, n - right) >= FEWEST:
        return ""
    return f"{right} of {n} answers are right, and at least {FEWEST} of either are needed"


def auroc(values_P: Array, correct_P: Correct) -> float:
    """Probability that a correct answer has the lower value: Mann-Whitney's U over its largest value."""
    wrong, right = values_P[~correct_P], values_P[correct_P]
    return float((1 + np.sign(wrong[:, None] - right)).mean() / 2)


def rank_correlation(values_P: Array, correct_P: Correct) -> float:
    """Spearman's rho of the values with correctness; 0 where all values are the same."""
    if np.ptp(values_P) == 0:
        return 0.0
    return float(np.corrcoef(ranks(values_P), correct_P)[0, 1])


def calibration(runs: list[tuple[Array, Correct]], bins: int = BINS) -> tuple[Share, ...]:
    """Share correct by part of the problems, sorted by value within each run, then added up over runs."""
    counts = np.zeros((bins, 2), dtype=int)
    for values_P, correct_P in runs:
        for i, part in enumerate(np.array_split(np.argsort(values_P, kind="stable"), bins)):
            counts[i] += int(correct_P[part].sum()), len(part)
    return tuple(Share(right=int(right), n=int(n)) for right, n in counts if n)
