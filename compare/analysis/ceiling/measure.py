"""The ceiling that entropy sets: what every run shows of it, and what the runs of an arm show together.

The share of reinforcement learning that the fits may see is the experiment's (`fit_share`), named before it
runs. Runs are fitted one by one. Over seeds everything is a mean with Student's t interval, which needs no
model of how neighbouring updates depend on one another and stays honest at three seeds.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from compare.analysis.ceiling.forecast import METHODS, cut, errors
from compare.analysis.cohort import Cohort
from compare.analysis.paired import level, mean, share
from compare.stats.entropy_law import Law, ceiling_of_one_run, fit_law
from compare.stats.intervals import Array, Estimate
from compare.stats.rl_history import Trace, Unfit, last_tenth, rl_trace
from compare.store.evidence import Run

START = 0.02
"""Share of the updates whose mean entropy is that of the start; a collapse may be over soon after."""

LEAST_ENTROPY = 1e-3
"""Nats. Entropies below are taken as this: by how many decades they fall further is of no interest."""

SENSITIVITY = (0.15, 0.36, 0.5, 1.0)
"""Shares of reinforcement learning at which the ceiling is also fitted; the law's paper took 36 of 236
steps, 15%."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunFit:
    """One run: its trace, and the law fitted on the first part of it."""

    run: Run
    trace: Trace
    seen: int
    """Rows the fits were allowed to see; 0 if there are too few."""
    law: Law | None
    """None, with a reason, where it cannot be fitted."""
    ceiling: Estimate | None
    """With the block bootstrap's interval within this run."""
    errors: dict[str, Array]
    """On stretches of what came after, by method of compare/analysis/ceiling/forecast.py, without those that
    could not be fitted."""

    @property
    def start_entropy(self) -> float:
        """Nats, the mean over the first updates."""
        return float(self.trace.entropy_T[: max(1, math.ceil(START * len(self.trace)))].mean())

    @property
    def end_entropy(self) -> float:
        """Nats, the mean over the last tenth of the updates."""
        return last_tenth(self.trace.entropy_T)

    @property
    def end_reward(self) -> float:
        """Mean over the last tenth of the updates."""
        return last_tenth(self.trace.reward_T)

    def compared(self, quantity: str, baseline: str) -> float | None:
        """What a quantity compares of a run; of `forecast_error`, the law's error less the baseline's."""
        if quantity == "entropy_held":
            start, end = (max(nats, LEAST_ENTROPY) for nats in (self.start_entropy, self.end_entropy))
            return math.log(end / start)
        if quantity == "final_reward":
            return self.end_reward
        if quantity == "forecast_error":
            pair = [
                float(self.errors[method].mean()) for method in ("law", baseline) if method in self.errors
            ]
            return pair[0] - pair[1] if len(pair) == 2 else None
        return self.law.ceiling if self.law else None


@dataclass(frozen=True, kw_only=True)
class ArmCeiling:
    """The runs of one arm together; every estimate is over the seeds that have it, None where none has."""

    arm: str
    fits: tuple[RunFit, ...]
    reasons: tuple[tuple[int, str], ...]
    """Seed and reason of everything that could not be fitted."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells of the runs that have a trace."""
        return tuple(fit.run.planned.cell for fit in self.fits)

    def mean(self, look: Callable[[RunFit], float | None]) -> Estimate | None:
        """Mean of a number of each run."""
        return mean([value for fit in self.fits if (value := look(fit)) is not None])

    @cached_property
    def ceiling(self) -> Estimate | None:
        """b - a, not cut to [0, 1]: that no reward can be there is a result."""
        # One run's has the interval of its block bootstrap; over seeds it would be open.
        alone = self.fits[0].ceiling if len(self.fits) == 1 else None
        return alone or self.mean(lambda fit: fit.law.ceiling if fit.law else None)

    def ceiling_at(self, part: float) -> Estimate | None:
        """Fitted on another share of every run that allows it."""
        seen = (fit.trace.split(round(len(fit.trace) * part))[0] for fit in self.fits)
        laws = (_attempt(lambda trace=trace: fit_law(trace), []) for trace in seen)
        return mean([law.ceiling for law in laws if law is not None])

    @property
    def end_reward(self) -> Estimate | None:
        return share([fit.end_reward for fit in self.fits])

    def error(self, method: str, look: Callable[[Array], float] = np.mean) -> Estimate | None:
        """Of a forecast, by default the mean over what came after."""
        return self.mean(lambda fit: float(look(fit.errors[method])) if method in fit.errors else None)


@dataclass(frozen=True, kw_only=True)
class Level:
    """What an arm without reinforcement learning reached, exact answers in distribution."""

    arm: str
    estimate: Estimate
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CeilingStudy:
    """Everything about the ceiling in one study, at one total compute."""

    share: float
    """Share of reinforcement learning that the fits saw."""
    budget: float
    """Training FLOPs: the largest at which some arm was trained by reward."""
    arms: tuple[ArmCeiling, ...]
    """Those trained by reward."""
    levels: tuple[Level, ...]

    def arm(self, name: str) -> ArmCeiling | None:
        """The arm trained by reward of that name, if it has a finished run."""
        return next((arm for arm in self.arms if arm.arm == name), None)

    @cached_property
    def fits(self) -> dict[str, RunFit]:
        """Cell -> what was fitted on its run."""
        return {fit.run.planned.cell: fit for arm in self.arms for fit in arm.fits}


def measure(cohort: Cohort) -> CeilingStudy | None:
    """The ceilings of a study's arms; None without `fit_share`, or if no finished run was trained by reward.

    An arm is taken as trained by reward if its history holds rewards, whatever its name.
    """
    top = cohort.top(
        look=lambda run: any(r is not None for r in run.record.history.get("reward", [])) or None
    )
    fit_share = cohort.manifest.fit_share
    if not (fit_share and top):
        return None
    arms, levels = list[ArmCeiling](), list[Level]()
    for arm in cohort.arms:
        here = [run for run in cohort.of(arm) if run.rung == top[0].rung]
        exact = {run.planned.cell: e for run in here if (e := run.find("exact")) is not None}
        if trained := [run for run in top if run.planned.arm == arm]:
            arms.append(_arm(arm, trained, fit_share, cohort.draws))
        elif exact:
            levels.append(Level(arm=arm, estimate=level(list(exact.values())), cells=tuple(exact)))
    budget = top[0].planned.budget
    return CeilingStudy(share=fit_share, budget=budget, arms=tuple(arms), levels=tuple(levels))


def _arm(arm: str, runs: list[Run], fit_share: float, draws: int) -> ArmCeiling:
    why: dict[int, list[str]] = {run.planned.seed: [] for run in runs}
    fits = [_fit(run, fit_share, draws, why[run.planned.seed]) for run in runs]
    reasons = ((seed, reason) for seed, every in why.items() for reason in dict.fromkeys(every))
    return ArmCeiling(arm=arm, fits=tuple(fit for fit in fits if fit is not None), reasons=tuple(reasons))


def _fit(run: Run, fit_share: float, draws: int, why: list[str]) -> RunFit | None:
    """Everything that can be fitted; the reasons of what cannot are added to `why`."""
    trace = _attempt(lambda: rl_trace(run.record.history), why)
    if trace is None:
        return None
    rows = _attempt(lambda: cut(len(trace), fit_share), why) or 0
    seen, after = trace.split(rows)
    law = _attempt(lambda: fit_law(seen), why) if rows else None
    rng = np.random.default_rng(zlib.crc32(run.planned.cell.encode()))
    ceiling = ceiling_of_one_run(law, seen, draws, rng) if law else None
    scored = {m: _attempt(lambda m=m: errors(m, seen, after), why) for m in METHODS if rows}
    known = {method: e for method, e in scored.items() if e is not None}
    return RunFit(run=run, trace=trace, seen=rows, law=law, ceiling=ceiling, errors=known)


def _attempt(make: Callable[[], T], why: list[str]) -> T | None:
    """What can be made; where it cannot, None, and the reason is added."""
    try:
        return make()
    except Unfit as error:
        why.append(str(error))
        return None
