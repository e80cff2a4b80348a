"""Decay away from the training distribution: records -> numbers.

A decay slope is the plain least-squares slope of a metric on the number of the severity, run by run. The
severities of an axis are ordered but have no unit, so that the slope says how much is lost a *step of the
axis*, comparable between arms on one axis and between nothing else. A straight line weighs all severities;
the difference of the ends alone would rest on two of them, and a curve has more parameters than an axis
has severities.

An arm that starts at 60% cannot lose as much as one that starts at 100%. The retained share, mean exact
answers over the shifted severities over those in distribution, stands beside the slope for that reason.

Shapes (suffixes): S seeds, K severities, P problems.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compare.analysis.paired import complement, level, outcomes
from compare.analysis.shift.thinking_gain import Thinking, places, thinking
from compare.stats.crossed import over_seeds_and_sets, over_seeds_of_means
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.store.evidence import Run
from compare.store.record import Evaluation

DECAYS = ("exact", "loss")
"""Metrics that have a slope."""

PARTS = ("plan", "execution", "chain")
"""Shares of right chains by what of them is looked at; an error is 1 less the share."""

ERRORS = ("answer", *PARTS, "edit")
"""What the table of errors shows."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One metric of one run along one axis, the arm answering in its default way."""

    run: Run
    severities: tuple[int, ...]
    """From 0, in distribution, up."""
    at: tuple[Evaluation, ...]

    @property
    def seed(self) -> int:
        return self.run.planned.seed

    @property
    def worse_K(self) -> Array:
        """Answer error, or loss: what decay adds to."""
        values = np.array([e.value for e in self.at])
        return 1 - values if self.at[0].metric == "exact" else values

    @property
    def slope(self) -> float:
        """Answers lost, or nats added, a severity."""
        return float(slope_weights(self.severities) @ self.worse_K)

    @property
    def retained(self) -> float | None:
        """Mean exact answers under shift over those in distribution; None where there are none there."""
        within, *shifted = (e.value for e in self.at)
        return float(np.mean(shifted)) / within if within > 0 else None


@dataclass(frozen=True, kw_only=True)
class Decay:
    """One metric of one arm along one axis, over seeds."""

    axis: str
    metric: str
    """One of DECAYS."""
    severities: tuple[int, ...]
    tracks: tuple[Track, ...]
    levels: tuple[Estimate, ...]
    """Exact answers, or loss, by severity."""
    slope: Estimate
    """Answers lost, or nats added, a severity."""
    retained: Estimate | None
    """Of exact answers; None where no run has any in distribution."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """What went wrong with an arm's answers at one place, over seeds."""

    axis: str
    severity: int
    of: dict[str, Estimate]
    """By name in ERRORS; those that the task does not tell are left out."""
    planning: Estimate | None
    """Plan error less execution error, paired by seed."""


@dataclass(frozen=True, kw_only=True)
class ArmDecay:
    """Everything about one arm."""

    arm: str
    decays: tuple[Decay, ...]
    errors: tuple[Errors, ...]
    thinking: tuple[Thinking, ...]
    """By metric; empty if the arm was not evaluated at two efforts of thinking."""

    def decay(self, metric: str, axis: str) -> Decay | None:
        """The decay of a metric along an axis, if it was measured."""
        return next((d for d in self.decays if (d.metric, d.axis) == (metric, axis)), None)


@dataclass(frozen=True, kw_only=True)
class OodStudy:
    """Everything about decay in one study, at its largest budget."""

    budget: float
    axes: dict[str, tuple[int, ...]]
    """Axis -> severities measured, from 0 up; the task's first axis first."""
    arms: tuple[ArmDecay, ...]
    runs: tuple[Run, ...]

    def arm(self, name: str) -> ArmDecay | None:
        """The arm of that name, if it has a finished run."""
        return next((arm for arm in self.arms if arm.arm == name), None)


def study_ood(runs: tuple[Run, ...], arms: Iterable[str]) -> OodStudy | None:
    """Decay of every arm of a study; None if nothing that is shifted was measured."""
    if not runs:
        return None
    budget = max(run.planned.budget for run in runs)
    here = tuple(sorted((r for r in runs if r.planned.budget == budget), key=lambda run: run.planned.seed))
    axes = _axes(here)
    own = {arm: [run for run in here if run.planned.arm == arm] for arm in arms}
    if not axes:
        return None
    return OodStudy(
        budget=budget,
        axes=axes,
        arms=tuple(_arm(arm, members, axes) for arm, members in own.items() if members),
        runs=here,
    )


def _axes(runs: Iterable[Run]) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for run in runs:
        for e in run.record.evaluations:
            if e.stage == "final" and e.metric in DECAYS:
                found.setdefault(e.axis, {0}).add(e.severity)
    return {axis: tuple(sorted(each)) for axis, each in found.items() if len(each) > 1}


def _arm(arm: str, runs: Sequence[Run], axes: dict[str, tuple[int, ...]]) -> ArmDecay:
    decays = [_decay(runs, metric, axis, axes[axis]) for axis in axes for metric in DECAYS]
    thought = [thinking(runs, metric, axes) for metric in DECAYS]
    return ArmDecay(
        arm=arm,
        decays=tuple(decay for decay in decays if decay is not None),
        errors=tuple(e for place in places(axes) if (e := _errors(runs, *place)).of),
        thinking=tuple(each for each in thought if each is not None),
    )


def tracks(runs: Iterable[Run], metric: str, axis: str, severities: tuple[int, ...]) -> list[Track]:
    """The runs that were measured at every severity of an axis."""
    found: list[Track] = []
    for run in runs:
        at = [run.find(metric, severity=s, axis=axis if s else "") for s in severities]
        whole = tuple(e for e in at if e is not None)
        if len(whole) == len(at):
            found.append(Track(run=run, severities=severities, at=whole))
    return found


def slope_weights(severities: Sequence[int]) -> Array:
    """Weights whose sum over values is their least-squares slope on the severities."""
    centred_K = np.array(severities, dtype=float) - np.mean(severities)
    return centred_K / (centred_K @ centred_K)


def mean_slope(mine: Sequence[Track], theirs: Sequence[Track] | None = None) -> Estimate:
    """Slope of answers lost or nats added, over seeds; with `theirs`, the difference, paired in order.

    Seeds share their held-out problems, so exact answers bring the variance of problems with them. Of the
    loss no problem is recorded by itself: its interval is over seeds alone.
    """
    severities = mine[0].severities
    sides = [mine] if theirs is None else [mine, theirs]
    counts = {tuple(e.n for e in track.at) for side in sides for track in side}
    if mine[0].at[0].metric == "exact" and len(counts) == 1:
        first, *other = (
            [1 - outcomes([track.at[k] for track in side]) for k in range(len(severities))] for side in sides
        )
        sets = [a - b for a, b in zip(first, other[0], strict=True)] if other else first
        return over_seeds_and_sets(sets, slope_weights(severities))
    first, *other = (np.array([track.slope for track in side]) for side in sides)
    return over_seeds(first - other[0] if other else first)


def misses(tracks: Sequence[Track]) -> list[Array]:
    """By severity, (S, P): 1 for a wrong answer."""
    return [1 - outcomes(at) for at in zip(*(track.at for track in tracks), strict=True)]


def retained_share(sides: Sequence[Sequence[Track]]) -> Estimate:
    """Share of the answers in distribution that is kept, over seeds; of two sides the difference.

    Every run has right answers in distribution.
    """
    if len({tuple(e.n for e in track.at) for side in sides for track in side}) > 1:
        kept = np.array([[track.retained for track in side] for side in sides], dtype=float)
        return over_seeds(kept[0] - kept[1:].sum(axis=0))

    def share(means_KDSB: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            kept_DSB = means_KDSB[1:].mean(axis=0) / means_KDSB[0]
        return kept_DSB[0] - kept_DSB[1:].sum(axis=0)

    wrong = zip(*(misses(side) for side in sides), strict=True)
    return over_seeds_of_means(share, [1 - np.stack(each) for each in wrong])


def _decay(runs: Iterable[Run], metric: str, axis: str, severities: tuple[int, ...]) -> Decay | None:
    found = tracks(runs, metric, axis, severities)
    if not found:
        return None
    kept = [t for t in found if t.retained is not None] if metric == "exact" else []
    return Decay(
        axis=axis,
        metric=metric,
        severities=severities,
        tracks=tuple(found),
        levels=tuple(level([t.at[k] for t in found]) for k in range(len(severities))),
        slope=mean_slope(found),
        retained=retained_share([kept]) if kept else None,
    )


def _errors(runs: Iterable[Run], axis: str, severity: int) -> Errors:
    def found(metric: str) -> list[Evaluation]:
        each = (run.find(metric, severity=severity, axis=axis if severity else "") for run in runs)
        return [e for e in each if e is not None]

    shares = {name: found("exact" if name == "answer" else name) for name in ERRORS}
    levels = {name: level(each) for name, each in shares.items() if each}
    plan, execution = shares["plan"], shares["execution"]
    differences = [e.value - p.value for p, e in zip(plan, execution, strict=False)]
    return Errors(
        axis=axis,
        severity=severity,
        of={name: e if name == "edit" else complement(e) for name, e in levels.items()},
        planning=mean(differences) if len(plan) == len(execution) else None,
    )


def mean(values: Sequence[float]) -> Estimate | None:
    """Over seeds; None without any."""
    return over_seeds(np.array(values)) if values else None
