"""Scaling fits of loss against training compute.

* `lines`: the paper's reading, a straight line through log loss against log compute, one per arm.
* `PowerLaw`: L = E + A C^-alpha for all arms together, one E shared (or one each, or none), in log
  space by logsumexp with the summed Huber loss, as Hoffmann et al. 2022 (appendix D.3, delta 1e-3).

Bounded metrics have compare/stats/sigmoid.py instead.

Every fit is one value of the parameters plus B bootstrap draws of them, kept in one array whose row
0 is the fit itself; whatever is derived (multiplier, crossover, band) is derived for all rows.

Shapes: A arms, N runs, R = 1 + B rows, G grid points. Compute is in FLOPs, loss in nats per token.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compare.stats.intervals import flip, resample, satterthwaite
from compare.stats.least_squares import Array, HuberFit

DELTA = 1e-3
"""Huber's threshold on log loss (Hoffmann et al. 2022)."""

SPREAD = 1.2
"""Cap on the degrees of freedom, in units of sqrt(runs): Huber's fit behaves like a median, and only nearby
runs inform its variance. Measured by `python -m benchmarks.spread` (docs/calibration.md)."""

BUDGETS_NEEDED = 3
"""A power law has three parameters per arm; fewer budgets cannot tell it from anything."""

VARIANTS = ("shared", "free", "zero")
"""What the irreducible loss E is: one for all arms, one for each, or none."""

MISFIT = 0.2
"""Distance of a budget's mean log loss from the curve beyond which the law does not describe an arm."""

ALPHA = (1e-3, 3.0)
"""Bounds of the exponent. At the lower one a curve is flat over any range a store can hold."""


class NotEnough(ValueError):
    """There are too few budgets to fit. The message says which arm has how many."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One metric of many runs: arms, budgets and values, in parallel arrays of length N."""

    arms: tuple[str, ...]
    arm_N: NDArray[np.int64]
    """Index into `arms`."""
    compute_N: Array
    """FLOPs spent, the mean of the run's (arm, budget) stratum."""
    stratum_N: NDArray[np.int64]
    """Number of the run's (arm, budget) stratum."""
    value_N: Array

    def of(self, *names: str) -> NDArray[np.bool_]:
        """Which runs are those of the named arms."""
        return np.isin(self.arm_N, [self.arms.index(name) for name in names])

    def degrees(self, name: str) -> int:
        """Runs beyond one in each stratum of an arm: what is left to judge its spread by."""
        return int(self.of(name).sum()) - self.budgets(name)

    def effective_degrees(self, influence_N: Array) -> float:
        """Degrees of freedom of a quantity whose change with each run's value is given."""
        _, number_N, sizes = np.unique(self.stratum_N, return_inverse=True, return_counts=True)
        return satterthwaite(np.bincount(number_N, weights=influence_N).astype(float), sizes)

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


def gather(points: list[tuple[str, float, float, float]]) -> Runs:
    """Runs from (arm, budget, FLOPs spent, value), arms in order of appearance."""
    arms = tuple(dict.fromkeys(point[0] for point in points))
    strata = list(dict.fromkeys(point[:2] for point in points))
    stratum_N = np.array([strata.index(point[:2]) for point in points], dtype=np.int64)
    spent_N = np.array([flops for _, _, flops, _ in points])
    return Runs(
        arms=arms,
        arm_N=np.array([arms.index(point[0]) for point in points], dtype=np.int64),
        compute_N=np.array([spent_N[stratum_N == stratum].mean() for stratum in stratum_N]),
        stratum_N=stratum_N,
        value_N=np.array([value for _, _, _, value in points]),
    )


def bootstrap_rows(runs: Runs, values_N: Array, draws: int, rng: np.random.Generator) -> Array:
    """The values themselves (row 0), then bootstrap draws of them: (R, N)."""
    drawn = resample(values_N, runs.stratum_N, runs.arm_N, draws, rng)
    return np.concatenate([values_N[None], drawn])


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Least-squares slopes of log loss against log compute, the paper's scaling rate, for A arms."""

    runs: Runs
    slope_RA: Array

    def slope(self, arm: str) -> Array:
        """Slope of an arm (R,)."""
        return self.slope_RA[:, self.runs.arms.index(arm)]

    def degrees(self, *arms: str) -> float:
        """Degrees of freedom of an arm's slope, or of the ratio of two; 0 as in `PowerLaw.degrees`."""
        runs = self.runs
        if not all(runs.degrees(arm) for arm in arms):
            return 0.0
        influence_N = np.zeros(len(runs.arm_N))
        for arm in arms:
            inside_N = runs.of(arm)
            x = np.log(runs.compute_N[inside_N]) - np.log(runs.compute_N[inside_N]).mean()
            # Relative change: that of a ratio is the difference of the two.
            influence_N[inside_N] = x / (x @ x) / self.slope(arm)[0]
        chosen_N = runs.of(*arms)
        chosen = replace(runs, arm_N=runs.arm_N[chosen_N], stratum_N=runs.stratum_N[chosen_N])
        return chosen.effective_degrees(influence_N[chosen_N])


def lines(runs: Runs, draws: int, rng: np.random.Generator) -> Lines:
    """A straight line per arm, with bootstrap refits.

    Raises:
        NotEnough: an arm with too few budgets.
    """
    runs.require_budgets()
    y_RN = bootstrap_rows(runs, np.log(runs.value_N), draws, rng)
    x_N = np.log(runs.compute_N)
    slope_RA = np.empty((len(y_RN), len(runs.arms)))
    for i, arm in enumerate(runs.arms):
        inside_N = runs.of(arm)
        x = x_N[inside_N] - x_N[inside_N].mean()
        slope_RA[:, i] = y_RN[:, inside_N] @ x / (x @ x)
    return Lines(runs=runs, slope_RA=slope_RA)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """L = E + A C^-alpha, for R parameter draws and A arms."""

    variant: str
    runs: Runs
    centre: float
    """log C about which `log_scale` is taken; keeps scale and exponent nearly uncorrelated."""
    log_floor_RA: Array
    """log E; minus infinity for the variant `zero`."""
    log_scale_RA: Array
    """log of A C^-alpha at the centre."""
    alpha_RA: Array
    objective: float
    """Summed Huber loss of row 0."""
    theta_RP: Array
    """The parameters themselves, in the order of PowerLawModel."""
    influence_PN: Array
    """How far each run's log loss moves each parameter, by the fit's Jacobian."""

    def degrees(self, rows_R: Array, *arms: str) -> float:
        """Degrees of freedom of a quantity of the named arms, given as the fit's value and its draws (R,).

        Its gradient in the parameters is that of the draws, by least squares; with it come every run's
        influence (taken as that of least squares) and Satterthwaite's degrees. No more than SPREAD times the
        root of the arms' runs. 0 if one of the arms has single runs only, whose spread nothing tells.
        """
        if not all(self.runs.degrees(arm) for arm in arms):
            return 0.0
        moves_BP, moved_B = self.theta_RP[1:] - self.theta_RP[0], rows_R[1:] - rows_R[0]
        finite = np.isfinite(moved_B)
        gradient_P = np.linalg.lstsq(moves_BP[finite], moved_B[finite], rcond=None)[0]
        most = SPREAD * float(np.sqrt(self.runs.of(*arms).sum()))
        return min(self.runs.effective_degrees(gradient_P @ self.influence_PN), most)

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
        """Whether the fit left an exponent at a bound: no curve was resolved."""
        alphas = self.alpha_RA[0, [self.runs.arms.index(arm) for arm in arms]]
        return bool(np.any(alphas <= ALPHA[0] * 1.01) or np.any(alphas >= ALPHA[1] * 0.99))

    def misfit(self, *arms: str) -> float:
        """Largest distance of a budget's mean log loss from the curve, over the arms' budgets."""
        worst = 0.0
        for stratum in np.unique(self.runs.stratum_N[self.runs.of(*arms)]):
            inside = self.runs.stratum_N == stratum
            arm, compute = self.runs.arms[self.runs.arm_N[inside][0]], self.runs.compute_N[inside][:1]
            fitted = float(self.log_loss(arm, compute)[0, 0])
            worst = max(worst, abs(float(np.log(self.runs.value_N[inside]).mean()) - fitted))
        return worst

    def log_multiplier(self, arm: str, baseline: str) -> tuple[Array, bool]:
        """log of C_baseline / C_arm at equal loss, (R,), and whether row 0 leaves the measured range.

        The loss is the larger of the two fitted losses at the largest compute both have, so that the
        better arm reaches it earlier, inside its own range if that is long enough.
        """
        low, top = self.runs.span(arm, baseline)
        reach = [self.log_loss(name, np.array([top]))[:, 0] for name in (arm, baseline)]
        goal = np.maximum(*reach)
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


def power_law(runs: Runs, draws: int, rng: np.random.Generator, variant: str = "shared") -> PowerLaw:
    """Fit L = E + A C^-alpha to every arm together, with `draws` bootstrap refits started at the fit.

    Draws lie around the fitted curve, not around the means of its budgets: Huber's loss of a small
    threshold follows medians, and refits around means scatter about another estimate, nearer to least
    squares, than the one that is quoted (docs/calibration.md).

    Raises:
        NotEnough: an arm with too few budgets.
        ValueError: a loss that is not positive, or an unknown variant.
    """
    runs.require_budgets()
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    if not np.all(runs.value_N > 0):
        raise ValueError("a power law needs losses above 0")
    y_N, x_N = np.log(runs.value_N), np.log(runs.compute_N)
    centre = float(x_N.mean())
    model = PowerLawModel(arm_N=runs.arm_N, u_N=x_N - centre, arms=len(runs.arms), variant=variant)
    lower_P, upper_P = model.bounds(y_N)
    fit = HuberFit(model=model, lower_P=lower_P, upper_P=upper_P, delta=DELTA)
    theta_RP, objective, influence_PN = fit.with_refits(
        model.starts(y_N),
        y_N,
        lambda curve_N: flip(y_N, runs.stratum_N, runs.arm_N, curve_N, draws, rng),
        tolerance=1e-5,
    )
    floor, scale, alpha = model.split(theta_RP)
    return PowerLaw(
        variant=variant,
        runs=runs,
        centre=centre,
        objective=objective,
        log_floor_RA=floor,
        log_scale_RA=scale,
        alpha_RA=alpha,
        theta_RP=theta_RP,
        influence_PN=influence_PN,
    )


@dataclass(frozen=True, kw_only=True)
class PowerLawModel:
    """log(E + A C^-alpha) as a function of theta = (log E of each floor, log scale and alpha of each arm)."""

    arm_N: NDArray[np.int64]
    u_N: Array
    """log C less its mean over the runs."""
    arms: int
    variant: str

    @property
    def floors(self) -> int:
        """Number of parameters that are floors."""
        return {"shared": 1, "free": self.arms, "zero": 0}[self.variant]

    def split(self, theta_RP: Array) -> tuple[Array, Array, Array]:
        """log E, log scale and alpha, each (R, A)."""
        F, A = self.floors, self.arms
        floor = theta_RP[:, :F] if F else np.full((len(theta_RP), 1), -np.inf)
        return np.broadcast_to(floor, (len(theta_RP), A)), theta_RP[:, F : F + A], theta_RP[:, F + A :]

    def __call__(self, theta_RP: Array, derive: bool) -> tuple[Array, Array | None]:
        """Predictions (R, N) and Jacobian (R, N, P), see compare/stats/least_squares.py."""
        floor, scale, alpha = (part[:, self.arm_N] for part in self.split(theta_RP))
        power = scale - alpha * self.u_N
        # log(E + power law) by way of the share that is the power law's, which the Jacobian needs as well;
        # logaddexp would be safe against overflow, and several times slower. Where the floor is so far
        # above that exp() overflows, the share is 0 and the floor itself is the prediction.
        with np.errstate(over="ignore", divide="ignore"):
            share = 1 / (1 + np.exp(floor - power))
            predicted = power - np.log(share)
        predicted = np.where(share > 0, predicted, floor)
        if not derive:
            return predicted, None
        F, A = self.floors, self.arms
        jacobian = np.zeros((*predicted.shape, F + 2 * A))
        runs = np.arange(len(self.u_N))
        if F:
            jacobian[:, runs, self.arm_N if F == A else 0 * self.arm_N] = 1 - share
        jacobian[:, runs, F + self.arm_N] = share
        jacobian[:, runs, F + A + self.arm_N] = -share * self.u_N
        return predicted, jacobian

    def starts(self, y_N: Array) -> Array:
        """A grid of starts: E from nearly nothing to nearly the lowest loss, alpha from slow to fast."""
        middle_A = np.array([y_N[self.arm_N == arm].mean() for arm in range(self.arms)])
        out = []
        for share in (0.02, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97) if self.floors else (0.0,):
            floor = np.log(share) + self._lowest(y_N) if self.floors else np.empty(0)
            for alpha in (0.03, 0.1, 0.2, 0.4, 0.7, 1.2):
                out.append(np.concatenate([floor, middle_A + np.log1p(-share), np.full(self.arms, alpha)]))
        return np.array(out)

    def bounds(self, y_N: Array) -> tuple[Array, Array]:
        """Lower and upper bound of every parameter: E below the lowest loss and above a thousandth of it."""
        A, lowest = self.arms, self._lowest(y_N)
        lower = np.concatenate([lowest - np.log(1000), np.full(A, y_N.min() - 20), np.full(A, ALPHA[0])])
        upper = np.concatenate([lowest, np.full(A, y_N.max() + 5), np.full(A, ALPHA[1])])
        return lower, upper

    def _lowest(self, y_N: Array) -> Array:
        """Lowest log loss of the arms of each floor."""
        lowest_A = np.array([y_N[self.arm_N == arm].min() for arm in range(self.arms)])
        return lowest_A if self.floors == self.arms else lowest_A.min(keepdims=True)[: self.floors]
