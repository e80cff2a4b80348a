"""The ceiling that entropy sets: what every run says of it, and what the runs of an arm say together.

The share of reinforcement learning that the fits may see is the experiment's (`fit_share`), named
before it runs. Runs are fitted one by one; over seeds everything is a mean with Student's t interval,
which needs no model of how neighbouring updates depend on one another and stays honest at three seeds.

Shapes: S seeds.
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from compare.analysis.ceiling.forecast import METHODS, Errors, cut, errors
from compare.stats.entropy_law import Law, ceiling_of_one_run, fit_law
from compare.stats.intervals import Estimate, over_seeds
from compare.stats.rl_history import Trace, Unfit, last_tenth, rl_trace
from compare.store.evidence import Run

START = 0.02
"""Share of the updates whose mean entropy is that of the start; a collapse may be over soon after."""

LEAST_ENTROPY = 1e-3
"""Nats. Entropies below are taken as this: of how many decades nothing is left says nothing more."""

SENSITIVITY = (0.15, 0.36, 0.5, 1.0)
"""Shares of reinforcement learning at which the ceiling is also fitted; the law's paper took 36 of 236
steps, 15%."""


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
    errors: dict[str, Errors]
    """By method of compare/analysis/ceiling/forecast.py; those that could not be fitted are left out."""
    reasons: tuple[str, ...]
    """What could not be fitted, and why."""

    @property
    def seed(self) -> int:
        return self.run.planned.seed

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

    @property
    def log_held(self) -> float:
        """Logarithm of the share of entropy that is left at the end."""
        return math.log(max(self.end_entropy, LEAST_ENTROPY) / max(self.start_entropy, LEAST_ENTROPY))


@dataclass(frozen=True, kw_only=True)
class ArmCeiling:
    """The runs of one arm together; every estimate is a mean over seeds, None where no run gave it."""

    arm: str
    fits: tuple[RunFit, ...]
    reasons: tuple[tuple[int, str], ...]
    """Seed and reason of each thing that could not be had."""
    a: Estimate | None
    b: Estimate | None
    ceiling: Estimate | None
    start_entropy: Estimate | None
    end_entropy: Estimate | None
    end_reward: Estimate | None
    mean_error: dict[str, Estimate]
    """By method."""
    end_error: dict[str, Estimate]
    sensitivity: tuple[tuple[float, Estimate | None], ...]
    """Ceiling by the share of reinforcement learning that it is fitted on."""

    def by_seed(self, look: Callable[[RunFit], float | None]) -> dict[int, tuple[Run, float]]:
        """A number of each run that has it."""
        found = {fit.seed: (fit.run, look(fit)) for fit in self.fits}
        return {seed: (run, value) for seed, (run, value) in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Level:
    """What an arm without reinforcement learning reached, exact answers in distribution."""

    arm: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class CeilingStudy:
    """Everything about the ceiling in one study, at one total compute."""

    share: float
    """Share of reinforcement learning that the fits saw."""
    budget: float
    """Training FLOPs of every run here: the largest budget at which some arm was trained by reward."""
    arms: tuple[ArmCeiling, ...]
    levels: tuple[Level, ...]

    def arm(self, name: str) -> ArmCeiling | None:
        """The arm trained by reward of that name, if it has a finished run."""
        return next((arm for arm in self.arms if arm.arm == name), None)


def study_ceiling(
    runs: tuple[Run, ...], arms: tuple[str, ...], share: float, draws: int
) -> CeilingStudy | None:
    """The ceilings of a study's arms; None if no finished run was trained by reward.

    An arm is taken as trained by reward if its history holds rewards, whatever its name.
    """
    rewarded = [run for run in runs if _rewarded(run)]
    if not rewarded:
        return None
    budget = max(run.planned.budget for run in rewarded)
    here = [run for run in runs if run.planned.budget == budget]
    own = {arm: [run for run in here if run.planned.arm == arm] for arm in arms}
    levels = []
    for arm, members in own.items():
        values = [e.value for run in members if (e := run.find("exact")) is not None]
        if values and not any(_rewarded(run) for run in members):
            levels.append(Level(arm=arm, estimate=over_seeds(np.array(values))))
    return CeilingStudy(
        share=share,
        budget=budget,
        arms=tuple(
            _arm(arm, [run for run in members if _rewarded(run)], share, draws)
            for arm, members in own.items()
            if any(_rewarded(run) for run in members)
        ),
        levels=tuple(levels),
    )


def _rewarded(run: Run) -> bool:
    return any(value is not None for value in run.record.history.get("reward", []))


def _arm(arm: str, runs: list[Run], share: float, draws: int) -> ArmCeiling:
    fits: list[RunFit] = []
    reasons: list[tuple[int, str]] = []
    for run in sorted(runs, key=lambda run: run.planned.seed):
        try:
            fits.append(_fit(run, rl_trace(run.record.history), share, draws))
            found = fits[-1].reasons
        except Unfit as error:
            found = (str(error),)
        reasons += [(run.planned.seed, reason) for reason in found]
    laws = [fit.law for fit in fits if fit.law is not None]
    # One run's interval is its own block bootstrap; over_seeds would leave it open.
    alone = fits[0].ceiling if len(fits) == 1 else None
    return ArmCeiling(
        arm=arm,
        fits=tuple(fits),
        reasons=tuple(reasons),
        a=_mean([law.a for law in laws]),
        b=_mean([law.b for law in laws]),
        ceiling=alone or _mean([law.ceiling for law in laws]),
        start_entropy=_mean([fit.start_entropy for fit in fits]),
        end_entropy=_mean([fit.end_entropy for fit in fits]),
        end_reward=_mean([fit.end_reward for fit in fits]),
        mean_error=_by_method(fits, lambda e: e.mean),
        end_error=_by_method(fits, lambda e: e.end),
        sensitivity=tuple((part, _mean(_ceilings(fits, part))) for part in sorted({*SENSITIVITY, share})),
    )


def _fit(run: Run, trace: Trace, share: float, draws: int) -> RunFit:
    blank = RunFit(run=run, trace=trace, seen=0, law=None, ceiling=None, errors={}, reasons=())
    try:
        seen_rows = cut(len(trace), share)
    except Unfit as error:
        return replace(blank, reasons=(str(error),))
    seen, after = trace.split(seen_rows)
    law: Law | None = None
    ceiling: Estimate | None = None
    scored: dict[str, Errors] = {}
    reasons: list[str] = []
    try:
        law = fit_law(seen)
        rng = np.random.default_rng(zlib.crc32(run.planned.cell.encode()))
        ceiling = ceiling_of_one_run(law, seen, draws, rng)
    except Unfit as error:
        reasons.append(str(error))
    for method in METHODS:
        try:
            scored[method] = errors(method, seen, after)
        except Unfit as error:
            reasons.append(str(error))
    return replace(
        blank, seen=seen_rows, law=law, ceiling=ceiling, errors=scored, reasons=tuple(dict.fromkeys(reasons))
    )


def _ceilings(fits: list[RunFit], share: float) -> list[float]:
    """Ceilings fitted on another share of each run that allows it."""
    found: list[float] = []
    for fit in fits:
        try:
            found.append(fit_law(fit.trace.split(round(len(fit.trace) * share))[0]).ceiling)
        except Unfit:
            continue
    return found


def _by_method(fits: list[RunFit], look: Callable[[Errors], float]) -> dict[str, Estimate]:
    means = {m: _mean([look(fit.errors[m]) for fit in fits if m in fit.errors]) for m in METHODS}
    return {method: mean for method, mean in means.items() if mean is not None}


def _mean(values: list[float]) -> Estimate | None:
    return over_seeds(np.array(values)) if values else None
