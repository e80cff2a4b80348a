"""Estimates from evaluations of several runs: levels and paired differences.

Runs are paired by seed. The seeds of a study share their held-out problems, so exact answers bring the
variance of problems with them; of a loss no problem is recorded by itself: its interval is over seeds alone.
Shapes (suffixes): S seeds, P problems.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compare.stats.crossed import over_seeds_and_problems
from compare.stats.intervals import Array, Estimate, from_normal, over_seeds
from compare.store.record import Evaluation

UNEQUAL_COST = 1.1
"""Ratio of FLOPs per answer up to which two arms count as equally expensive."""


def outcomes(evaluations: Sequence[Evaluation]) -> Array:
    """(S, P): 1 for a right answer."""
    rows = [np.frombuffer(e.outcomes.encode(), dtype=np.uint8).astype(float) for e in evaluations]
    return np.array(rows) - ord("0")


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
    values_S = np.array([e.value for e in evaluations])
    if evaluations[0].metric == "loss":
        return over_seeds(values_S)
    recorded = evaluations[0].metric == "exact" and len({e.n for e in evaluations}) == 1
    return bounded(over_seeds_and_problems(outcomes(evaluations)) if recorded else over_seeds(values_S))


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
    exact = pairs[0][0].metric == "exact"
    if exact and len({e.n for pair in pairs for e in pair}) == 1:
        mine, theirs = (outcomes([pair[i] for pair in pairs]) for i in (0, 1))
        return over_seeds_and_problems(sign * (mine - theirs))
    differences_S = sign * np.array([a.value - b.value for a, b in pairs])
    if exact or len(pairs) > 1:
        return over_seeds(differences_S)
    # One seed: only the problems' own spread is known, and an unpaired one at that.
    ((a, b),) = pairs
    return from_normal(float(differences_S[0]), a.sd**2 / a.n + b.sd**2 / b.n, a.n + b.n - 2, n=1)


def unequal_cost(mine: float, theirs: float, what: str = "an answer") -> tuple[str, ...]:
    """A caveat if one side spends more compute on what it is judged by.

    Args:
        mine, theirs: mean FLOPs; 0 where a record does not tell, and then there is no caveat.
    """
    if not mine or not theirs or max(mine, theirs) <= UNEQUAL_COST * min(mine, theirs):
        return ()
    return (f"{what} costs {mine / theirs:.2g} times the baseline's FLOPs",)
