"""Estimates from evaluations of several runs: levels and paired differences.

Runs are paired by seed. The seeds of a study share their held-out problems, so exact answers bring the
variance of problems with them; of a loss no problem is recorded by itself: its interval is over seeds alone.
Shapes (suffixes): S seeds, P problems.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from arena.effort import SAMPLE
from compare.stats.crossed import over_seeds_and_problems
from compare.stats.intervals import Array, Estimate, from_normal, over_seeds
from compare.store.evidence import Run
from compare.store.manifest import WARM_START
from compare.store.record import Evaluation

UNEQUAL_COST = 1.1
"""Ratio of FLOPs per answer up to which two arms count as equally expensive."""


def bits(text: str) -> Array:
    """(P,): a record's outcomes, 1 for a right answer."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(float) - ord("0")


def outcomes(evaluations: Sequence[Evaluation]) -> Array:
    """(S, P): 1 for a right answer."""
    return np.array([bits(e.outcomes) for e in evaluations])


def over_runs(rows: Sequence[Array]) -> Estimate:
    """Mean of rows, one for each seed, over seeds and, where all are of as many problems, over problems.

    A row of one number stands for problems that are not known.
    """
    if len({len(row_P) for row_P in rows}) == 1:
        return over_seeds_and_problems(np.stack(rows))
    return over_seeds(np.array([row_P.mean() for row_P in rows]))


def gap(first: Evaluation, second: Evaluation) -> Array:
    """(P,): the first less the second by problem, where both tell; else one number, that of their values."""
    if first.metric == "exact" and first.n == second.n:
        return bits(first.outcomes) - bits(second.outcomes)
    return np.array([first.value - second.value])


def bounded(estimate: Estimate, low: float = 0.0, high: float = 1.0) -> Estimate:
    """The interval cut to where the quantity can be: Student's t knows no bounds, a share has them.

    The interval of a single run stays open.
    """
    if math.isinf(estimate.high):
        return estimate
    return replace(estimate, low=max(estimate.low, low), high=min(estimate.high, high))


def level(evaluations: Sequence[Evaluation]) -> Estimate:
    """A metric's mean over seeds, of exact answers with the variance of problems.

    All metrics but the loss lie in [0, 1], and so do their intervals.
    """
    rows = [bits(e.outcomes) if e.metric == "exact" else np.array([e.value]) for e in evaluations]
    return over_runs(rows) if evaluations[0].metric == "loss" else bounded(over_runs(rows))


def complement(share: Estimate) -> Estimate:
    """1 less a share; p stays that of the share."""
    return replace(share, value=1 - share.value, low=1 - share.high, high=1 - share.low)


def mean(values: Sequence[float]) -> Estimate | None:
    """Over seeds; None without any."""
    return over_seeds(np.array(values)) if values else None


def share(values: Sequence[float]) -> Estimate | None:
    """The same of shares, within [0, 1]."""
    return bounded(over_seeds(np.array(values))) if values else None


def difference(pairs: Sequence[tuple[Evaluation, Evaluation]], *, sign: int = 1) -> Estimate:
    """First less second of each pair, times sign, over seeds and, for exact answers, problems."""
    rows = [sign * gap(a, b) for a, b in pairs]
    if pairs[0][0].metric == "exact" or len(pairs) > 1:
        return over_runs(rows)
    # One seed: only the problems' own spread is known, and an unpaired one at that.
    ((a, b),) = pairs
    return from_normal(float(rows[0][0]), a.sd**2 / a.n + b.sd**2 / b.n, a.n + b.n - 2, n=1)


def end_and_warm_start(run: Run) -> tuple[Evaluation, Evaluation] | None:
    """Exact answers, sampled, at the end of training and of the warm start: what reward added."""
    after = run.find("exact", effort=SAMPLE)
    before = run.find("exact", effort=SAMPLE, stage=WARM_START)
    return None if after is None or before is None else (after, before)


def unequal_cost(mine: float, theirs: float, what: str = "an answer") -> tuple[str, ...]:
    """A caveat if one side spends more compute on what it is judged by.

    Args:
        mine, theirs: mean FLOPs; 0 where a record does not tell, and then there is no caveat.
    """
    if not mine or not theirs or max(mine, theirs) <= UNEQUAL_COST * min(mine, theirs):
        return ()
    return (f"{what} costs {mine / theirs:.2g} times the baseline's FLOPs",)
