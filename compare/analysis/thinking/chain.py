"""Thinking in a chain: the same problems answered with the working written out, and without.

Two studies whose tasks differ in nothing but `chain` hold the same held-out problems, so that an arm's
two runs of one seed are paired, problem by problem, though each was trained on its own supervision. The
chain's tokens are in the counted FLOPs per answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean

from compare.analysis.cohort import Cohort, Look, Matched
from compare.analysis.paired import difference
from compare.stats.intervals import Estimate
from compare.store.record import Evaluation


@dataclass(frozen=True, kw_only=True)
class ChainRow:
    """One arm with a chain and without, answering in its default way."""

    arm: str
    place: tuple[str, int]
    """Axis and severity."""
    matched: Matched[Evaluation]
    """Exact answers with the chain, and without."""

    @property
    def exact(self) -> list[float]:
        """Share of exact answers with the chain, and without, means over seeds."""
        return [fmean(e.value for e in side) for side in self.matched.values]

    @property
    def flops(self) -> list[float]:
        """Counted FLOPs per answer, likewise."""
        return [fmean(e.flops for e in side) for side in self.matched.values]

    @property
    def gain(self) -> Estimate:
        """With less without, paired by seed and problem."""
        return difference(self.matched.pairs)


@dataclass(frozen=True, kw_only=True)
class ChainPair:
    """Two studies of one task, without and with a chain."""

    plain: str
    chain: str
    rows: tuple[ChainRow, ...]


def chain_pairs(cohorts: Sequence[Cohort]) -> list[ChainPair]:
    """Every pair of studies whose tasks differ in the chain alone, and which have an arm in common."""
    tasks = [(cohort, cohort.runs[0].record.config.get("task", {})) for cohort in cohorts if cohort.runs]
    pairs: list[ChainPair] = []
    for (plain, task), (chain, other) in product(tasks, tasks):
        if not task.get("chain", True) and {**task, "name": "", "chain": True} == {**other, "name": ""}:
            rows = tuple(row for arm in plain.arms for row in _rows(arm, plain, chain))
            pairs += [ChainPair(plain=plain.study, chain=chain.study, rows=rows)] if rows else []
    return pairs


def _look(study: str, axis: str, severity: int) -> Look[Evaluation]:
    """Exact answers of the runs of one study."""
    return lambda run: run.find("exact", severity=severity, axis=axis) if run.planned.study == study else None


def _rows(arm: str, plain: Cohort, chain: Cohort) -> list[ChainRow]:
    """One for each set of problems."""
    both = replace(plain, runs=plain.runs + chain.runs)
    final = (e for run in plain.of(arm) for e in run.record.evaluations if e.stage == "final")
    rows: list[ChainRow] = []
    for axis, severity in dict.fromkeys((e.axis, e.severity) for e in final if e.metric == "exact"):
        matched = both.match(*((arm, _look(of.study, axis, severity)) for of in (chain, plain)))
        if not isinstance(matched, str):
            rows.append(ChainRow(arm=arm, place=(axis, severity), matched=matched))
    return rows
