"""Whether the gain from thinking grows with the shift: the second claim of arXiv 2507.02092.

The gain of a run is what its dearest effort of thinking, by counted FLOPs an answer, has over its cheapest,
at each severity of each axis. Its correlation with the severity is taken run by run: by ranks, which asks
only whether it grows, and Pearson's beside it. A gain that is the same everywhere, as where an arm answers
everything or nothing right, has no correlation, which is said and not replaced by a number.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from compare.analysis.paired import exact_difference, outcomes
from compare.stats.crossed import over_seeds_and_sets, over_seeds_of_means
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.store.evidence import Run
from compare.store.record import Evaluation

THINKING = re.compile(r"start|think_\d+(x\d+)?|unmask_\d+|loop_\d+")
"""Efforts that differ in thinking alone: the head's start, steps of descent, restarts; and, of the controls
without an energy, steps of unmasking and loops."""

DIGITS = 12
"""Gains are rounded so that equal counts are equal, whatever their floats did."""

LEAST_PLACES = 3
"""Places of which a correlation with severity can say anything."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the most thinking of a run gains over the least, by place."""

    run: Run
    places: tuple[tuple[str, int], ...]
    """(axis, severity); severity 0 once."""
    ends: tuple[tuple[Evaluation, Evaluation], ...]
    """Least and most thinking at each place."""

    @property
    def gains(self) -> tuple[float, ...]:
        """Exact answers gained, or nats saved."""
        sign = 1 if self.ends[0][0].metric == "exact" else -1
        return tuple(sign * (most.value - least.value) for least, most in self.ends)

    @property
    def severities(self) -> Array:
        """Of the places, as numbers."""
        return np.array([float(severity) for _, severity in self.places])

    @property
    def varies(self) -> bool:
        """Whether there is a correlation: three places, and a gain that is not the same everywhere."""
        return len(self.places) >= LEAST_PLACES and bool(
            np.isfinite(rank(self.severities, np.array(self.gains)))
        )


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """An arm's gain from thinking over all axes, over seeds."""

    metric: str
    least: str
    """Cheapest effort, by counted FLOPs an answer in distribution."""
    most: str
    """Dearest effort, likewise."""
    gains: tuple[tuple[str, int, Estimate], ...]
    """Axis, severity and gain."""
    rank: Estimate | None
    """None where no run's gain varies."""
    pearson: Estimate | None
    reasons: tuple[str, ...]
    """Runs that have no correlation, and why."""


def places(axes: dict[str, tuple[int, ...]], only: str = "") -> list[tuple[str, int]]:
    """(axis, severity) of everything measured, severity 0 once; of one axis if named."""
    chosen = {axis: each for axis, each in axes.items() if only in ("", axis)}
    return [(next(iter(axes)), 0), *((axis, s) for axis, each in chosen.items() for s in each if s)]


def rungs(run: Run, metric: str) -> tuple[str, str] | None:
    """Cheapest and dearest effort of thinking of a run, by counted FLOPs in distribution."""
    costs = {
        e.effort: e.flops
        for e in run.record.evaluations
        if (e.stage, e.metric, e.severity) == ("final", metric, 0) and THINKING.fullmatch(e.effort)
    }
    if len(costs) < 2:
        return None
    return min(costs, key=lambda effort: costs[effort]), max(costs, key=lambda effort: costs[effort])


def gain(run: Run, metric: str, where: Sequence[tuple[str, int]]) -> Gain | None:
    """What the most thinking gains over the least; None without two efforts at every place."""
    found = rungs(run, metric)
    if found is None:
        return None
    ends: list[tuple[Evaluation, Evaluation]] = []
    for axis, severity in where:
        least, most = (
            run.find(metric, severity=severity, effort=effort, axis=axis if severity else "")
            for effort in found
        )
        if least is None or most is None:
            return None
        ends.append((least, most))
    return Gain(run=run, places=tuple(where), ends=tuple(ends))


def rank(severity_K: Array, gain_KX: Array) -> Array:
    """Spearman's correlation along the first axis; not a number where the gain is the same everywhere."""
    return pearson(rankdata(severity_K), rankdata(gain_KX.round(DIGITS), axis=0))


def pearson(severity_K: Array, gain_KX: Array) -> Array:
    """Pearson's."""
    x_K = severity_K - severity_K.mean()
    y_KX = (gain_KX - gain_KX.mean(axis=0)).round(DIGITS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.tensordot(x_K, y_KX, 1) / np.sqrt((x_K @ x_K) * (y_KX**2).sum(axis=0)), -1, 1)


def correlate(gains: Sequence[Gain], look: Callable[[Array, Array], Array]) -> Estimate | None:
    """Mean of the runs' correlations, its interval cut to [-1, 1]; None where no run has one.

    Seeds share their held-out problems, of which one severity may happen to have those that thinking helps
    with: exact answers bring the variance of problems with them. Of a loss no problem is recorded by itself.
    A correlation has bounds, near which its spread is small whatever was measured, so that the p-value is the
    larger of its own and that of the slope of the gain on severity, which has none.

    Args:
        look: `rank` or `pearson`.
    """
    having = [each for each in gains if each.varies]
    if not having:
        return None
    severity_K = having[0].severities
    weights_K = (severity_K - severity_K.mean()) / np.square(severity_K - severity_K.mean()).sum()
    if _shared(having):
        sets = [
            np.stack([outcomes([each.ends[k][i] for each in having]) for i in (0, 1)])
            for k in range(len(severity_K))
        ]

        def correlation(means_KDSB: Array) -> Array:
            return look(severity_K, means_KDSB[:, 1] - means_KDSB[:, 0])

        e = over_seeds_of_means(correlation, sets)
        slope = over_seeds_and_sets([most - least for least, most in sets], weights_K)
    else:
        e = over_seeds(np.array([float(look(severity_K, np.array(each.gains))) for each in having]))
        slope = over_seeds(np.array([weights_K @ np.array(each.gains) for each in having]))
    if e.single_run:
        return e
    return replace(e, low=max(e.low, -1.0), high=min(e.high, 1.0), p=max(e.p, slope.p))


def _shared(gains: Sequence[Gain]) -> bool:
    """Whether all runs were measured by outcomes of as many problems, place by place."""
    counts = {tuple((a.n, b.n) for a, b in each.ends) for each in gains}
    return gains[0].ends[0][0].metric == "exact" and len(counts) == 1 and all(a == b for a, b in counts.pop())


def uncorrelated(gains: Sequence[Gain]) -> tuple[str, ...]:
    """The runs that have no correlation, and why."""
    return tuple(
        f"{each.run.planned.arm}, seed {each.run.planned.seed}: "
        + (
            f"only {len(each.places)} severities were measured, a correlation needs {LEAST_PLACES}"
            if len(each.places) < LEAST_PLACES
            else f"thinking gains the same, {each.gains[0]:.3g}, at every severity"
        )
        for each in gains
        if not each.varies
    )


def thinking(runs: Sequence[Run], metric: str, axes: dict[str, tuple[int, ...]]) -> Thinking | None:
    """An arm's gain over all axes; None without a run that was answered at two efforts of thinking."""
    where = places(axes)
    gains = [found for run in runs if (found := gain(run, metric, where)) is not None]
    if not gains:
        return None
    efforts = rungs(gains[0].run, metric)
    assert efforts is not None
    return Thinking(
        metric=metric,
        least=efforts[0],
        most=efforts[1],
        gains=tuple(
            (axis, severity, _gained([each.ends[i] for each in gains]))
            for i, (axis, severity) in enumerate(where)
        ),
        rank=correlate(gains, rank),
        pearson=correlate(gains, pearson),
        reasons=uncorrelated(gains),
    )


def _gained(ends: Sequence[tuple[Evaluation, Evaluation]]) -> Estimate:
    """What the most thinking has over the least, over seeds."""
    if ends[0][0].metric == "exact":
        return exact_difference([(most, least) for least, most in ends], sign=1)
    return over_seeds(np.array([least.value - most.value for least, most in ends]))
