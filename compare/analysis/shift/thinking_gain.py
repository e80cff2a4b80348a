"""Whether the gain from thinking grows with the shift: the second claim of arXiv 2507.02092.

The gain of a run is what its dearest effort of thinking, by counted FLOPs per answer, has over its cheapest,
at each severity of each axis. Its correlation with the severity is taken run by run: by ranks, which asks
only whether it grows, and Pearson's beside it. A gain that is the same everywhere, as where an arm answers
everything or nothing right, has no correlation, which is reported and not replaced by a number.

Shapes (suffixes): K places, D the two efforts, S seeds, P problems, B draws, X any.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from arena.effort import Effort
from compare.analysis.paired import bounded, difference, outcomes
from compare.stats.crossed import over_seeds_and_sets, over_seeds_of_means
from compare.stats.intervals import Array, Estimate, over_seeds
from compare.stats.ranks import ranks
from compare.store.evidence import Run
from compare.store.record import Evaluation

Axes = dict[str, tuple[int, ...]]
"""Axis -> severities."""
Place = tuple[str, int]
"""Axis and severity."""
DIGITS = 12
"""Gains are rounded so that equal counts are equal, whatever their floats did."""
LEAST_PLACES = 3
"""Places of which a correlation with severity can say anything."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the most thinking of a run gains over the least, by place."""

    run: Run
    places: tuple[Place, ...]
    """Severity 0 once."""
    efforts: tuple[str, str]
    """Most and least thinking: the dearest and the cheapest, by counted FLOPs per answer in distribution."""
    ends: tuple[tuple[Evaluation, Evaluation], ...]
    """The run at these two efforts, at each place."""
    sign: int
    """Of the metric: 1 if more of it is better."""

    @property
    def gain_K(self) -> Array:
        """Exact answers gained, or nats saved."""
        return self.sign * np.array([most.value - least.value for most, least in self.ends])

    @property
    def severity_K(self) -> Array:
        return np.array([float(severity) for _, severity in self.places])

    @property
    def varies(self) -> bool:
        """Whether there is a correlation: three places, and a gain that is not the same everywhere."""
        return len(self.places) >= LEAST_PLACES and bool(np.isfinite(rank(self.severity_K, self.gain_K)))


def places(axes: Axes, only: str = "") -> list[Place]:
    """Every place measured, severity 0 once; of one axis if named."""
    chosen = {axis: own for axis, own in axes.items() if only in ("", axis)}
    return [(next(iter(axes)), 0), *((axis, s) for axis, own in chosen.items() for s in own if s)]


def gain(run: Run, metric: str, where: Sequence[Place]) -> Gain | None:
    """What the most thinking gains over the least; None without two efforts at every place."""
    costs = {
        e.effort: e.flops
        for e in run.record.evaluations
        if (e.stage, e.metric, e.severity) == ("final", metric, 0)
        and (effort := Effort.match(e.effort)) is not None
        and effort.thinks
    }
    if len(costs) < 2:
        return None
    efforts = max(costs, key=costs.__getitem__), min(costs, key=costs.__getitem__)
    pairs = [[run.find(metric, severity=s, effort=name, axis=axis) for name in efforts] for axis, s in where]
    ends = tuple((most, least) for most, least in pairs if most is not None and least is not None)
    sign = 1 if metric == "exact" else -1
    whole = len(ends) == len(where)
    return Gain(run=run, places=tuple(where), efforts=efforts, ends=ends, sign=sign) if whole else None


def gained(gains: Sequence[Gain]) -> list[tuple[Place, Estimate]]:
    """An arm's gain at each place, over seeds."""
    ends = zip(*(gain.ends for gain in gains), strict=True)
    estimates = [difference(pairs, sign=gains[0].sign) for pairs in ends]
    return list(zip(gains[0].places, estimates, strict=True))


def rank(severity_K: Array, gain_KX: Array) -> Array:
    """Spearman's correlation along the first axis; not a number where the gain is the same everywhere."""
    return pearson(ranks(severity_K), ranks(gain_KX.round(DIGITS)))


def pearson(severity_K: Array, gain_KX: Array) -> Array:
    """Pearson's."""
    x_K = severity_K - severity_K.mean()
    y_KX = (gain_KX - gain_KX.mean(axis=0)).round(DIGITS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.tensordot(x_K, y_KX, 1) / np.sqrt((x_K @ x_K) * (y_KX**2).sum(axis=0)), -1, 1)


def correlate(gains: Sequence[Gain], coefficient: Callable[[Array, Array], Array]) -> Estimate | None:
    """Mean of the runs' correlations, its interval cut to [-1, 1]; None where no run has one.

    Seeds share their held-out problems, of which one severity may happen to have those that thinking helps
    with: exact answers bring the variance of problems with them. Of a loss no problem is recorded by itself.
    A correlation has bounds, near which its spread is small whatever was measured, so that the p-value is the
    larger of its own and that of the slope of the gain on severity, which has none.

    Args:
        coefficient: `rank` or `pearson`.
    """
    having = [gain for gain in gains if gain.varies]
    if not having:
        return None
    severity_K = having[0].severity_K
    weights_K = (severity_K - severity_K.mean()) / np.square(severity_K - severity_K.mean()).sum()
    # By place, the seeds at the most thinking and at the least.
    sides_K = [list(zip(*pairs, strict=True)) for pairs in zip(*(gain.ends for gain in having), strict=True)]
    if having[0].sign == 1 and all(len({e.n for side in sides for e in side}) == 1 for sides in sides_K):
        sets_KDSP = [np.stack([outcomes(side) for side in sides]) for sides in sides_K]
        e = over_seeds_of_means(
            lambda x_KDSB: coefficient(severity_K, x_KDSB[:, 0] - x_KDSB[:, 1]), sets_KDSP
        )
        slope = over_seeds_and_sets([most - least for most, least in sets_KDSP], weights_K)
    else:
        e = over_seeds(np.array([float(coefficient(severity_K, gain.gain_K)) for gain in having]))
        slope = over_seeds(np.array([weights_K @ gain.gain_K for gain in having]))
    return e if e.single_run else replace(bounded(e, -1.0, 1.0), p=max(e.p, slope.p))


def uncorrelated(gains: Sequence[Gain]) -> tuple[str, ...]:
    """The runs that have no correlation, and why."""
    out: list[str] = []
    for gain in (gain for gain in gains if not gain.varies):
        why = f"thinking gains the same, {gain.gain_K[0]:.3g}, at every severity"
        if len(gain.places) < LEAST_PLACES:
            why = f"only {len(gain.places)} severities were measured, a correlation needs {LEAST_PLACES}"
        out.append(f"{gain.run.planned.arm}, seed {gain.run.planned.seed}: {why}")
    return tuple(out)
