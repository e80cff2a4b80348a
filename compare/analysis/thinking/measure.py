"""What an arm makes of more compute per answer: its ladder of efforts, its best effort, its curve.

Choosing the best of several efforts by the very results that are then reported would be selection at
test. So the choice is cross-fitted:
* exact answers: the effort is chosen on one half of the held-out problems (the even ones, or the odd)
  and scored on the other, run by run, both ways round;
* loss, of which a record keeps no problem's own value: chosen on the arm's other seeds, scored on this.
Among equals the cheapest is taken. A gain may thus be negative, and is zero on average where no effort
is better than another. `sample`, one draw without a choice, is no rung: it costs what `greedy` costs.
What an oracle picks is kept apart: it looks at the answer.

Shapes (suffixes): E efforts or levels of cost, P problems (1 for a loss, whose problems are not kept).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from arena.effort import SAMPLE, Effort
from compare.analysis.cohort import Cohort
from compare.analysis.paired import bits, level, outcomes, over_runs
from compare.analysis.thinking.chain import ChainPair
from compare.analysis.thinking.quantities import QUANTITIES
from compare.stats.intervals import Array, Estimate
from compare.store.evidence import Run
from compare.store.record import Evaluation

EQUAL = 1e-9
"""Relative difference in FLOPs up to which two efforts cost the same."""
OVERLAP = 1.1
"""Least factor of FLOPs per answer that two arms must share for their curves to be compared."""

Place = tuple[str, int]
"""Axis and severity."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """One run on one set of problems: its deployable efforts in order of cost, and the best of each level.

    A level is a cost at which there is an effort.
    """

    run: Run
    scores_EP: Array
    """1 for a right answer, 0 for a wrong one; or minus the loss, in one column."""
    levels: Array
    """FLOPs per answer of each level, rising."""
    best_EP: Array
    """Score at each level: that of the effort chosen elsewhere among those of at most this cost."""
    chosen: tuple[str, ...]
    """The effort chosen at the last level, once for each part of the problems that it is scored on."""
    chosen_flops: float
    """FLOPs per answer of these efforts, mean over the parts."""

    @property
    def gain_P(self) -> Array:
        """Score at the last level less that at the first."""
        return self.best_EP[-1] - self.best_EP[0]

    def mean_P(self, low: float, high: float) -> Array:
        """Mean score over the logarithm of FLOPs per answer from `low` to `high`, linear between levels."""
        x_E, ends = np.log(self.levels), np.log([low, high])
        grid_G = np.concatenate((ends[:1], x_E[(x_E > ends[0]) & (x_E < ends[1])], ends[1:]))
        at_PG = np.array([np.interp(grid_G, x_E, best_E) for best_E in self.best_EP.T])
        return (at_PG[:, 1:] + at_PG[:, :-1]) @ np.diff(grid_G) / (2 * (ends[1] - ends[0]))


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of an arm to answer one set of problems, over seeds, at its largest budget or rung."""

    arm: str
    metric: str
    place: Place
    effort: str
    flops: float
    """Counted FLOPs per answer, mean over seeds."""
    value: Estimate
    """Share of exact answers, or loss in nats."""
    budget: float
    """Training FLOPs allowed."""
    cells: tuple[str, ...]

    @property
    def deployable(self) -> bool:
        """Whether no label is asked for."""
        return not oracle(self.effort)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One arm on one set of problems at its largest budget or rung."""

    arm: str
    place: Place
    cells: tuple[str, ...]
    ways: tuple[Way, ...]
    """In order of cost; `sample` left out."""
    ladders: tuple[Ladder, ...]
    """One per seed."""
    reasons: tuple[str, ...]
    """Why it has no gain."""

    @cached_property
    def gain(self) -> Estimate | None:
        """Cross-fitted best less cheapest, in exact answers or nats; above 0 is better."""
        return over_runs([ladder.gain_P for ladder in self.ladders]) if not self.reasons else None

    @cached_property
    def dearest_gain(self) -> Estimate | None:
        """Dearest deployable effort less cheapest, nothing chosen."""
        gains = [ladder.scores_EP[-1] - ladder.scores_EP[0] for ladder in self.ladders]
        return over_runs(gains) if not self.reasons else None

    @cached_property
    def oracle_gain(self) -> Estimate | None:
        """Best that an oracle does with the most samples, less cheapest: a bound."""
        bounds = [efforts_of(ladder.run, "exact", self.place, oracles=True) for ladder in self.ladders]
        if not bounds or not all(bounds):
            return None
        pairs = zip(bounds, self.ladders, strict=True)
        return over_runs([bits(bound[-1].outcomes) - ladder.scores_EP[0] for bound, ladder in pairs])

    @property
    def deployable(self) -> tuple[Way, ...]:
        return tuple(way for way in self.ways if way.deployable)

    @property
    def line(self) -> tuple[Array, Array]:
        """FLOPs per answer and score of the levels, means over seeds that have as many."""
        count = Counter(len(ladder.levels) for ladder in self.ladders).most_common(1)[0][0]
        same = [ladder for ladder in self.ladders if len(ladder.levels) == count]
        flops_E = np.mean([ladder.levels for ladder in same], axis=0)
        return flops_E, np.mean([ladder.best_EP.mean(axis=1) for ladder in same], axis=0)

    @property
    def chosen(self) -> str:
        """Efforts that were chosen as best, the most frequent first, with how often."""
        counts = Counter(effort for ladder in self.ladders for effort in ladder.chosen)
        total = sum(counts.values())
        return ", ".join(f"{name} ({n} of {total})" for name, n in counts.most_common())


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """What a study shows of ways to answer."""

    ways: tuple[Way, ...]
    """All of them, `sample` among them."""
    metric: str
    """`exact` where answers can be verified, else `loss`."""
    curves: tuple[Curve, ...]
    """By place; empty if no contrast of the experiment asks for them."""
    chains: Sequence[ChainPair] = ()
    """Studies that add a chain to this one's task; known once all studies are."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Axes and severities measured, in their order."""
        return tuple(dict.fromkeys(curve.place for curve in self.curves))

    def at(self, place: Place) -> tuple[Curve, ...]:
        return tuple(curve for curve in self.curves if curve.place == place)


def oracle(effort: str) -> bool:
    """Whether a way to answer looks at the label."""
    return (parsed := Effort.match(effort)) is not None and parsed.oracle


def measure(cohort: Cohort) -> Thinking | None:
    """Every way to answer, and every arm's curve if asked for; None if no finished run was evaluated."""
    tops = {
        (arm, metric): cohort.top(arm, look=lambda run, metric=metric: _final(run, metric) or None)
        for arm, metric in product(cohort.arms, ("loss", "exact"))
    }
    ways = tuple(way for (arm, metric), runs in tops.items() for way in _ways(arm, metric, runs))
    if not ways:
        return None
    metric = "exact" if any(way.metric == "exact" for way in ways) else "loss"
    asked = {contrast.quantity for contrast in cohort.manifest.contrasts} & QUANTITIES.keys()
    compared = [way for way in ways if way.metric == metric and asked]
    curves: list[Curve] = []
    for place, arm in product(dict.fromkeys(way.place for way in compared), cohort.arms):
        own = [way for way in compared if (way.arm, way.place) == (arm, place)]
        if own:
            climbs, reasons = ladders(tops[arm, metric], metric, place)
            own.sort(key=lambda way: (way.flops, not way.deployable))
            curve = Curve(
                arm=arm,
                place=place,
                cells=tuple(run.planned.cell for run in tops[arm, metric]),
                ways=tuple(way for way in own if way.effort != SAMPLE),
                ladders=climbs,
                reasons=reasons,
            )
            curves.append(curve)
    return Thinking(ways=ways, metric=metric, curves=tuple(curves))


def _final(run: Run, metric: str) -> list[Evaluation]:
    return [e for e in run.record.evaluations if (e.stage, e.metric) == ("final", metric)]


def _ways(arm: str, metric: str, runs: Sequence[Run]) -> list[Way]:
    """Every way of an arm to answer, in the order of its records."""
    groups: dict[tuple[Place, str], list[tuple[Run, Evaluation]]] = {}
    for run in runs:
        for e in _final(run, metric):
            groups.setdefault(((e.axis, e.severity), e.effort), []).append((run, e))
    return [
        Way(
            arm=arm,
            metric=metric,
            place=place,
            effort=effort,
            flops=float(np.mean([e.flops for _, e in same])),
            value=level([e for _, e in same]),
            budget=same[0][0].planned.budget,
            cells=tuple(run.planned.cell for run, _ in same),
        )
        for (place, effort), same in groups.items()
    ]


def efforts_of(run: Run, metric: str, place: Place, *, oracles: bool = False) -> list[Evaluation]:
    """A run's deployable efforts (or the oracles) on a set of problems, cheapest first."""
    last = {
        e.effort: e
        for e in _final(run, metric)
        if (e.axis, e.severity) == place and e.effort != SAMPLE and oracle(e.effort) == oracles
    }
    return sorted(last.values(), key=lambda e: e.flops)


def ladders(runs: Sequence[Run], metric: str, place: Place) -> tuple[tuple[Ladder, ...], tuple[str, ...]]:
    """One ladder for each run that has one, and why they cannot be compared."""
    having = [(run, efforts) for run in runs if (efforts := efforts_of(run, metric, place))]
    if not having:
        return (), ("not measured",)
    names = {tuple(e.effort for e in efforts) for _, efforts in having}
    if metric == "loss" and (len(having) < 2 or len(names) > 1):
        return (), ("a loss's best effort is chosen on other seeds with the same efforts: there is none",)
    scores = [
        outcomes(efforts) if metric == "exact" else np.array([[-e.value] for e in efforts])
        for _, efforts in having
    ]
    out: list[Ladder] = []
    for i, (run, efforts) in enumerate(having):
        if metric == "exact":
            odd_P = np.arange(scores[i].shape[1]) % 2 == 1
            if not odd_P.any():
                return (), ("too few problems to choose an effort on one half",)
            parts = [(part_P, scores[i][:, ~part_P].mean(axis=1)) for part_P in (~odd_P, odd_P)]
        else:
            others = [rest[:, 0] for j, rest in enumerate(scores) if j != i]
            parts = [(np.array([True]), np.mean(others, axis=0))]
        out.append(_ladder(run, efforts, scores[i], parts))
    alone = any(len(ladder.levels) < 2 for ladder in out)
    return tuple(out), ("it has one way to answer",) if alone else ()


def _ladder(
    run: Run, evaluations: list[Evaluation], scores_EP: Array, parts: list[tuple[NDArray[np.bool_], Array]]
) -> Ladder:
    """Args: parts: a mask of problems, and each effort's score elsewhere, by which theirs is chosen."""
    flops_E = np.array([e.flops for e in evaluations])
    lasts = np.flatnonzero(np.append(flops_E[1:] > flops_E[:-1] * (1 + EQUAL), True))
    best_EP = np.zeros((len(lasts), scores_EP.shape[1]))
    chosen: list[int] = []
    for mask_P, elsewhere_E in parts:
        picks = [int(np.argmax(elsewhere_E[: last + 1])) for last in lasts]
        best_EP[:, mask_P] = scores_EP[picks][:, mask_P]
        chosen.append(picks[-1])
    return Ladder(
        run=run,
        scores_EP=scores_EP,
        levels=flops_E[lasts],
        best_EP=best_EP,
        chosen=tuple(evaluations[pick].effort for pick in chosen),
        chosen_flops=float(flops_E[chosen].mean()),
    )


def shared_range(mine: Ladder, theirs: Ladder) -> tuple[float, float] | None:
    """FLOPs per answer that both ladders span; None if that is less than a factor OVERLAP."""
    low = max(float(mine.levels[0]), float(theirs.levels[0]))
    high = min(float(mine.levels[-1]), float(theirs.levels[-1]))
    return (low, high) if high >= OVERLAP * low else None
