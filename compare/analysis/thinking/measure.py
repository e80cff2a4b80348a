"""What an arm makes of more compute an answer: its ladder of efforts, its best effort, its curve.

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
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compare.analysis.paired import level
from compare.analysis.tables import oracle
from compare.stats.crossed import over_seeds_and_problems
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.store.evidence import Run
from compare.store.record import Evaluation

EQUAL = 1e-9
"""Relative difference in FLOPs up to which two efforts cost the same."""
OVERLAP = 1.1
"""Least factor of FLOPs an answer that two arms must share for their curves to be compared."""

Mask = NDArray[np.bool_]
Place = tuple[str, int]
"""Axis and severity."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """One run on one set of problems: its deployable efforts in order of cost, and the best of each level.

    A level is a cost at which there is an effort.
    """

    run: Run
    efforts: tuple[str, ...]
    flops_E: Array
    scores_EP: Array
    """1 for a right answer, 0 for a wrong one; or minus the loss, in one column."""
    levels: Array
    """FLOPs an answer of each level, rising."""
    best_EP: Array
    """Score at each level: that of the effort chosen elsewhere among those of at most this cost."""
    chosen: tuple[str, ...]
    """The effort chosen at the last level, once for each part of the problems that it is scored on."""

    @property
    def chosen_flops(self) -> float:
        """FLOPs an answer of the efforts chosen at the last level, mean over the parts."""
        return float(np.mean([self.flops_E[self.efforts.index(effort)] for effort in self.chosen]))

    @property
    def gain_P(self) -> Array:
        """Score at the last level less that at the first."""
        return self.best_EP[-1] - self.best_EP[0]

    def mean_P(self, low: float, high: float) -> Array:
        """Mean score over the logarithm of FLOPs an answer from `low` to `high`, linear between levels."""
        x_E, ends = np.log(self.levels), np.log([low, high])
        inner = x_E[(x_E > ends[0]) & (x_E < ends[1])]
        grid_G = np.concatenate((ends[:1], inner, ends[1:]))
        at_GE = np.stack([np.interp(grid_G, x_E, row) for row in np.eye(len(x_E))], axis=1)
        width_G = np.diff(grid_G)
        weight_G = (np.append(width_G, 0) + np.append(0, width_G)) / 2
        return weight_G @ at_GE @ self.best_EP / (ends[1] - ends[0])


@dataclass(frozen=True, kw_only=True)
class Effort:
    """One way to answer, over seeds."""

    name: str
    flops: float
    """Counted FLOPs an answer, mean over seeds."""
    value: Estimate
    """Share of exact answers, or loss in nats."""
    deployable: bool


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One arm on one set of problems at its largest budget."""

    arm: str
    budget: float
    axis: str
    severity: int
    efforts: tuple[Effort, ...]
    """In order of cost; `sample` left out."""
    ladders: tuple[Ladder, ...]
    """One a seed; empty where nothing can be compared, for one of `reasons`."""
    reasons: tuple[str, ...] = ()
    gain: Estimate | None = None
    """Cross-fitted best less cheapest, in exact answers or nats; above 0 is better."""
    dearest_gain: Estimate | None = None
    """Dearest deployable effort less cheapest, nothing chosen."""
    oracle_gain: Estimate | None = None
    """Best that an oracle does with the most samples, less cheapest: a bound."""

    @property
    def deployable(self) -> tuple[Effort, ...]:
        """Efforts that ask for no label."""
        return tuple(e for e in self.efforts if e.deployable)

    @property
    def line(self) -> tuple[Array, Array]:
        """FLOPs an answer and score of the levels, means over seeds that have as many."""
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
class ThinkingStudy:
    """The curves of one study."""

    metric: str
    """`exact` where answers can be verified, else `loss`."""
    curves: tuple[Curve, ...]
    runs: tuple[Run, ...] = field(repr=False)

    @property
    def places(self) -> tuple[Place, ...]:
        """Axes and severities measured, in their order."""
        return tuple(dict.fromkeys((c.axis, c.severity) for c in self.curves))

    def at(self, place: Place) -> tuple[Curve, ...]:
        """The arms' curves on one set of problems."""
        return tuple(c for c in self.curves if (c.axis, c.severity) == place)


def study_thinking(runs: tuple[Run, ...], arms: tuple[str, ...]) -> ThinkingStudy | None:
    """Every arm's curve at its largest budget; None if no finished run was evaluated."""
    metrics = {e.metric for run in runs for e in run.record.evaluations if e.stage == "final"}
    if not metrics:
        return None
    metric = "exact" if "exact" in metrics else "loss"
    curves: list[Curve] = []
    for arm in arms:
        own = [run for run in runs if run.planned.arm == arm]
        top = [run for run in own if run.planned.budget == max(r.planned.budget for r in own)]
        places = dict.fromkeys(
            (e.axis, e.severity)
            for run in top
            for e in run.record.evaluations
            if (e.metric, e.stage) == (metric, "final")
        )
        curves += [_curve(arm, top, metric, place) for place in places]
    order = list(dict.fromkeys((c.axis, c.severity) for c in curves))
    curves.sort(key=lambda c: order.index((c.axis, c.severity)))
    return ThinkingStudy(metric=metric, curves=tuple(curves), runs=runs)


def ladders(runs: list[Run], metric: str, place: Place) -> tuple[tuple[Ladder, ...], tuple[str, ...]]:
    """One ladder for each run that has one, and why others have none."""
    found = [(run, _evaluations(run, metric, place)) for run in runs]
    found = [(run, own) for run, own in found if own]
    if not found:
        return (), ("not measured",)
    if metric == "loss" and (len(found) < 2 or len({tuple(e.effort for e in own) for _, own in found}) > 1):
        return (), ("a loss's best effort is chosen on other seeds with the same efforts: there is none",)
    scores = [_scores(own, metric) for _, own in found]
    out: list[Ladder] = []
    for i, (run, own) in enumerate(found):
        if metric == "exact":
            odd_P = np.arange(scores[i].shape[1]) % 2 == 1
            if not odd_P.any():
                return (), ("too few problems to choose an effort on one half",)
            parts = [(part_P, scores[i][:, ~part_P].mean(axis=1)) for part_P in (~odd_P, odd_P)]
        else:
            others = [rest[:, 0] for j, rest in enumerate(scores) if j != i]
            parts = [(np.array([True]), np.mean(others, axis=0))]
        out.append(_ladder(run, own, scores[i], parts))
    return tuple(out), ()


def _ladder(
    run: Run, evaluations: list[Evaluation], scores_EP: Array, parts: list[tuple[Mask, Array]]
) -> Ladder:
    """Args: parts: a mask of problems, and each effort's score elsewhere, by which theirs is chosen."""
    flops_E = np.array([e.flops for e in evaluations])
    lasts = [
        i for i in range(len(flops_E)) if i + 1 == len(flops_E) or flops_E[i + 1] > flops_E[i] * (1 + EQUAL)
    ]
    best_EP = np.zeros((len(lasts), scores_EP.shape[1]))
    chosen: list[str] = []
    for mask_P, elsewhere_E in parts:
        for number, last in enumerate(lasts):
            pick = int(np.argmax(elsewhere_E[: last + 1]))
            best_EP[number, mask_P] = scores_EP[pick, mask_P]
            if last == lasts[-1]:
                chosen.append(evaluations[pick].effort)
    return Ladder(
        run=run,
        efforts=tuple(e.effort for e in evaluations),
        flops_E=flops_E,
        scores_EP=scores_EP,
        levels=flops_E[lasts],
        best_EP=best_EP,
        chosen=tuple(chosen),
    )


def shared_range(mine: Ladder, theirs: Ladder) -> tuple[float, float] | None:
    """FLOPs an answer that both ladders span; None if that is less than a factor OVERLAP."""
    low = max(float(mine.levels[0]), float(theirs.levels[0]))
    high = min(float(mine.levels[-1]), float(theirs.levels[-1]))
    return (low, high) if high >= OVERLAP * low else None


def estimate_of(rows: list[Array]) -> Estimate:
    """Mean over seeds (rows) and problems (columns), with the interval that belongs to what is known."""
    if {len(row) for row in rows} != {1} and len({len(row) for row in rows}) == 1:
        return over_seeds_and_problems(np.stack(rows))
    return over_seeds(np.array([row.mean() for row in rows]))


def _evaluations(run: Run, metric: str, place: Place, oracles: bool = False) -> list[Evaluation]:
    """A run's deployable efforts (or the oracles) on a set of problems, cheapest first."""
    found = {
        e.effort: e
        for e in run.record.evaluations
        if (e.metric, e.stage, e.axis, e.severity) == (metric, "final", *place)
        and e.effort != "sample"
        and oracle(e.effort) == oracles
    }
    return sorted(found.values(), key=lambda e: e.flops)


def _scores(evaluations: list[Evaluation], metric: str) -> Array:
    if metric == "loss":
        return np.array([[-e.value] for e in evaluations])
    return np.array([_bits(e) for e in evaluations])


def _bits(evaluation: Evaluation) -> Array:
    return np.frombuffer(evaluation.outcomes.encode(), dtype=np.uint8).astype(float) - ord("0")


def _curve(arm: str, runs: list[Run], metric: str, place: Place) -> Curve:
    efforts: list[Effort] = []
    for oracles in (False, True):
        found: dict[str, list[Evaluation]] = {}
        for run in runs:
            for e in _evaluations(run, metric, place, oracles):
                found.setdefault(e.effort, []).append(e)
        efforts += [
            Effort(
                name=name,
                flops=float(np.mean([e.flops for e in same])),
                value=level(same),
                deployable=not oracles,
            )
            for name, same in found.items()
        ]
    own, reasons = ladders(runs, metric, place)
    several = bool(own) and all(len(ladder.levels) > 1 for ladder in own)
    if own and not several:
        reasons = ("it has one way to answer",)
    bounds = [(ladder, _evaluations(ladder.run, metric, place, oracles=True)) for ladder in own]
    return Curve(
        arm=arm,
        budget=runs[0].planned.budget,
        axis=place[0],
        severity=place[1],
        efforts=tuple(sorted(efforts, key=lambda e: e.flops)),
        ladders=own,
        reasons=reasons,
        gain=estimate_of([ladder.gain_P for ladder in own]) if several else None,
        dearest_gain=estimate_of([x.scores_EP[-1] - x.scores_EP[0] for x in own]) if several else None,
        oracle_gain=estimate_of([_bits(found[-1]) - x.scores_EP[0] for x, found in bounds])
        if bounds and all(found for _, found in bounds)
        else None,
    )
