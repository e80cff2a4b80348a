"""Does low energy mean right? Rank statistics and calibration over the traced problems of finished runs.

Energies of two models have neither their zero nor their unit in common, so each run is ranked by itself
and the rank statistics are averaged over seeds. Shapes: P problems, S seeds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from compare.analysis.cohort import Cohort
from compare.analysis.paired import bits, bounded, mean
from compare.stats.intervals import LEVEL, Array, Estimate, Interval, holm, over_seeds
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


@dataclass(frozen=True, kw_only=True)
class Signal:
    """How well a signal tells solved problems from failed ones, over seeds."""

    auroc: Estimate
    """Probability that a solved problem has a lower value than a failed one, ties half; p against 1/2."""
    rho: Estimate
    """Spearman's correlation of the signal with correctness; below 0: low means right."""
    p_holm: float = 1.0
    """The AUROC's p-value, adjusted over all arms and severities of the study for this signal."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One arm at one severity, at the largest budget at which its answers were traced."""

    arm: str
    axis: str
    severity: int
    runs: tuple[tuple[Run, Descent], ...]
    """By seed."""
    signals: dict[str, Signal]
    """By name in SIGNALS; empty if no run had enough of both outcomes."""
    over_entropy: Estimate | None
    """AUROC of the energy less that of the entropy, paired by seed."""
    fall: dict[bool, Estimate]
    """Energy at the start less that at the end, of solved (True) and failed problems."""
    calibration: tuple[Interval, ...]
    """Share correct, from the lowest to the highest part by energy, problems of all seeds together."""
    unmeasured: dict[int, str]
    """By seed, why a run's ranks say nothing."""

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
        where = f"at {self.axis} {self.severity}" if self.severity else "in distribution"
        return f"{self.arm} {where}"


def places(cohort: Cohort) -> tuple[Place, ...]:
    """Every arm and severity that some finished run has traced; empty if none has."""
    measured: list[Place] = []
    for arm in cohort.arms:
        top = cohort.top(arm, look=lambda run: run.record.traces or None)
        traced = [(run, descent) for run in top for descent in run.record.traces]
        for severity, axis in sorted({(d.severity, d.axis) for _, d in traced}):
            runs = [(run, d) for run, d in traced if (d.severity, d.axis) == (severity, axis)]
            measured.append(_place(arm, axis, severity, runs))
    for name in SIGNALS:
        having = [place.signals for place in measured if name in place.signals]
        adjusted = holm([signals[name].auroc.p for signals in having])
        for signals, p in zip(having, adjusted, strict=True):
            signals[name] = replace(signals[name], p_holm=p)
    return tuple(measured)


def _place(arm: str, axis: str, severity: int, runs: list[tuple[Run, Descent]]) -> Place:
    reasons = {run.planned.seed: shortage(bits(descent.correct)) for run, descent in runs}
    ranked = [descent for run, descent in runs if not reasons[run.planned.seed]]

    def by_seed(statistic: Callable[[Array, Array], float], name: str) -> Array:
        return np.array([statistic(SIGNALS[name](d), bits(d.correct)) for d in ranked])

    # Answers of one length rank the same by energy and by energy per token.
    alike = all(len(set(descent.tokens)) == 1 for descent in ranked)
    names = [name for name in SIGNALS if ranked and not (name == PER_TOKEN and alike)]
    auroc_S = {name: by_seed(auroc, name) for name in names}
    signals = {
        name: Signal(
            auroc=_against_half(auroc_S[name]),
            rho=bounded(over_seeds(by_seed(rank_correlation, name)), low=-1.0),
        )
        for name in names
    }
    falls = {
        solved: mean([c.energy[0] - c.energy[-1] for _, d in runs for c in d.courses if c.solved == solved])
        for solved in (True, False)
    }
    return Place(
        arm=arm,
        axis=axis,
        severity=severity,
        runs=tuple(runs),
        signals=signals,
        over_entropy=bounded(over_seeds(auroc_S[ENERGY] - auroc_S[ENTROPY]), low=-1.0) if names else None,
        fall={solved: fall for solved, fall in falls.items() if fall is not None},
        calibration=calibration([(np.array(d.energy), bits(d.correct)) for _, d in runs]),
        unmeasured={seed: reason for seed, reason in reasons.items() if reason},
    )


def _against_half(values_S: Array) -> Estimate:
    """Mean over seeds, its p-value against 1/2."""
    e = over_seeds(values_S - 0.5)
    return bounded(replace(e, value=e.value + 0.5, low=e.low + 0.5, high=e.high + 0.5))


def shortage(right_P: Array) -> str:
    """Why a run's ranks say nothing, in a few words; empty if there are FEWEST of either outcome."""
    right, n = int(right_P.sum()), len(right_P)
    if min(right, n - right) >= FEWEST:
        return ""
    return f"{right} of {n} answers are right, and at least {FEWEST} of either are needed"


def auroc(values_P: Array, right_P: Array) -> float:
    """Probability that a right answer has the lower value: Mann-Whitney's U over its largest value."""
    failed, solved = values_P[right_P == 0], values_P[right_P == 1]
    return float((1 + np.sign(failed[:, None] - solved)).mean() / 2)


def rank_correlation(values_P: Array, right_P: Array) -> float:
    """Spearman's rho of the values with being right; 0 where all values are the same."""
    return float(np.corrcoef(ranks(values_P), right_P)[0, 1]) if np.ptp(values_P) else 0.0


def calibration(runs: list[tuple[Array, Array]], bins: int = BINS) -> tuple[Interval, ...]:
    """Share right by part of the problems, sorted by value within each run, then added up over runs."""
    counts = np.zeros((bins, 2), dtype=int)
    for values_P, right_P in runs:
        for i, part in enumerate(np.array_split(np.argsort(values_P, kind="stable"), bins)):
            counts[i] += int(right_P[part].sum()), len(part)
    return tuple(wilson(int(right), int(n)) for right, n in counts if n)


def wilson(right: int, n: int) -> Interval:
    """The share of right answers with Wilson's interval (Wilson 1927)."""
    z = float(special.ndtri((1 + LEVEL) / 2))
    half = z * math.sqrt(right * (n - right) / n + z**2 / 4)
    low, high = ((right + z**2 / 2 + side) / (n + z**2) for side in (-half, half))
    return Interval(value=right / n, low=low, high=high)
