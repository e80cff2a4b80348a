"""Where the entropy of a policy sits, and in which order its classes of tokens settle: records -> numbers.

The test for two phases is stated in docs/anatomy.md; its numerics are in compare/stats/half_fall.py.

Shapes (suffixes): T rows of history over reinforcement learning, P places of the chain, R labellings.
"""

import math
import re
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from arena.token_classes import ANSWER, EXECUTE, FORMAT, PLAN
from compare.analysis.cohort import Cohort
from compare.analysis.paired import difference, end_and_warm_start, mean, share
from compare.analysis.quantity import UNMANAGED
from compare.analysis.tokens.quantities import LAGS, QUANTITIES
from compare.stats.half_fall import LEAST_ROWS, half_falls, labellings, lags, relabelling_p
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.stats.rl_history import Unfit, rl_rows
from compare.store.evidence import Run

CLASSES = {PLAN: "planning", EXECUTE: "execution", FORMAT: "format", ANSWER: "answer"}
"""Class of tokens -> its name in a sentence."""

START, END = "warm start", "end"
"""When a run is probed: at the end of its warm start, and of its training."""

DRAWS = 1999
"""Random labellings, where there are more than that."""

ABOVE = "tokens_above_"


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Entropy or error of a run over its reinforcement learning."""

    share_T: Array
    """Share of reinforcement learning's compute."""
    places: dict[tuple[str, int], Array]
    """(class, place) -> the values there, for the classes recorded by place."""
    classes: dict[str, Array]
    """Class -> the mean over its places, all counting alike; where there are none, over its tokens."""

    @cached_property
    def falls(self) -> dict[str, float]:
        """Class -> share of compute by which it has made half its fall, without those that do not fall."""
        times = half_falls(np.array(list(self.classes.values())), self.share_T).tolist()
        return {name: time for name, time in zip(self.classes, times, strict=True) if not math.isnan(time)}


@dataclass(frozen=True, kw_only=True)
class RunAnatomy:
    """What one run shows."""

    run: Run
    at: dict[str, dict[str, float]]
    """Stage (START or END) -> what the probe recorded: `tokens_above_X`, the share of tokens above X nats;
    `entropy_in_forks`, the share of all entropy that the fifth of tokens with the highest holds; for every
    class that it met `tokens_CLASS` and `forks_CLASS`, its share of all tokens and of that fifth, and
    `held_out_entropy_CLASS`."""
    curves: dict[str, Curves]
    """By measure; empty where the history is too short."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The order in time of an arm's classes, by one measure."""

    measure: str
    """`entropy` or `error`."""
    half: dict[str, Estimate]
    """Class -> share of compute by which it has made half its fall, over the seeds in which it falls."""
    lag_by_seed: dict[int, float] = field(default_factory=dict)
    """Plan less execute."""
    lag: Estimate | None = None
    """Over seeds; p is the larger of Student's t and the relabelling's: a lag counts only if both see it."""
    relabelled_R: Array = field(default_factory=lambda: np.array([math.nan]))
    """Mean lag over seeds under each labelling of places, the true one first; nan where undefined."""
    p_relabelled: float = 1.0
    reasons: tuple[str, ...] = ()
    """Why a lag is missing, or cannot count."""


@dataclass(frozen=True, kw_only=True)
class ArmAnatomy:
    """The runs of one arm together."""

    arm: str
    runs: tuple[RunAnatomy, ...]
    gain: Estimate | None
    """Exact answers, sampled: end of training less end of the warm start."""
    gains: tuple[float, ...]
    """The same, seed by seed."""
    phases: dict[str, Phase]
    """By measure."""

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(run.run.planned.cell for run in self.runs)

    def cells_of(self, phase: Phase) -> tuple[str, ...]:
        """Cells of the runs that have a lag."""
        return tuple(r.run.planned.cell for r in self.runs if r.run.planned.seed in phase.lag_by_seed)

    def mean(self, stage: str, column: str) -> Estimate | None:
        """A column of the probe over the seeds that have it; all but mean entropies are shares."""
        values = [run.at[stage][column] for run in self.runs if column in run.at[stage]]
        return mean(values) if column.startswith("held_out_entropy") else share(values)


@dataclass(frozen=True, kw_only=True)
class AnatomyStudy:
    """Everything about the anatomy of one study, at the largest rung at which some arm was probed."""

    arms: tuple[ArmAnatomy, ...]

    def arm(self, name: str) -> ArmAnatomy | None:
        """The arm of that name, if it has a finished run with a probe."""
        return next((arm for arm in self.arms if arm.arm == name), None)

    @property
    def main(self) -> ArmAnatomy:
        """The arm that learns from every token alike, else the first: the one whose course is drawn."""
        return self.arm(UNMANAGED) or self.arms[0]


def measure(cohort: Cohort) -> AnatomyStudy | None:
    """The anatomy of a study's arms; None if no contrast asks for it, or no finished run was probed twice."""
    top = cohort.top(look=probed) if cohort.asked & QUANTITIES.keys() else ()
    if not top:
        return None
    groups = {arm: [run for run in top if run.planned.arm == arm] for arm in cohort.arms}
    return AnatomyStudy(arms=tuple(_arm(arm, runs) for arm, runs in groups.items() if runs))


def probed(run: Run) -> list[int] | None:
    """Rows of the history that hold a probe of the entropies; None if there are fewer than two."""
    column = next((c for name, c in run.record.history.items() if name.startswith(ABOVE)), [])
    rows = [i for i, value in enumerate(column) if value is not None]
    return rows if len(rows) >= 2 else None


def _arm(arm: str, runs: list[Run]) -> ArmAnatomy:
    read = tuple(_read(run) for run in runs)
    pairs = [pair for run in runs if (pair := end_and_warm_start(run)) is not None]
    return ArmAnatomy(
        arm=arm,
        runs=read,
        gain=difference(pairs) if pairs else None,
        gains=tuple(after.value - before.value for after, before in pairs),
        phases={name: _phase(arm, read, name) for name in LAGS.values()},
    )


def _read(run: Run) -> RunAnatomy:
    history, rows = run.record.history, probed(run) or []
    at = {
        stage: {name: value for name, column in history.items() if (value := column[row]) is not None}
        for stage, row in ((START, rows[0]), (END, rows[-1]))
    }
    read = {name: c for name in LAGS.values() if (c := curves(history, name)) is not None}
    return RunAnatomy(run=run, at=at, curves=read)


def curves(history: dict[str, list[float | None]], measure: str) -> Curves | None:
    """The curves of a measure; None where reinforcement learning has too few rows, or no class any."""
    try:
        rows, share_T = rl_rows(history)
    except Unfit:
        return None
    if len(rows) < LEAST_ROWS:
        return None
    places: dict[tuple[str, int], Array] = {}
    for name, column in history.items():
        match = re.fullmatch(rf"{measure}_({'|'.join(CLASSES)})_(\d+)", name)
        if match and (filled := _filled(column, rows, share_T)) is not None:
            places[match[1], int(match[2])] = filled
    classes: dict[str, Array] = {}
    for name in CLASSES:
        own = [values for (of, _), values in places.items() if of == name]
        whole = np.mean(own, axis=0) if own else _filled(history.get(f"{measure}_{name}", []), rows, share_T)
        if whole is not None:
            classes[name] = whole
    return Curves(share_T=share_T, places=places, classes=classes) if classes else None


def _filled(column: list[float | None], rows: list[int], share_T: Array) -> Array | None:
    """A column's rows, gaps bridged in straight lines; None if more than half of it is gaps."""
    values_T = np.array([column[i] for i in rows] if column else [], dtype=float)
    known_T = ~np.isnan(values_T)
    if 2 * known_T.sum() < len(rows):
        return None
    return np.interp(share_T, share_T[known_T], values_T[known_T])


def _phase(arm: str, runs: tuple[RunAnatomy, ...], measure: str) -> Phase:
    """Half-falls by class, and the lag of plan behind execute, tested against other labellings."""
    having = {run.run.planned.seed: run.curves[measure] for run in runs if measure in run.curves}
    times = {name: [own.falls[name] for own in having.values() if name in own.falls] for name in CLASSES}
    half = {name: fallen for name in CLASSES if (fallen := share(times[name]))}
    phase = Phase(measure=measure, half=half)
    if not having:
        reason = f"its history has no classes of tokens, or fewer than {LEAST_ROWS} updates"
        return replace(phase, reasons=(reason,))
    shared = sorted(set.intersection(*(set(own.places) for own in having.values())))
    plan_P = np.array([name == PLAN for name, _ in shared], dtype=float)
    if not 0 < plan_P.sum() < len(shared):
        absent = PLAN if not plan_P.any() else EXECUTE
        return replace(phase, reasons=(f"the task's chains have no {absent} tokens",))
    table_RP = labellings(plan_P, DRAWS, np.random.default_rng(zlib.crc32(f"{arm} {measure}".encode())))
    lags_R = {
        seed: lags(np.array([own.places[key] for key in shared]), own.share_T, table_RP)
        for seed, own in having.items()
    }
    lag_by_seed = {seed: float(row[0]) for seed, row in lags_R.items() if not math.isnan(row[0])}
    reasons: list[str] = []
    for seed, own in having.items():
        if seed not in lag_by_seed:
            flat = [name for name in (PLAN, EXECUTE) if name not in own.falls]
            every = " and ".join(f"{measure} of {name} tokens does not fall" for name in flat)
            reasons.append(f"seed {seed}: {every}")
    if not lag_by_seed:
        return replace(phase, reasons=tuple(reasons))
    # The same labelling for all seeds: what is dealt out anew is which places are called plan.
    mean_R = np.mean([lags_R[seed] for seed in lag_by_seed], axis=0)
    p, possible = relabelling_p(mean_R), int((~np.isnan(mean_R)).sum())
    if possible < 20:
        reasons.append(f"only {possible} labellings of its {len(shared)} places, too few for p < .05")
    by_t = over_seeds(np.array(list(lag_by_seed.values())))
    return replace(
        phase,
        lag_by_seed=lag_by_seed,
        lag=replace(by_t, p=max(by_t.p, p)),
        relabelled_R=mean_R,
        p_relabelled=p,
        reasons=tuple(reasons),
    )
