"""Decay away from the training distribution: records -> numbers.

A decay slope is the plain least-squares slope of a metric on the number of the severity, run by run. The
severities of an axis are ordered but have no unit, so that the slope says how much is lost per *step of the
axis*, comparable between arms on one axis and between nothing else. A straight line weighs all severities;
the difference of the ends alone would rest on two of them, and a curve has more parameters than an axis
has severities.

An arm that starts at 60% cannot lose as much as one that starts at 100%. The retained share, mean exact
answers over the shifted severities over those in distribution, stands beside the slope for that reason.

Shapes (suffixes): S seeds, K severities, P problems, D arms, B draws.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from compare.analysis.cohort import Cohort
from compare.analysis.paired import complement, level, mean, outcomes
from compare.analysis.shift.thinking_gain import Axes, Gain, Place, gain, places
from compare.stats.crossed import over_seeds_and_sets, over_seeds_of_means
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.store.evidence import Run
from compare.store.record import Evaluation

METRICS = ("exact", "loss")
"""Metrics that decay."""
ERRORS = ("answer", "plan", "execution", "chain", "edit")
"""What can go wrong with an answer: 1 less a share of right answers or chains, but for `edit`, a distance."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One metric of one run along one axis."""

    run: Run
    at: tuple[Evaluation, ...]
    """By severity, from 0, in distribution, up."""

    @property
    def worse_K(self) -> Array:
        """Answer error, or loss: what decay adds to."""
        values = np.array([e.value for e in self.at])
        return 1 - values if self.at[0].metric == "exact" else values

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
    severities: tuple[int, ...]
    tracks: tuple[Track, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(track.run.planned.cell for track in self.tracks)

    @cached_property
    def levels(self) -> tuple[Estimate, ...]:
        """Exact answers, or loss, by severity."""
        return tuple(level(at) for at in zip(*(track.at for track in self.tracks), strict=True))

    @cached_property
    def slope(self) -> Estimate:
        """Answers lost, or nats added, per severity."""
        return worsening(slope_weights(self.severities), self.tracks)

    @property
    def worse(self) -> tuple[Estimate, ...]:
        """Answer error, or loss, by severity."""
        return self.levels if self.metric == "loss" else tuple(complement(e) for e in self.levels)

    @cached_property
    def increases(self) -> tuple[Estimate, ...]:
        """Answers lost, or nats added, from severity 0 to each."""
        return tuple(worsening(w_K, self.tracks) for w_K in increase_weights(self.severities))

    @cached_property
    def retained(self) -> Estimate | None:
        """Share of the exact answers in distribution that is kept; None where no run has any."""
        kept = [t for t in self.tracks if t.retained is not None] if self.metric == "exact" else []
        return retained_share(kept) if kept else None


@dataclass(frozen=True, kw_only=True)
class ArmDecay:
    """One arm at the largest rung at which it was measured under shift."""

    arm: str
    runs: tuple[Run, ...]
    axes: Axes

    @cached_property
    def decays(self) -> tuple[Decay, ...]:
        """By axis and metric, of the runs that were measured at every severity."""
        out: list[Decay] = []
        for (axis, severities), metric in product(self.axes.items(), METRICS):
            tracks = (track(run, metric, axis, severities) for run in self.runs)
            whole = tuple(t for t in tracks if t is not None)
            out += [Decay(axis=axis, metric=metric, severities=severities, tracks=whole)] if whole else []
        return tuple(out)

    def decay(self, metric: str, axis: str) -> Decay | None:
        return next((d for d in self.decays if (d.metric, d.axis) == (metric, axis)), None)

    @cached_property
    def gains(self) -> dict[str, tuple[Gain, ...]]:
        """What thinking gains, by metric; metrics without two efforts of thinking are left out."""
        where = places(self.axes)
        gains = {m: tuple(g for run in self.runs if (g := gain(run, m, where)) is not None) for m in METRICS}
        return {metric: own for metric, own in gains.items() if own}

    def means(self, metrics: Iterable[str], place: Place) -> dict[str, Estimate]:
        """Over seeds; metrics that the task does not tell are left out."""
        found = {name: [e for run in self.runs if (e := _judged(run, name, place))] for name in metrics}
        return {name: level(own) for name, own in found.items() if own}

    def errors(self, place: Place) -> dict[str, Estimate]:
        """What went wrong, by name in ERRORS."""
        levels = self.means(ERRORS, place)
        return {name: e if name == "edit" else complement(e) for name, e in levels.items()}

    def planning(self, place: Place) -> Estimate | None:
        """Plan error less execution error, paired by seed; None where the task does not tell them."""
        pairs = ((_judged(run, "plan", place), _judged(run, "execution", place)) for run in self.runs)
        return mean([execution.value - plan.value for plan, execution in pairs if plan and execution])


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What a study shows of shifts."""

    axes: Axes
    """Axis -> severities measured, from 0 up; the task's first axis first."""
    arms: tuple[ArmDecay, ...]

    @property
    def largest(self) -> tuple[ArmDecay, ...]:
        """Arms at the study's largest rung, which are compared with one another."""
        top = max(arm.runs[0].rung for arm in self.arms)
        return tuple(arm for arm in self.arms if arm.runs[0].rung == top)


def measure(cohort: Cohort) -> Shift | None:
    """None if nothing was measured under shift."""
    members = {arm: cohort.top(arm, look=_shifted) for arm in cohort.arms}
    seen = [place for runs in members.values() for run in runs for place in _shifted(run) or ()]
    severities = {axis: {0, *(s for along, s in seen if along == axis)} for axis, _ in seen}
    axes = {axis: tuple(sorted(own)) for axis, own in severities.items() if len(own) > 1}
    arms = tuple(ArmDecay(arm=arm, runs=runs, axes=axes) for arm, runs in members.items() if runs)
    return Shift(axes=axes, arms=arms) if arms else None


def _shifted(run: Run) -> list[Place] | None:
    """Where a run was measured; None if in distribution only."""
    final = [e for e in run.record.evaluations if e.stage == "final" and e.metric in METRICS]
    return [(e.axis, e.severity) for e in final] if any(e.severity for e in final) else None


def track(
    run: Run, metric: str, axis: str, severities: tuple[int, ...], effort: str | None = None
) -> Track | None:
    """A run along an axis, answering so or in its default way; None if a severity was not measured."""
    at = [run.find(metric, severity=s, axis=axis, effort=effort) for s in severities]
    whole = tuple(e for e in at if e is not None)
    return Track(run=run, at=whole) if len(whole) == len(at) else None


def slope_weights(severities: Sequence[int]) -> Array:
    """Weights whose sum over values is their least-squares slope on the severities."""
    centred_K = np.array(severities, dtype=float) - np.mean(severities)
    return centred_K / (centred_K @ centred_K)


def increase_weights(severities: Sequence[int]) -> Array:
    """By severity, weights whose sum over values is the value there less that at severity 0."""
    unit_KK = np.eye(len(severities))
    return unit_KK - unit_KK[0]


def worsening(weights_K: Array, *sides: Sequence[Track]) -> Estimate:
    """Weighted sum over severities of answer error or loss, over seeds; of two paired sides the difference.

    Seeds share their held-out problems, so exact answers bring the variance of problems with them. Of the
    loss no problem is recorded by itself: its interval is over seeds alone.
    """
    if sides[0][0].at[0].metric == "exact" and _alike(sides):
        wrong = [[1 - right_SP for right_SP in _outcomes(side)] for side in sides]
        sets = [mine - sum(theirs) for mine, *theirs in zip(*wrong, strict=True)]
        return over_seeds_and_sets(sets, weights_K)
    mine, *theirs = (np.array([weights_K @ track.worse_K for track in side]) for side in sides)
    return over_seeds(mine - sum(theirs))


def retained_share(*sides: Sequence[Track]) -> Estimate:
    """Share of the answers in distribution that is kept, over seeds; of two sides the difference.

    Every run has right answers in distribution.
    """
    if not _alike(sides):
        kept = np.array([[track.retained for track in side] for side in sides], dtype=float)
        return over_seeds(kept[0] - kept[1:].sum(axis=0))

    def share(means_KDSB: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            kept_DSB = means_KDSB[1:].mean(axis=0) / means_KDSB[0]
        return kept_DSB[0] - kept_DSB[1:].sum(axis=0)

    return over_seeds_of_means(share, [np.stack(own) for own in zip(*map(_outcomes, sides), strict=True)])


def _alike(sides: Sequence[Sequence[Track]]) -> bool:
    """Whether all were measured on as many problems, severity by severity."""
    return len({tuple(e.n for e in track.at) for side in sides for track in side}) == 1


def _outcomes(tracks: Sequence[Track]) -> list[Array]:
    """By severity, (S, P): 1 for a right answer."""
    return [outcomes(at) for at in zip(*(track.at for track in tracks), strict=True)]


def _judged(run: Run, name: str, place: Place) -> Evaluation | None:
    """What the error of a name is 1 less of."""
    return run.find("exact" if name == "answer" else name, axis=place[0], severity=place[1])
