"""Whether the gain from thinking grows with the shift: the second claim of arXiv 2507.02092.

The gain of a run is what its dearest effort of thinking, by counted FLOPs an answer, has over its cheapest,
at each severity of each axis. Its correlation with the severity is taken run by run: by ranks, which asks
only whether it grows, and Pearson's beside it. A gain that is the same everywhere, as where an arm answers
everything or nothing right, has no correlation, which is said and not replaced by a number.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from compare.evidence import Run
from compare.stats import Array, Estimate, over_seeds

THINKING = re.compile(r"start|think_\d+(x\d+)?|unmask_\d+|loop_\d+")
"""Efforts that differ in thinking alone: the head's start, steps of descent, restarts; and, of the controls
without an energy, steps of unmasking and loops."""

LEAST_PLACES = 3
"""Places of which a correlation with severity can say anything."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the most thinking of a run gains over the least, by place."""

    run: Run
    places: tuple[tuple[str, int], ...]
    """(axis, severity); severity 0 once."""
    gains: tuple[float, ...]
    """Exact answers gained, or nats saved."""

    @property
    def rank(self) -> float | None:
        """Spearman's correlation of gain and severity; None where the gain is the same everywhere."""
        return _correlation(rankdata([s for _, s in self.places]), rankdata(self.gains))

    @property
    def pearson(self) -> float | None:
        """Pearson's."""
        return _correlation(np.array([float(s) for _, s in self.places]), np.array(self.gains))


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
    gains: list[float] = []
    for axis, severity in where:
        least, most = (
            run.find(metric, severity=severity, effort=effort, axis=axis if severity else "")
            for effort in found
        )
        if least is None or most is None:
            return None
        sign = 1 if metric == "exact" else -1
        # Shares are rounded so that equal counts are equal, whatever their floats did.
        gains.append(round(sign * (most.value - least.value), 12))
    return Gain(run=run, places=tuple(where), gains=tuple(gains))


def correlate(gains: Sequence[Gain], look: Callable[[Gain], float | None]) -> Estimate | None:
    """Mean of the runs' correlations, its interval cut to [-1, 1]; None where no run has one."""
    values = [value for each in gains if (value := look(each)) is not None]
    if not values:
        return None
    e = over_seeds(np.array(values))
    if e.single_run:
        return e
    low, high = max(e.low, -1.0), min(e.high, 1.0)
    return Estimate(value=e.value, low=low, high=high, p=e.p, n=e.n, single_run=False)


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
        if each.rank is None
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
            (axis, severity, over_seeds(np.array([each.gains[i] for each in gains])))
            for i, (axis, severity) in enumerate(where)
        ),
        rank=correlate(gains, lambda each: each.rank),
        pearson=correlate(gains, lambda each: each.pearson),
        reasons=uncorrelated(gains),
    )


def _correlation(x: Array, y: Array) -> float | None:
    if len(x) < LEAST_PLACES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
