"""Entropy and the end of reward: what every run shows of it, and what the runs of an arm show together.

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

from compare.analysis.ceiling.forecast import (
    FROZEN,
    LEAST_ENTROPY,
    METHODS,
    STRETCHES,
    TOLD,
    cut,
    errors,
)
from compare.analysis.cohort import Cohort
from compare.analysis.paired import level, mean, share
from compare.stats.entropy_law import FORMS, Law, ceiling_of_one_run, fit_law
from compare.stats.intervals import LEVEL, Array, Estimate
from compare.stats.rl_history import Trace, Unfit, last_tenth, rl_trace, stretches
from compare.store.evidence import Run

START = 0.02
"""Share of the updates whose mean entropy is that of the start; a collapse may be over soon after."""

MISSED = 0.2
"""p-value below which a line is taken to miss the rewards at the end. Far from 5%, since the fault is to let
a wrong ceiling pass, not to withhold a right one; docs/ceiling.md has what each costs."""

NEGLIGIBLE = 1e-9
"""Of rewards: rounding."""

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
    laws: dict[str, Law]
    """By form, without those that cannot be fitted."""
    whole: Law | None
    """The law through every row, for other recipes to be judged by."""
    ceiling: Estimate | None
    """With the block bootstrap's interval within this run."""
    errors: dict[str, Array]
    """On stretches of what came after, by method of compare/analysis/ceiling/forecast.py, without those that
    could not be fitted."""

    @property
    def law(self) -> Law | None:
        """None, with a reason, where it cannot be fitted."""
        return self.laws.get("law")

    @cached_property
    def earlier(self) -> dict[float, dict[str, Array]]:
        """Errors of forecasts that were frozen at each of FROZEN."""
        return {part: _errors(self.trace, part, []) for part in FROZEN}

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

    def missed(self, form: str) -> float | None:
        """Reward over the last tenth of the updates, less what a line makes of the entropies there."""
        if form not in self.laws:
            return None
        return last_tenth(self.trace.reward_T - self.laws[form](self.trace.entropy_T))

    def error_by(self, law: Law | None) -> float:
        """Mean error of these rewards by the law of a run, told these entropies; without one, by their own
        mean, which a law has to beat."""
        said_T = law(self.trace.entropy_T) if law else self.trace.reward_T.mean()
        return float(np.abs(stretches(self.trace.reward_T - said_T, STRETCHES)).mean())

    @property
    def verified(self) -> bool:
        """Whether its rewards are of answers: a coin's are not."""
        return self.run.record.config.get("arm", {}).get("reward") != "coin"

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

    @cached_property
    def doubt(self) -> str:
        """Why its ceiling decides nothing, whatever its interval; empty where it may decide.

        Held against every line is the end of the run, with its entropies told. A law that misses it has no
        ceiling to speak of, nor has one that no data tell from a rival of another ceiling.
        """
        if self.ceiling is None:
            return ""
        missed, form = self.mean(lambda fit: fit.missed("law")), "its line of the first part"
        if missed is not None and _is_missed(missed, MISSED):
            return f"{form}, told the entropies, misses the rewards at the end by {missed.value:+.3f}"
        passed = self.mean(lambda fit: fit.end_reward - fit.law.ceiling if fit.law else None)
        if passed is not None and passed.low > NEGLIGIBLE:
            return f"its rewards end above its fitted ceiling by {passed.value:.3f}"
        for rival, line in (("linear", "H"), ("quadratic", "H²")):
            other = self.mean(lambda fit, f=rival: fit.laws[f].ceiling if f in fit.laws else None)
            misses = self.mean(lambda fit, f=rival: fit.missed(f))
            if other is None or misses is None or _is_missed(misses, 1 - LEVEL):
                continue
            if not self.ceiling.low - NEGLIGIBLE <= other.value <= self.ceiling.high + NEGLIGIBLE:
                return f"a line in {line} is not ruled out, and its ceiling is {other.value:.2f}"
        return ""

    def ceiling_at(self, part: float) -> Estimate | None:
        """Fitted on another share of every run that allows it."""
        seen = (fit.trace.split(round(len(fit.trace) * part))[0] for fit in self.fits)
        laws = (_attempt(lambda trace=trace: fit_law(trace), []) for trace in seen)
        return mean([law.ceiling for law in laws if law is not None])

    @property
    def end_reward(self) -> Estimate | None:
        return share([fit.end_reward for fit in self.fits])

    def error(self, method: str, share: float | None = None) -> Estimate | None:
        """Mean error of a forecast; frozen at the experiment's share, or at one of FROZEN."""

        def look(fit: RunFit) -> float | None:
            known = fit.errors if share is None else fit.earlier[share]
            return float(known[method].mean()) if method in known else None

        return self.mean(look)


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

    def elsewhere(
        self, arm: ArmCeiling, look: Callable[[RunFit, RunFit], float], only: str = ""
    ) -> Estimate | None:
        """Mean, over the other arms (or one) and then seeds, of a number of a run of this arm and theirs."""
        among = [other for other in self.arms if other is not arm and only in ("", other.arm)]
        seeds = []
        for fit in (fit for fit in arm.fits if fit.whole):
            others = (own for other in among for own in other.fits if own.verified)
            paired = [own for own in others if own.run.planned.seed == fit.run.planned.seed]
            if paired:
                seeds.append(float(np.mean([look(fit, own) for own in paired])))
        return mean(seeds)

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
    seen, _ = trace.split(rows)
    fitted = {form: _attempt(lambda f=form: fit_law(seen, f), why) for form in FORMS if rows}
    laws = {form: law for form, law in fitted.items() if law is not None}
    rng = np.random.default_rng(zlib.crc32(run.planned.cell.encode()))
    ceiling = ceiling_of_one_run(laws["law"], seen, draws, rng) if "law" in laws else None
    return RunFit(
        run=run,
        trace=trace,
        seen=rows,
        laws=laws,
        whole=_attempt(lambda: fit_law(trace), []),
        ceiling=ceiling,
        errors=_errors(trace, fit_share, why),
    )


def _errors(trace: Trace, part: float, why: list[str]) -> dict[str, Array]:
    """Of every forecast, and of what is told the entropy, frozen at a share of the updates."""
    rows = _attempt(lambda: cut(len(trace), part), [])
    if rows is None:
        return {}
    seen, after = trace.split(rows)
    asked = [m for m in (*METHODS, *TOLD) if m != "pass_at_k" or len(trace.pass_at_k_T)]
    scored = {m: _attempt(lambda m=m: errors(m, seen, after), why) for m in asked}
    return {method: e for method, e in scored.items() if e is not None}


def _attempt(make: Callable[[], T], why: list[str]) -> T | None:
    """What can be made; where it cannot, None, and the reason is added."""
    try:
        return make()
    except Unfit as error:
        why.append(str(error))
        return None


def _is_missed(miss: Estimate, level: float) -> bool:
    return abs(miss.value) > NEGLIGIBLE and miss.p < level
