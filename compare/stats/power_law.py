"""Scaling fits of loss against training compute.

* `lines`: the paper's reading, a straight line through log loss against log compute, one per arm.
* `PowerLaw`: L = E + A C^-alpha for all arms together, one E shared (or one each, or none), in log
  space by logsumexp with the summed Huber loss, as Hoffmann et al. 2022 (appendix D.3, delta 1e-3).
* `log_multipliers`: compute at equal loss, read between the measured points without any law.

Bounded metrics have compare/stats/sigmoid.py instead.

Everything is fitted once to all runs, for the curve that is drawn, and once to the runs of each seed. The
runs of a seed share what is special about it, at all budgets and in all arms, so intervals are Student's t
over the seeds' numbers (`by_seed`): nothing is assumed of the noise within a seed.

Shapes: A arms, N runs, S seeds, R = 1 + S rows (all runs, then each seed; not a number where a seed lacks an
arm), G grid points, K budgets. Compute is in FLOPs, loss in nats per token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.interpolate import PchipInterpolator

from compare.stats.intervals import Estimate, Interval, over_seeds
from compare.stats.least_squares import Array
from compare.stats.power_law_model import ALPHA, FLOOR, VARIANTS, PowerLawModel

BUDGETS_NEEDED = 3
"""A power law has three parameters per arm; fewer budgets cannot tell it from anything."""

BETWEEN = 1000
"""Points per budget at which a curve is read between measured ones."""


class NotEnough(ValueError):
    """There are too few budgets to fit. The message says which arm has how many."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One metric of many runs: arms, budgets, seeds and values, in parallel arrays of length N."""

    arms: tuple[str, ...]
    arm_N: NDArray[np.int64]
    """Index into `arms`."""
    compute_N: Array
    """FLOPs spent, the mean of the run's (arm, budget) stratum."""
    stratum_N: NDArray[np.int64]
    """Number of the run's (arm, budget) stratum."""
    seed_N: NDArray[np.int64]
    value_N: Array

    def of(self, *names: str) -> NDArray[np.bool_]:
        """Which runs are those of the named arms."""
        return np.isin(self.arm_N, [self.arms.index(name) for name in names])

    def where(self, chosen_N: NDArray[np.bool_]) -> "Runs":
        """The chosen runs alone; arms keep their numbers."""
        columns = ("arm_N", "compute_N", "stratum_N", "seed_N", "value_N")
        return replace(self, **{name: getattr(self, name)[chosen_N] for name in columns})

    def only(self, *names: str) -> "Runs":
        """The runs of the named arms, as if there were no others."""
        chosen = self.where(self.of(*names))
        arm_N = np.searchsorted([self.arms.index(name) for name in self.arms if name in names], chosen.arm_N)
        return replace(chosen, arms=tuple(name for name in self.arms if name in names), arm_N=arm_N)

    def of_seed(self, seed: int) -> "Runs":
        """The runs of one seed, of those arms alone that have BUDGETS_NEEDED with it."""
        mine = self.where(self.seed_N == seed)
        enough = [i for i, name in enumerate(self.arms) if mine.budgets(name) >= BUDGETS_NEEDED]
        return mine.where(np.isin(mine.arm_N, enough))

    @property
    def seeds(self) -> list[int]:
        """In rising order."""
        return np.unique(self.seed_N).tolist()

    def budgets(self, name: str) -> int:
        """Budgets at which an arm was run."""
        return len(np.unique(self.stratum_N[self.of(name)]))

    def span(self, *names: str) -> tuple[float, float]:
        """Smallest and largest compute that all of the named arms reach, FLOPs."""
        spent = [self.compute_N[self.of(name)] for name in names]
        return float(max(map(np.min, spent))), float(min(map(np.max, spent)))

    def fewest(self, *names: str) -> int:
        """Seeds in the thinnest stratum of the named arms."""
        return int(np.unique(self.stratum_N[self.of(*names)], return_counts=True)[1].min())

    def require_budgets(self) -> None:
        """Raise NotEnough unless every arm has BUDGETS_NEEDED."""
        for name in self.arms:
            if (count := self.budgets(name)) < BUDGETS_NEEDED:
                raise NotEnough(f"{name}: not enough budgets for a fit ({count}, needed {BUDGETS_NEEDED})")

    def curve(self, name: str) -> tuple[Array, Array]:
        """log compute, rising, and mean log value of an arm's budgets, (K,)."""
        mine = self.where(self.of(name))
        _, first_K, number_N = np.unique(mine.stratum_N, return_index=True, return_inverse=True)
        mean_K = np.bincount(number_N, np.log(mine.value_N)) / np.bincount(number_N)
        order_K = np.argsort(mine.compute_N[first_K])
        return np.log(mine.compute_N[first_K])[order_K], mean_K[order_K]


def gather(points: list[tuple[str, float, float, float, int]]) -> Runs:
    """Runs from (arm, budget, FLOPs spent, value, seed), arms in order of appearance."""
    arms = tuple(dict.fromkeys(point[0] for point in points))
    strata = list(dict.fromkeys(point[:2] for point in points))
    stratum_N = np.array([strata.index(point[:2]) for point in points], dtype=np.int64)
    spent_N = np.array([point[2] for point in points])
    return Runs(
        arms=arms,
        arm_N=np.array([arms.index(point[0]) for point in points], dtype=np.int64),
        compute_N=np.array([spent_N[stratum_N == stratum].mean() for stratum in stratum_N]),
        stratum_N=stratum_N,
        seed_N=np.array([point[4] for point in points], dtype=np.int64),
        value_N=np.array([point[3] for point in points]),
    )


def by_seed(rows_R: Array) -> Estimate:
    """Mean and interval of a quantity over the seeds that have it; row 0, of all runs, is left out."""
    known_S = rows_R[1:][np.isfinite(rows_R[1:])]
    return over_seeds(known_S if len(known_S) else rows_R[:1])


def exp_by_seed(rows_R: Array) -> Interval:
    """The same of a logarithm, as its exponential."""
    ends = by_seed(rows_R)
    return Interval(
        **{name: float(np.exp(min(getattr(ends, name), 700.0))) for name in ("value", "low", "high")}
    )


def of_all_and_each_seed(runs: Runs, fit: Callable[[Runs], Array]) -> Array:
    """Parameters (R, ...) of a fit to all runs, and to those of each seed; not a number where it has none."""
    first = fit(runs)
    parts = [
        fit(mine) if len((mine := runs.of_seed(seed)).arm_N) else np.full_like(first, np.nan)
        for seed in runs.seeds
    ]
    return np.stack([first, *parts])


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Least-squares slopes of log loss against log compute, the paper's scaling rate, for A arms."""

    runs: Runs
    slope_RA: Array

    def slope(self, arm: str) -> Array:
        """Slope of an arm (R,)."""
        return self.slope_RA[:, self.runs.arms.index(arm)]


def lines(runs: Runs) -> Lines:
    """A straight line per arm.

    Raises:
        NotEnough: an arm with too few budgets.
    """
    runs.require_budgets()

    def fit(mine: Runs) -> Array:
        slope_A = np.full(len(runs.arms), np.nan)
        for i in np.unique(mine.arm_N):
            x, y = np.log(mine.compute_N[mine.arm_N == i]), np.log(mine.value_N[mine.arm_N == i])
            slope_A[i] = np.polyfit(x - x.mean(), y, 1)[0]
        return slope_A

    return Lines(runs=runs, slope_RA=of_all_and_each_seed(runs, fit))


def rises(runs: Runs, name: str) -> bool:
    """Whether every seed's loss of an arm is higher at its largest budget than at the one before."""
    parts = [runs.of_seed(seed) for seed in runs.seeds]
    ends = [part.curve(name)[1] for part in parts if part.budgets(name) >= BUDGETS_NEEDED]
    return bool(ends) and all(y_K[-1] > y_K[-2] for y_K in ends)


def log_multipliers(runs: Runs, arm: str, baseline: str, at: float = np.inf) -> tuple[Array, bool]:
    """log of C_baseline / C_arm at equal loss, of all runs and of each seed (R,); and whether it is a bound.

    The loss is the larger of the two at `at` FLOPs, or at the largest compute that both have if that is less,
    so that the better arm reaches it within its own range. Where a curve first reaches it is read from a
    monotone cubic through its points in log-log (Fritsch and Carlson 1980): no law is assumed between them.
    An arm that is below that loss from its first budget on reaches it there at the latest: a bound. Not a
    number where the arms have no compute in common.
    """
    rows, bound = [], False
    for mine in (runs, *map(runs.of_seed, runs.seeds)):
        if any(mine.budgets(name) < BUDGETS_NEEDED for name in (arm, baseline)):
            rows.append(np.nan)
            continue
        curves = [mine.curve(name) for name in (arm, baseline)]
        top = min(np.log(at), *(x_K[-1] for x_K, _ in curves))
        if top <= max(x_K[0] for x_K, _ in curves):
            rows.append(np.nan)
            continue
        dense = [
            (grid_G := np.linspace(x[0], top, BETWEEN * len(x)), PchipInterpolator(x, y)(grid_G))
            for x, y in curves
        ]
        goal = max(y_G[-1] for _, y_G in dense)
        first = [int(np.argmax(y_G <= goal)) for _, y_G in dense]
        bound |= 0 in first
        mine_at, theirs_at = (float(x_G[i]) for (x_G, _), i in zip(dense, first, strict=True))
        rows.append(theirs_at - mine_at)
    return np.array(rows), bound


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """L = E + A C^-alpha, for R rows and A arms."""

    variant: str
    runs: Runs
    centre: float
    """log C about which `log_scale` is taken; keeps scale and exponent nearly uncorrelated."""
    log_floor_RA: Array
    """log E; minus infinity for the variant `zero`."""
    log_scale_RA: Array
    """log of A C^-alpha at the centre."""
    alpha_RA: Array

    def log_loss(self, arm: str, compute_G: Array) -> Array:
        """Fitted log loss (R, G)."""
        i = self.runs.arms.index(arm)
        u = np.log(compute_G)[None, :] - self.centre
        return np.logaddexp(
            self.log_floor_RA[:, i, None], self.log_scale_RA[:, i, None] - self.alpha_RA[:, i, None] * u
        )

    def log_compute(self, arm: str, log_loss_R: Array) -> Array:
        """log of the compute at which an arm's curve reaches a loss, (R,)."""
        i = self.runs.arms.index(arm)
        gap = np.maximum(-np.expm1(self.log_floor_RA[:, i] - log_loss_R), 1e-300)
        return self.centre + (self.log_scale_RA[:, i] - log_loss_R - np.log(gap)) / self.alpha_RA[:, i]

    def alpha(self, arm: str) -> Array:
        """Exponent of an arm (R,)."""
        return self.alpha_RA[:, self.runs.arms.index(arm)]

    def at_bound(self, *arms: str) -> bool:
        """Whether the fit to all runs left an exponent at a bound: no curve was resolved."""
        alphas = self.alpha_RA[0, [self.runs.arms.index(arm) for arm in arms]]
        return bool(np.any(alphas <= ALPHA[0] * 1.01) or np.any(alphas >= ALPHA[1] * 0.99))

    def without_floor(self, *arms: str) -> bool:
        """Whether the fit to all runs left E at its lower bound: no irreducible loss was resolved."""
        floors = self.log_floor_RA[0, [self.runs.arms.index(arm) for arm in arms]]
        lowest = np.log(self.runs.value_N.min())
        return bool(np.any(floors <= lowest + np.log(FLOOR * 1.01)) and self.variant != "zero")

    def lack_of_fit(self, *arms: str) -> float:
        """p-value of the law's description of some arms' curves, 1 where no budget has two seeds.

        How far budgets' means lie from the least-squares curves, against the runs' own spread: an F test. The
        spread is what is left of an arm's runs less the means of their budget and of their seed, since a seed
        that is better throughout is no misfit.
        """
        runs = self.runs.where(self.runs.of(*arms))
        _, arm_N = np.unique(runs.arm_N, return_inverse=True)
        y_N, u_N = np.log(runs.value_N), np.log(runs.compute_N) - self.centre
        model = PowerLawModel(arm_N=arm_N, u_N=u_N, arms=len(arms), variant=self.variant)
        curve_N = model(model.fit(y_N[None], delta=1e3), False)[0][0]
        spread = degrees = apart = 0.0
        for arm in np.unique(arm_N):
            own_N = arm_N == arm
            design = np.concatenate([_dummies(runs.stratum_N[own_N]), _dummies(runs.seed_N[own_N])], axis=1)
            left_N = y_N[own_N] - design @ np.linalg.lstsq(design, y_N[own_N], rcond=None)[0]
            spread += float(left_N @ left_N)
            degrees += len(left_N) - np.linalg.matrix_rank(design)
        budgets = np.unique(runs.stratum_N)
        for stratum in budgets:
            here_N = runs.stratum_N == stratum
            apart += here_N.sum() * float((y_N - curve_N)[here_N].mean()) ** 2
        free = len(budgets) - model.floors - 2 * len(arms)
        if degrees < 1 or free < 1 or spread == 0:
            return 1.0
        return float(special.fdtrc(free, degrees, (apart / free) / (spread / degrees)))

    def log_multiplier(self, arm: str, baseline: str) -> tuple[Array, bool]:
        """log of C_baseline / C_arm at equal fitted loss, (R,), and whether row 0 leaves the measured range.

        The loss is the larger of the two fitted losses at the largest compute both have.
        """
        low, top = self.runs.span(arm, baseline)
        goal = np.maximum(*(self.log_loss(name, np.array([top]))[:, 0] for name in (arm, baseline)))
        mine, theirs = self.log_compute(arm, goal), self.log_compute(baseline, goal)
        outside = min(mine[0], theirs[0]) < np.log(low) - 1e-9
        # A flat curve reaches a loss at any compute; the clip keeps exp() finite and changes no verdict.
        return np.clip(theirs - mine, -50.0, 50.0), bool(outside)

    def log_crossover(self, arm: str, baseline: str) -> tuple[Array, bool]:
        """log of the compute where two curves of one shared E cross, (R,); is row 0 outside the range?

        Not finite where the exponents are equal.
        """
        i, j = self.runs.arms.index(arm), self.runs.arms.index(baseline)
        rate = self.alpha(arm) - self.alpha(baseline)
        with np.errstate(divide="ignore", invalid="ignore"):
            cross = self.centre + (self.log_scale_RA[:, i] - self.log_scale_RA[:, j]) / rate
        low, high = np.log(self.runs.span(arm, baseline))
        return cross, not bool(low <= cross[0] <= high)


def _dummies(number_N: NDArray[np.int64]) -> Array:
    """One column per number, 1 where a run has it."""
    return (number_N[:, None] == np.unique(number_N)[None, :]).astype(float)


def power_law(runs: Runs, variant: str = "shared") -> PowerLaw:
    """Fit L = E + A C^-alpha to every arm together: to all runs, and to those of each seed.

    Raises:
        NotEnough: an arm with too few budgets.
        ValueError: a loss that is not positive, or an unknown variant.
    """
    runs.require_budgets()
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    if not np.all(runs.value_N > 0):
        raise ValueError("a power law needs losses above 0")
    centre = float(np.log(runs.compute_N).mean())

    parts = [runs, *map(runs.of_seed, runs.seeds)]
    rows_3RA = np.full((3, len(parts), len(runs.arms)), np.nan)
    # Seeds that were run alike are fitted in one batch.
    alike: dict[tuple[int, ...], list[int]] = {}
    for row, part in enumerate(parts):
        if len(part.arm_N):
            alike.setdefault(tuple(part.stratum_N.tolist()), []).append(row)
    for rows in alike.values():
        there, arm_N = np.unique(parts[rows[0]].arm_N, return_inverse=True)
        u_N = np.log(parts[rows[0]].compute_N) - centre
        model = PowerLawModel(arm_N=arm_N, u_N=u_N, arms=len(there), variant=variant)
        theta_BP = model.fit(np.log([parts[row].value_N for row in rows]))
        rows_3RA[np.ix_(range(3), rows, there.tolist())] = model.split(theta_BP)
    floor, scale, alpha = rows_3RA
    law = {"log_floor_RA": floor, "log_scale_RA": scale, "alpha_RA": alpha}
    return PowerLaw(variant=variant, runs=runs, centre=centre, **law)
