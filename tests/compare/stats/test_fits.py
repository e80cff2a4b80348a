"""Scaling fits recover what was planted, with the coverage they claim, and refuse what they cannot know."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize
from scipy.stats import f as f_distribution

from compare.stats import power_law as fits
from compare.stats import power_law_model as model_of
from compare.stats.least_squares import Model, huber
from compare.stats.sigmoid import sigmoid

BUDGETS = np.geomspace(1e11, 1e13, 5)
FLOOR, ZERO = 1.2, 1e11
LAWS = {"base": (3.0, 0.30), "fast": (3.0, 0.34), "same": (3.0, 0.30)}


def loss(arm: str, compute: np.ndarray | float) -> np.ndarray:
    scale, alpha = LAWS[arm]
    return FLOOR + scale * (np.asarray(compute) / ZERO) ** -alpha


def study(
    rng: np.random.Generator, noise: float, arms: tuple[str, ...] = tuple(LAWS), seeds: int = 3
) -> fits.Runs:
    return fits.gather(
        [
            (arm, b, b, float(loss(arm, b)) * float(np.exp(noise * rng.standard_normal())), seed)
            for arm in arms
            for b in BUDGETS
            for seed in range(seeds)
        ]
    )


def true_log_multiplier() -> float:
    """log of C_base / C_fast at the base's loss at the largest budget, from the planted laws."""
    scale, alpha = LAWS["fast"]
    return float(np.log(BUDGETS[-1] / (ZERO * ((loss("base", BUDGETS[-1]) - FLOOR) / scale) ** (-1 / alpha))))


def test_slopes_by_hand() -> None:
    # log10 loss falls 1 in 2 decades for `a` (slope -1/2), 0.5 for `b` (slope -1/4): ratio less 1 is 1.
    points = [
        (arm, c, c, c**-power, 0) for arm, power in (("a", 0.5), ("b", 0.25)) for c in (1.0, 10.0, 100.0)
    ]
    fitted = fits.lines(fits.gather(points))
    assert fitted.slope_RA[0] == pytest.approx([-0.5, -0.25])
    assert fitted.slope("a")[0] / fitted.slope("b")[0] - 1 == pytest.approx(1.0)


def test_slopes_are_least_squares_over_the_runs() -> None:
    runs = study(np.random.default_rng(3), 0.05, ("base",))
    expected = np.polyfit(np.log(runs.compute_N), np.log(runs.value_N), 1)[0]
    assert fits.lines(runs).slope("base")[0] == pytest.approx(expected)


def huber_gradient(
    theta_BP: np.ndarray, target_BN: np.ndarray, model: Model, delta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Loss (B,) and its gradient (B, P), written out for comparison."""
    predicted, jacobian = model(theta_BP, True)
    assert jacobian is not None
    residuals = predicted - target_BN
    slope = np.clip(residuals, -delta, delta)
    return huber(residuals, delta), np.einsum("bn,bnp->bp", slope, jacobian)


def test_huber_by_hand() -> None:
    assert huber(np.array([[0.5, -3.0]]), 1.0)[0] == pytest.approx(0.125 + 2.5)


@pytest.mark.parametrize("variant", fits.VARIANTS)
def test_gradient_of_the_joint_fit_matches_finite_differences(variant: str) -> None:
    runs = study(np.random.default_rng(0), 0.02)
    x = np.log(runs.compute_N)
    model = fits.PowerLawModel(arm_N=runs.arm_N, u_N=x - x.mean(), arms=3, variant=variant)
    y = np.log(runs.value_N)[None]
    # A generous delta keeps the finite differences away from Huber's kinks.
    theta = model.starts(y[0])[20 % len(model.starts(y[0]))]
    error = check_grad(
        lambda t: huber_gradient(t[None], y, model, 0.05)[0][0],
        lambda t: huber_gradient(t[None], y, model, 0.05)[1][0],
        theta,
    )
    assert error < 1e-5


@pytest.mark.parametrize("variant", fits.VARIANTS)
def test_the_batched_solver_finds_the_optimum_of_lbfgs(variant: str) -> None:
    runs = study(np.random.default_rng(1), 0.01)
    fit = fits.power_law(runs, variant)
    model = fits.PowerLawModel(
        arm_N=runs.arm_N, u_N=np.log(runs.compute_N) - fit.centre, arms=3, variant=variant
    )
    y = np.log(runs.value_N)
    lower, upper = model.bounds(y)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = huber_gradient(theta[None], y[None], model, model_of.DELTA)
        return float(value[0]), gradient[0]

    options = {"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-10}
    bounds = list(zip(lower, upper, strict=True))
    best = min(
        minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun
        for start in model.starts(y)[::4]
    )
    floors, scales, alphas = fit.log_floor_RA[0], fit.log_scale_RA[0], fit.alpha_RA[0]
    theta = np.concatenate([floors[: model.floors], scales, alphas])
    assert objective(theta)[0] == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("variant", ["shared", "free"])
def test_planted_exponents_are_recovered_exactly_without_noise(variant: str) -> None:
    fit = fits.power_law(study(np.random.default_rng(0), 0.0), variant)
    assert fit.alpha_RA[0] == pytest.approx([0.30, 0.34, 0.30], abs=2e-3)
    assert np.exp(fit.log_floor_RA[0]) == pytest.approx(FLOOR, abs=0.01)
    value, outside = fit.log_multiplier("fast", "base")
    assert value[0] == pytest.approx(true_log_multiplier(), abs=0.01)
    assert not outside
    back, _ = fit.log_multiplier("base", "fast")
    assert back[0] == pytest.approx(-value[0])


def test_a_multiplier_beyond_the_measured_range_is_marked() -> None:
    points = [("base", b, b, float(loss("base", b)), 0) for b in BUDGETS]
    points += [("far", b, b, float(loss("base", b * 1000)), 0) for b in BUDGETS]
    fit = fits.power_law(fits.gather(points))
    value, outside = fit.log_multiplier("far", "base")
    assert outside
    assert np.exp(value[0]) == pytest.approx(1000, rel=0.2)


def test_the_crossover_is_found_and_marked_when_beyond_the_range() -> None:
    def points(shift: float) -> fits.Runs:
        rows = [("base", b, b, 1 + 2 * (b / (ZERO * shift)) ** -0.3, 0) for b in BUDGETS]
        return fits.gather(rows + [("fast", b, b, 1 + 2 * (b / (ZERO * shift)) ** -0.5, 0) for b in BUDGETS])

    inside, beyond = fits.power_law(points(3)).log_crossover("fast", "base")
    assert np.exp(inside[0]) == pytest.approx(3e11, rel=0.05)
    assert not beyond
    assert fits.power_law(points(1e4)).log_crossover("fast", "base")[1]


def test_a_flat_curve_is_marked_as_unresolved() -> None:
    runs = fits.gather([(arm, b, b, 2.0, 0) for arm in ("base", "flat") for b in BUDGETS])
    assert fits.power_law(runs).at_bound("flat", "base")


def test_two_budgets_are_not_enough() -> None:
    runs = fits.gather([("base", b, b, float(loss("base", b)), 0) for b in BUDGETS[:2]])
    for fit in (fits.power_law, fits.lines, sigmoid):
        with pytest.raises(fits.NotEnough, match="base: not enough budgets"):
            fit(runs)


def test_losses_of_zero_and_unknown_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        fits.power_law(fits.gather([("a", b, b, 0.0, 0) for b in BUDGETS]))
    with pytest.raises(ValueError, match="variant"):
        fits.power_law(study(np.random.default_rng(0), 0.0), "cubic")


@pytest.mark.parametrize(("noise", "of_seed", "of_arm_and_seed"), [(0.005, 0.0, 0.0), (0.003, 0.01, 0.005)])
def test_intervals_cover_the_planted_truth_whatever_seeds_share(
    noise: float, of_seed: float, of_arm_and_seed: float
) -> None:
    """Noise of each run by itself; what a seed shares with all arms; and what it shares with one arm."""
    rng, studies, held = np.random.default_rng(11), 40, np.zeros(2)
    for _ in range(studies):
        runs = study(rng, noise, ("base", "fast"))
        effects = of_seed * rng.standard_normal((1, 3)) + of_arm_and_seed * rng.standard_normal((2, 3))
        runs = replace(runs, value_N=runs.value_N * np.exp(effects[runs.arm_N, runs.seed_N]))
        fit = fits.power_law(runs)
        exponent = fits.by_seed(fit.alpha("fast") - fit.alpha("base"))
        multiplier = fits.by_seed(fits.log_multipliers(runs, "fast", "base")[0])
        for i, (e, truth) in enumerate(((exponent, 0.04), (multiplier, true_log_multiplier()))):
            held[i] += e.low <= truth <= e.high
            assert (e.n, e.degrees) == (3, 2)
    assert (held / studies >= 0.87).all(), held


def test_what_seeds_share_does_not_widen_a_difference() -> None:
    rng = np.random.default_rng(2)
    runs = study(rng, 0.002, ("base", "fast"))
    shared = replace(runs, value_N=runs.value_N * np.exp(0.02 * rng.standard_normal(3))[runs.seed_N])
    widths = []
    for each in (runs, shared):
        e = fits.by_seed(fits.log_multipliers(each, "fast", "base")[0])
        widths.append(e.high - e.low)
    # It is ten times the runs' noise.
    assert widths[1] < 1.5 * widths[0]


def test_a_multiplier_is_read_between_the_points_without_a_law() -> None:
    """Straight lines in log-log, where the monotone cubic is exact: four times the compute at any loss."""

    def points(seed: int, factor: float) -> list[tuple[str, float, float, float, int]]:
        slow = [("slow", b, b, b**-0.1, seed) for b in BUDGETS]
        return slow + [("quick", b, b, (factor * b) ** -0.1, seed) for b in BUDGETS]

    runs = fits.gather([*points(0, 4.0), *points(1, 2.0)])
    rows, bound = fits.log_multipliers(runs, "quick", "slow")
    assert not bound
    assert np.exp(rows[1:]) == pytest.approx([4.0, 2.0], rel=5e-3)
    assert rows[0] == pytest.approx(np.log(8) / 2, abs=5e-3)
    assert fits.log_multipliers(runs, "slow", "quick")[0] == pytest.approx(-rows, abs=5e-3)
    estimate = fits.by_seed(rows)
    assert estimate.value == pytest.approx(np.log(8) / 2, abs=5e-3)
    # t of one degree, 12.706, times half of the two seeds' distance.
    assert estimate.high - estimate.value == pytest.approx(12.706 * np.log(2) / 2, rel=0.02)
    # At a smaller budget the same, and beyond the range of the better arm a bound.
    assert np.exp(fits.log_multipliers(runs, "quick", "slow", at=BUDGETS[3])[0][1]) == pytest.approx(
        4, rel=5e-3
    )
    rows, bound = fits.log_multipliers(fits.gather(points(0, 1e4)), "quick", "slow")
    assert bound
    assert np.exp(rows[1]) == pytest.approx(BUDGETS[-1] / BUDGETS[0])


def test_a_sudden_fall_is_crossed_where_it_is() -> None:
    """Losses of a step: the law cannot say where it is, the points can."""
    early = [("early", b, b, 1.0 if b > 2e11 else 2.0, 0) for b in BUDGETS]
    late = [("late", b, b, 1.0 if b > 2e12 else 2.0, 0) for b in BUDGETS]
    rows, _ = fits.log_multipliers(fits.gather(early + late), "early", "late")
    assert np.exp(rows[1]) == pytest.approx(10, rel=0.01)


def test_a_seed_that_lacks_an_arm_or_its_budgets_has_no_number() -> None:
    runs = study(np.random.default_rng(3), 0.01, seeds=4)
    few = (runs.seed_N == 1) & runs.of("fast") & (runs.compute_N > BUDGETS[1])
    none = (runs.seed_N == 2) & runs.of("fast")
    kept = runs.where(~few & ~none)
    fit = fits.power_law(kept)
    assert np.isnan(fit.alpha("fast")).tolist() == [False, False, True, True, False]
    assert np.isfinite(fit.alpha("same")).all()
    assert fits.by_seed(fit.alpha("fast") - fit.alpha("base")).n == 2
    assert np.isnan(fits.lines(kept).slope("fast")).tolist() == [False, False, True, True, False]
    assert np.isnan(fits.log_multipliers(kept, "fast", "base")[0]).tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]
    alone = fits.by_seed(fits.power_law(runs.where(runs.seed_N == 0)).alpha("base"))
    assert (alone.n, alone.single_run, alone.high) == (1, True, np.inf)


def test_lack_of_fit_is_an_f_test_against_the_runs_own_spread() -> None:
    """A slow reference; what a seed shares leaves it alone; p-values of true laws are even."""
    rng = np.random.default_rng(4)
    runs = study(rng, 0.01, ("base",))
    fit = fits.power_law(runs)
    x, y = np.log(BUDGETS), np.log(runs.value_N).reshape(5, 3)

    def curve(theta: np.ndarray) -> np.ndarray:
        return np.logaddexp(theta[0], theta[1] - theta[2] * (x - fit.centre))

    start = [fit.log_floor_RA[0, 0], fit.log_scale_RA[0, 0], fit.alpha_RA[0, 0]]
    settings = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 9999}
    best = minimize(
        lambda t: ((y - curve(t)[:, None]) ** 2).sum(), start, method="Nelder-Mead", options=settings
    ).x
    apart = 3 * sum((y[k].mean() - curve(best)[k]) ** 2 for k in range(5)) / 2
    left = [y[k, s] - y[k].mean() - y[:, s].mean() + y.mean() for k in range(5) for s in range(3)]
    expected = f_distribution.sf(apart / (sum(r**2 for r in left) / 8), 2, 8)
    assert fit.lack_of_fit("base") == pytest.approx(expected, rel=1e-3)
    moved = replace(runs, value_N=runs.value_N * np.array([0.9, 1.0, 1.1])[runs.seed_N])
    assert fits.power_law(moved).lack_of_fit("base") == pytest.approx(expected, rel=1e-3)
    values = [
        fits.power_law(study(rng, 0.005, ("base", "fast"))).lack_of_fit("base", "fast") for _ in range(60)
    ]
    assert sum(p < 0.05 for p in values) <= 8
    assert 0.3 < np.mean(values) < 0.7
    alone = runs.where(runs.seed_N == 0)
    assert fits.power_law(alone).lack_of_fit("base") == 1.0


@pytest.mark.parametrize("factor", [1.04, 0.96])
def test_a_curve_that_the_law_does_not_describe_is_told_by_its_lack_of_fit(factor: float) -> None:
    """One budget 4% off, with noise of half a per cent."""
    rng = np.random.default_rng(5)
    runs = study(rng, 0.005, ("base",))
    dented = replace(runs, value_N=np.where(runs.compute_N == BUDGETS[2], factor, 1.0) * runs.value_N)
    assert fits.power_law(runs).lack_of_fit("base") > 0.05
    assert fits.power_law(dented).lack_of_fit("base") < 0.01


def test_a_floor_that_was_not_resolved_is_marked() -> None:
    straight = fits.gather([("base", b, b, (b / ZERO) ** -0.2, 0) for b in BUDGETS])
    assert fits.power_law(straight).without_floor("base")
    assert not fits.power_law(straight, "zero").without_floor("base")
    assert not fits.power_law(study(np.random.default_rng(0), 0.0)).without_floor("base")


def test_a_planted_sigmoid_is_recovered_with_its_interval() -> None:
    rng = np.random.default_rng(4)
    truth = 0.8 / (1 + (1e12 / BUDGETS) ** 1.5)
    points = [("a", b, b, float(t), 0) for b, t in zip(BUDGETS, truth, strict=True)]
    clean = sigmoid(fits.gather(points))
    assert clean.ceiling_R[0] == pytest.approx(0.8, abs=0.005)
    assert np.exp(clean.log_mid_R[0]) == pytest.approx(1e12, rel=0.02)
    assert clean.steepness_R[0] == pytest.approx(1.5, rel=0.02)
    assert clean.accuracy(BUDGETS)[0] == pytest.approx(truth, abs=1e-3)
    points = [
        ("a", b, b, float(t) + 0.01 * rng.standard_normal(), seed)
        for b, t in zip(BUDGETS, truth, strict=True)
        for seed in range(5)
    ]
    ceiling = sigmoid(fits.gather(points)).ceiling
    assert ceiling.low <= 0.8 <= ceiling.high
    assert ceiling.high - ceiling.low < 0.2
    above = sigmoid(fits.gather([(a, b, x, min(y + 0.2, 1.0), seed) for a, b, x, y, seed in points])).ceiling
    assert above.high == 1.0
