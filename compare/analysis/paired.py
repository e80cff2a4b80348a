"""Paired differences at the largest budget: loss, answer error, gain from reward, decay under shift.

Runs are paired by seed (same problems in the same order), answers also by problem.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from compare.analysis.findings import Draft
from compare.stats.crossed import over_seeds_and_problems, over_seeds_and_sets
from compare.stats.intervals import Array, Estimate, from_normal, over_seeds
from compare.store.evidence import Run
from compare.store.manifest import WARM_START
from compare.store.record import Evaluation

UNEQUAL_COST = 1.1
"""Ratio of FLOPs an answer up to which two arms count as equally expensive."""

Look = Callable[[Run], Evaluation | None]
Pair = tuple[Evaluation, Evaluation]


def final_difference(
    study: str,
    runs: tuple[Run, ...],
    arm: str,
    baseline: str,
    quantity: str,
    *,
    efforts: tuple[str, str] = ("", ""),
    severity: int = 0,
) -> Draft:
    """`final_loss` (nats) or `final_error` (1 - exact): arm less baseline.

    At the largest budget (or rung) both were measured at.

    Args:
        efforts: how arm and baseline answer; empty: each in its default way.
        severity: shift of the problems.
    """
    metric = "loss" if quantity == "final_loss" else "exact"

    def by(effort: str) -> Look:
        return lambda run: run.find(metric, severity=severity, effort=effort or None)

    names = (_named(name, effort, severity) for name, effort in zip((arm, baseline), efforts, strict=True))
    point = "rung" if any(run.planned.rung for run in runs) else "budget"
    blank = Draft(
        study=study, arm=next(names), baseline=next(names), quantity=quantity, estimate=None, point=point
    )
    mine, theirs = _by_seed(runs, arm, by(efforts[0])), _by_seed(runs, baseline, by(efforts[1]))
    shared = sorted({key[0] for key in mine} & {key[0] for key in theirs})
    if not shared:
        return _unmeasured(blank, f"no {point} at which both have `{metric}`")
    budget = shared[-1]
    seeds = sorted({seed for b, seed in mine if b == budget} & {seed for b, seed in theirs if b == budget})
    if not seeds:
        return _unmeasured(blank, "no seed that both were run with")
    pairs = [(mine[budget, seed][1], theirs[budget, seed][1]) for seed in seeds]
    each = (side[budget, seed][0].planned.cell for side in (mine, theirs) for seed in seeds)
    cells = tuple(dict.fromkeys(each))
    estimate = exact_difference(pairs, sign=-1) if metric == "exact" else _loss(pairs)
    planned = max(run.rung for run in runs)
    caveats = (
        () if budget == planned else (f"at {point} {budget:.3g}; the largest, {planned:.3g}, is not in both",)
    )
    mine_flops, their_flops = (float(np.mean([pair[side].flops for pair in pairs])) for side in (0, 1))
    what = "an answer" if metric == "exact" else "a problem's likelihood"
    caveats += unequal_cost(mine_flops, their_flops, what)
    return replace(blank, estimate=estimate, caveats=caveats, records=cells)


def unequal_cost(mine: float, theirs: float, what: str = "an answer") -> tuple[str, ...]:
    """A caveat if one side spends more compute on what it is judged by.

    Args:
        mine, theirs: mean FLOPs of one; 0 where a record does not say, and then nothing is said.
    """
    if not mine or not theirs or max(mine, theirs) <= UNEQUAL_COST * min(mine, theirs):
        return ()
    return (f"{what} costs {mine / theirs:.2g} times the baseline's FLOPs",)


def reward_gain(study: str, runs: tuple[Run, ...], arm: str) -> Draft:
    """Exact answers, sampled: end less warm start of the same run, at the arm's largest budget."""
    blank = Draft(study=study, arm=arm, baseline=WARM_START, quantity="reward_gain", estimate=None)
    after = _by_seed(runs, arm, lambda run: run.find("exact", effort="sample"))
    before = _by_seed(runs, arm, lambda run: run.find("exact", effort="sample", stage=WARM_START))
    keys = sorted(after.keys() & before.keys())
    if not keys:
        return _unmeasured(blank, "no run measured before and after")
    keys = [key for key in keys if key[0] == keys[-1][0]]
    estimate = exact_difference([(after[key][1], before[key][1]) for key in keys], sign=1)
    return replace(blank, estimate=estimate, records=tuple(after[key][0].planned.cell for key in keys))


def shift_difference(study: str, runs: tuple[Run, ...], arm: str, baseline: str, quantity: str) -> Draft:
    """How much more a metric worsens from severity 0 to the highest measured on the task's first axis, arm
    less baseline, by seed."""
    metric = "loss" if quantity == "shift_loss" else "exact"
    sign = 1 if metric == "loss" else -1
    blank = Draft(study=study, arm=arm, baseline=baseline, quantity=quantity, estimate=None)
    measured = [
        (e.axis, e.severity)
        for run in runs
        for e in run.record.evaluations
        if e.metric == metric and e.stage == "final"
    ]
    first = next((axis for axis, severity in measured if not severity), "")
    severities = {severity for axis, severity in measured if axis == first}
    if not severities or max(severities) == 0:
        return _unmeasured(blank, "measured in distribution only")

    def within(run: Run) -> Evaluation | None:
        return run.find(metric)

    def shifted(run: Run) -> Evaluation | None:
        return run.find(metric, severity=max(severities), axis=first)

    sides = [_by_seed(runs, name, look) for name in (arm, baseline) for look in (shifted, within)]
    keys = sorted(set.intersection(*(set(side) for side in sides)))
    if not keys:
        return _unmeasured(blank, "no budget and seed that both were measured at under shift")
    keys = [key for key in keys if key[0] == keys[-1][0]]
    cells = tuple(side[key][0].planned.cell for side in (sides[0], sides[2]) for key in keys)
    a1, a0, b1, b0 = ([side[key][1] for key in keys] for side in sides)
    if metric == "exact" and len({(e.n, f.n) for e, f in zip(a1 + b1, a0 + b0, strict=True)}) == 1:
        sets = [outcomes(b1) - outcomes(a1), outcomes(b0) - outcomes(a0)]
        return replace(blank, estimate=over_seeds_and_sets(sets, np.array([1.0, -1.0])), records=cells)
    moved = [
        [shift.value - at.value for shift, at in zip(*pair, strict=True)] for pair in ((a1, a0), (b1, b0))
    ]
    estimate = over_seeds(sign * (np.array(moved[0]) - np.array(moved[1])))
    return replace(blank, estimate=estimate, records=cells)


def level(found: Sequence[Evaluation]) -> Estimate:
    """A metric's mean over seeds, with the variance of problems where these are recorded."""
    if found[0].metric != "exact":
        return over_seeds(np.array([e.value for e in found]))
    same = len({e.n for e in found}) == 1
    share = (
        over_seeds_and_problems(outcomes(found)) if same else over_seeds(np.array([e.value for e in found]))
    )
    # Student's t knows no bounds, a share has them; one run keeps its open interval.
    return (
        share
        if math.isinf(share.high)
        else replace(share, low=max(share.low, 0.0), high=min(share.high, 1.0))
    )


def complement(share: Estimate) -> Estimate:
    """1 less a share; p stays that of the share."""
    return replace(share, value=1 - share.value, low=1 - share.high, high=1 - share.low)


def decay(within: Sequence[Evaluation], shifted: Sequence[Evaluation]) -> Estimate:
    """What a metric worsens by from one set of problems to another: answers lost, or nats added."""
    if within[0].metric == "exact" and len({(e.n, f.n) for e, f in zip(within, shifted, strict=True)}) == 1:
        return over_seeds_and_sets([outcomes(within), outcomes(shifted)], np.array([1.0, -1.0]))
    sign = -1 if within[0].metric == "exact" else 1
    return over_seeds(sign * np.array([b.value - a.value for a, b in zip(within, shifted, strict=True)]))


def outcomes(found: Sequence[Evaluation]) -> Array:
    """(S, P): 1 for a right answer."""
    return np.array([_bits(e.outcomes) for e in found])


def _by_seed(runs: tuple[Run, ...], arm: str, look: Look) -> dict[tuple[float, int], tuple[Run, Evaluation]]:
    """(rung, seed) -> run and evaluation, for the runs of an arm that have it."""
    found = [(run, look(run)) for run in runs if run.planned.arm == arm]
    return {(run.rung, run.planned.seed): (run, e) for run, e in found if e is not None}


def _named(arm: str, effort: str, severity: int) -> str:
    """An arm as a claim names it: how it answers and on what, if a contrast says so."""
    how = ", ".join([*([effort] if effort else []), *([f"severity {severity}"] if severity else [])])
    return f"{arm} ({how})" if how else arm


def _unmeasured(blank: Draft, reason: str) -> Draft:
    return replace(blank, caveats=(reason,))


def _loss(pairs: list[Pair]) -> Estimate:
    differences = np.array([a.value - b.value for a, b in pairs])
    if len(pairs) > 1:
        return over_seeds(differences)
    # One seed: only the problems' own spread is known, and an unpaired one at that.
    ((a, b),) = pairs
    return from_normal(float(differences[0]), a.sd**2 / a.n + b.sd**2 / b.n, a.n + b.n - 2, n=1)


def exact_difference(pairs: list[Pair], *, sign: int) -> Estimate:
    """Difference in exact answers times sign, over seeds and problems."""
    if len({e.n for pair in pairs for e in pair}) > 1:
        return over_seeds(np.array([sign * (a.value - b.value) for a, b in pairs]))
    mine, theirs = (outcomes([pair[i] for pair in pairs]) for i in (0, 1))
    return over_seeds_and_problems(sign * (mine - theirs))


def _bits(outcomes: str) -> Array:
    return np.frombuffer(outcomes.encode(), dtype=np.uint8).astype(float) - ord("0")
