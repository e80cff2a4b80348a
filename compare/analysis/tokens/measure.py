"""Where the entropy of a policy sits, and in which order its classes of tokens settle: records -> numbers.

The test for two phases is stated in docs/anatomy.md; its numerics are in compare/stats/half_fall.py.

Shapes (suffixes): S seeds, T rows of history over reinforcement learning, P places, R labellings.
"""

import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from arena.token_classes import ANSWER, EXECUTE, FORMAT, PLAN
from compare.analysis.paired import reward_gain
from compare.stats.half_fall import LEAST_ROWS, half_falls, labellings, lags, relabelling_p
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.stats.rl_history import Unfit, rl_rows
from compare.store.evidence import Run

CLASSES = (PLAN, EXECUTE, FORMAT, ANSWER)
MEASURES = ("entropy", "error")
DRAWS = 1999
"""Random labellings, where there are more than that."""

UNMANAGED = "rl_grpo"
"""Learns from every token alike: what exploratory comparisons of the others are made against."""

_ABOVE = "tokens_above_"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How entropy was spread over the probe's tokens at one point of a run."""

    above: dict[float, float]
    """Level in nats -> share of tokens above it."""
    in_forks: float
    """Share of all entropy that the fifth of tokens with the highest holds."""
    tokens: dict[str, float]
    """Class -> its share of all tokens."""
    forks: dict[str, float]
    """Class -> its share of that fifth."""
    entropy: dict[str, float]
    """Class -> mean entropy, nats."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Entropy or error of a run over its reinforcement learning."""

    share_T: Array
    """Share of reinforcement learning's compute."""
    places: dict[tuple[str, int], Array]
    """(class, place) -> the values there, for the classes recorded by place."""
    classes: dict[str, Array]
    """Class -> the mean over its places, each counting alike; where there are none, over its tokens."""


@dataclass(frozen=True, kw_only=True)
class RunAnatomy:
    """What one run says."""

    run: Run
    start: Snapshot
    """At the end of the warm start."""
    end: Snapshot
    curves: dict[str, Curves]
    """By measure; empty where the history is too short."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The order in time of an arm's classes, by one measure."""

    measure: str
    """`entropy` or `error`."""
    half: dict[str, Estimate]
    """Class -> share of compute by which it has made half its fall, over the seeds in which it falls."""
    lag_by_seed: dict[int, float]
    """Plan less execute."""
    lag: Estimate | None
    """Over seeds; p is the larger of Student's t and the relabelling's: a lag counts only if both see it."""
    relabelled_R: Array
    """Mean lag over seeds under each labelling of places, the true one first; nan where undefined."""
    p_relabelled: float
    reasons: tuple[str, ...]
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


@dataclass(frozen=True, kw_only=True)
class AnatomyStudy:
    """Everything about the anatomy of one study, at its largest budget."""

    budget: float
    arms: tuple[ArmAnatomy, ...]

    def arm(self, name: str) -> ArmAnatomy | None:
        """The arm of that name, if it has a finished run with a probe."""
        return next((arm for arm in self.arms if arm.arm == name), None)

    @property
    def main(self) -> ArmAnatomy:
        """The arm that learns from every token alike, else the first: the one whose course is drawn."""
        return self.arm(UNMANAGED) or self.arms[0]


def mean_of(runs: tuple[RunAnatomy, ...], look: Callable[[RunAnatomy], float | None]) -> Estimate | None:
    """Mean over the seeds that have a number, with Student's t interval; None if none has."""
    values = [value for run in runs if (value := look(run)) is not None]
    return over_seeds(np.array(values)) if values else None


def study_anatomy(runs: tuple[Run, ...], arms: tuple[str, ...]) -> AnatomyStudy | None:
    """The anatomy of a study's arms; None if no finished run recorded a probe of its entropies."""
    surveyed = [run for run in runs if _surveyed(run)]
    if not surveyed:
        return None
    budget = max(run.planned.budget for run in surveyed)
    found: list[ArmAnatomy] = []
    for arm in arms:
        own = [run for run in surveyed if (run.planned.arm, run.planned.budget) == (arm, budget)]
        if own:
            found.append(_arm(arm, sorted(own, key=lambda run: run.planned.seed)))
    return AnatomyStudy(budget=budget, arms=tuple(found))


def _surveyed(run: Run) -> bool:
    column = next((c for name, c in run.record.history.items() if name.startswith(_ABOVE)), [])
    return sum(value is not None for value in column) >= 2


def _arm(arm: str, runs: list[Run]) -> ArmAnatomy:
    read = tuple(_read(run) for run in runs)
    gain = reward_gain("", tuple(runs), arm).estimate
    sampled = [
        (run.find("exact", effort="sample"), run.find("exact", effort="sample", stage="warm_start"))
        for run in runs
    ]
    return ArmAnatomy(
        arm=arm,
        runs=read,
        gain=gain,
        gains=tuple(a.value - b.value for a, b in sampled if a is not None and b is not None),
        phases={measure: _phase(arm, read, measure) for measure in MEASURES},
    )


def _read(run: Run) -> RunAnatomy:
    history = run.record.history
    column = next(c for name, c in history.items() if name.startswith(_ABOVE))
    probed = [i for i, value in enumerate(column) if value is not None]
    return RunAnatomy(
        run=run,
        start=_snapshot(history, probed[0]),
        end=_snapshot(history, probed[-1]),
        curves={m: c for m in MEASURES if (c := curves(history, m)) is not None},
    )


def _snapshot(history: dict[str, list[float | None]], row: int) -> Snapshot:
    """The probe in a row; classes that it did not meet are left out."""
    values = {name: value for name, column in history.items() if (value := column[row]) is not None}

    def of(prefix: str) -> dict[str, float]:
        return {name: values[prefix + name] for name in CLASSES if prefix + name in values}

    above = {float(name.removeprefix(_ABOVE)): x for name, x in values.items() if name.startswith(_ABOVE)}
    return Snapshot(
        above=dict(sorted(above.items())),
        in_forks=values["entropy_in_forks"],
        tokens=of("tokens_"),
        forks=of("forks_"),
        entropy=of("held_out_entropy_"),
    )


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
        filled = _filled(column, rows, share_T) if match else None
        if match and filled is not None:
            places[match[1], int(match[2])] = filled
    classes: dict[str, Array] = {}
    for name in CLASSES:
        own = [values for (of, _), values in places.items() if of == name]
        whole = _filled(history.get(f"{measure}_{name}", []), rows, share_T) if not own else None
        if own:
            classes[name] = np.mean(own, axis=0)
        elif whole is not None:
            classes[name] = whole
    return Curves(share_T=share_T, places=places, classes=classes) if classes else None


def _filled(column: list[float | None], rows: list[int], share_T: Array) -> Array | None:
    """A column's rows, gaps bridged in straight lines; None if more than half of it is gaps."""
    values = [column[i] for i in rows] if column else []
    known = [i for i, value in enumerate(values) if value is not None]
    if 2 * len(known) < len(rows) or not known:
        return None
    return np.interp(share_T, share_T[known], [value for value in values if value is not None])


def _phase(arm: str, runs: tuple[RunAnatomy, ...], measure: str) -> Phase:
    """Half-falls by class, and the lag of plan behind execute, tested against other labellings."""
    having = [run for run in runs if measure in run.curves]
    half: dict[str, Estimate] = {}
    for name in CLASSES:
        own = [run.curves[measure] for run in having if name in run.curves[measure].classes]
        times = [float(half_falls(c.classes[name][None], c.share_T)[0]) for c in own]
        if fell := [time for time in times if not math.isnan(time)]:
            half[name] = over_seeds(np.array(fell))
    blank = Phase(
        measure=measure,
        half=half,
        lag_by_seed={},
        lag=None,
        relabelled_R=np.array([math.nan]),
        p_relabelled=1.0,
        reasons=(),
    )
    return _tested(blank, arm, having)


def _tested(blank: Phase, arm: str, runs: list[RunAnatomy]) -> Phase:
    measure = blank.measure
    if not runs:
        return replace(
            blank, reasons=(f"its history has no classes of tokens, or fewer than {LEAST_ROWS} updates",)
        )
    shared = sorted(set.intersection(*(set(run.curves[measure].places) for run in runs)))
    plan_P = np.array([name == PLAN for name, _ in shared], dtype=float)
    if not 0 < plan_P.sum() < len(shared):
        absent = PLAN if not plan_P.any() else EXECUTE
        return replace(blank, reasons=(f"the task's chains have no {absent} tokens",))
    rng = np.random.default_rng(zlib.crc32(f"{arm} {measure}".encode()))
    table_RP = labellings(plan_P, DRAWS, rng)
    rows_SR = [_lags(run.curves[measure], shared, table_RP) for run in runs]
    by_seed = {run.run.planned.seed: float(row[0]) for run, row in zip(runs, rows_SR, strict=True)}
    found = {seed: lag for seed, lag in by_seed.items() if not math.isnan(lag)}
    reasons = tuple(_unfallen(run, measure) for run in runs if run.run.planned.seed not in found)
    if not found:
        return replace(blank, reasons=reasons)
    # The same labelling for all seeds: what is dealt out anew is which places are called plan.
    mean_R = np.mean([row for row in rows_SR if not math.isnan(row[0])], axis=0)
    p = relabelling_p(mean_R)
    possible = int((~np.isnan(mean_R)).sum())
    if possible < 20:
        reasons += (f"only {possible} labellings of its {len(shared)} places, too few for p < .05",)
    own = over_seeds(np.array(list(found.values())))
    return replace(
        blank,
        lag_by_seed=found,
        lag=replace(own, p=max(own.p, p)),
        relabelled_R=mean_R,
        p_relabelled=p,
        reasons=reasons,
    )


def _lags(curves: Curves, shared: list[tuple[str, int]], table_RP: Array) -> Array:
    return lags(np.array([curves.places[key] for key in shared]), curves.share_T, table_RP)


def _unfallen(run: RunAnatomy, measure: str) -> str:
    parts: list[str] = []
    for name in (PLAN, EXECUTE):
        values_T = run.curves[measure].classes[name]
        if math.isnan(half_falls(values_T[None], run.curves[measure].share_T)[0]):
            parts.append(f"{measure} of {name} tokens does not fall")
    return f"seed {run.run.planned.seed}: {' and '.join(parts)}"
