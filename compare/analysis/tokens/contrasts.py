"""Comparisons about tokens, as drafts for compare/analysis/findings.py; runs are paired by seed."""

from dataclasses import replace

import numpy as np

from arena.token_classes import PLAN
from compare.analysis.findings import Draft
from compare.analysis.tokens.measure import UNMANAGED, AnatomyStudy, ArmAnatomy
from compare.stats.crossed import over_seeds_and_problems
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.store.evidence import Run
from compare.store.manifest import ALL_TOKENS, EXECUTE_TOKENS, WARM_START
from compare.store.record import Evaluation

LAGS = {"entropy_lag": "entropy", "error_lag": "error"}
"""Quantity -> what is followed over time."""


def compare(
    study: str, section: AnatomyStudy | None, runs: tuple[Run, ...], arm: str, baseline: str, quantity: str
) -> Draft:
    """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made."""
    blank = Draft(study=study, arm=arm, baseline=baseline, quantity=quantity, estimate=None)
    if section is None:
        return replace(blank, caveats=("no finished run recorded where its entropy sits",))
    if quantity == "extra_gain":
        return _extra_gain(blank, section, runs)
    own = section.arm(arm)
    if own is None:
        return replace(blank, caveats=(f"{arm}: no finished run recorded where its entropy sits",))
    return _excess(blank, own) if quantity == "forking_excess" else _lag(blank, own)


def _extra_gain(blank: Draft, section: AnatomyStudy, runs: tuple[Run, ...]) -> Draft:
    """Exact answers, sampled, gained over the warm start: the arm's gain less the baseline's."""
    sides = [_before_and_after(runs, arm, section.budget) for arm in (blank.arm, blank.baseline)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        return replace(blank, caveats=("no seed that both were measured with, before and after",))
    pairs = [(sides[0][seed][1], sides[1][seed][1]) for seed in seeds]
    cells = tuple(side[seed][0].planned.cell for side in sides for seed in seeds)
    return replace(blank, estimate=_difference(pairs), records=cells)


def _before_and_after(
    runs: tuple[Run, ...], arm: str, budget: float
) -> dict[int, tuple[Run, tuple[Evaluation, Evaluation]]]:
    """Seed -> run, and its exact answers at the end of the warm start and of training."""
    found: dict[int, tuple[Run, tuple[Evaluation, Evaluation]]] = {}
    for run in runs:
        if (run.planned.arm, run.planned.budget) != (arm, budget):
            continue
        before = run.find("exact", effort="sample", stage=WARM_START)
        after = run.find("exact", effort="sample")
        if before is not None and after is not None:
            found[run.planned.seed] = run, (before, after)
    return found


def _difference(pairs: list[tuple[tuple[Evaluation, Evaluation], tuple[Evaluation, Evaluation]]]) -> Estimate:
    if len({e.n for pair in pairs for side in pair for e in side}) > 1:
        gains = [[after.value - before.value for before, after in pair] for pair in pairs]
        return over_seeds(np.array([mine - theirs for mine, theirs in gains]))
    gains_SP = [[_bits(after) - _bits(before) for before, after in pair] for pair in pairs]
    return over_seeds_and_problems(np.array([mine - theirs for mine, theirs in gains_SP]))


def _bits(evaluation: Evaluation) -> Array:
    return np.array([float(bit) for bit in evaluation.outcomes])


def _excess(blank: Draft, arm: ArmAnatomy) -> Draft:
    """Share of plan tokens among the forking ones less that among all, at the end of the warm start."""
    having = [run for run in arm.runs if PLAN in run.start.tokens]
    if not having:
        return replace(blank, caveats=(f"the task's chains have no {PLAN} tokens",))
    values_S = np.array([run.start.forks.get(PLAN, 0.0) - run.start.tokens[PLAN] for run in having])
    cells = tuple(run.run.planned.cell for run in having)
    return replace(blank, estimate=over_seeds(values_S), records=cells)


def _lag(blank: Draft, arm: ArmAnatomy) -> Draft:
    """Half-fall of plan tokens less that of execute tokens."""
    phase = arm.phases[LAGS[blank.quantity]]
    if phase.lag is None:
        return replace(blank, caveats=phase.reasons)
    cells = tuple(run.run.planned.cell for run in arm.runs if run.run.planned.seed in phase.lag_by_seed)
    relabelled = f"p of the relabelling {phase.p_relabelled:.3g}"
    return replace(blank, estimate=phase.lag, caveats=(relabelled, *phase.reasons), records=cells)


def explore(study: str, section: AnatomyStudy | None, runs: tuple[Run, ...]) -> list[Draft]:
    """Every comparison that the section can make, whether or not it was announced."""
    if section is None:
        return []
    asked: list[tuple[str, str, str]] = []
    for arm in section.arms:
        asked.append((arm.arm, ALL_TOKENS, "forking_excess"))
        asked += [(arm.arm, EXECUTE_TOKENS, quantity) for quantity in LAGS]
        if arm.arm != UNMANAGED and section.arm(UNMANAGED) is not None:
            asked.append((arm.arm, UNMANAGED, "extra_gain"))
    return [compare(study, section, runs, *names) for names in asked]
