"""Scaling fits recover what was planted, with the coverage they claim, and refuse what they cannot know."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize

from compare.stats import intervals as stats
from compare.stats import power_law as fits
from compare.stats.least_squares import HuberFit, Model, huber
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
            (arm, b, b, float(loss(arm, b)) * float(np.exp(noise * rng.standard_normal())))
            for arm in arms
            for b in BUDGETS
            for _ in range(seeds)
        ]
    )


def true_log_multiplier() -> float:
    """log of C_base / C_fast at the base's loss at the largest budget, from the planted laws."""
    scale, alpha = LAWS["fast"]
    return float(np.log(BUDGETS[-1] / (ZERO * ((loss("base", BUDGETS[-1]) - FLOOR) / scale) ** (-1 / alpha))))


def test_slopes_by_hand() -> None:
    # log10 loss falls 1 in 2 decades for `a` (slope -1/2), 0.5 for `b` (slope -1/4): ratio less 1 is 1.
    points = [("a", c, c, c**-0.5) for c in (1.0, 10.0, 100.0)] + [
        ("b", c, c, c**-0.25) for c in (1.0, 10.0, 100.0)
    ]
    fitted = fits.lines(fits.gather(points), 0, np.random.default_rng(0))
    assert fitted.slope_RA[0] == pytest.approx([-0.5, -0.25])
    assert fitted.slope("a")[0] / fitted.slope("b")[0] - 1 == pytest.approx(1.0)


def test_slopes_are_least_squares_over_the_runs() -> None:
    runs = study(np.random.default_rng(3), 0.05, ("base",))
    expected = np.polyfit(np.log(runs.compute_N), np.log(runs.value_N), 1)[0]
    assert fits.lines(runs, 0, np.random.default_rng(0)).slope("base")[0] == pytest.approx(expected)


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
    fit = fits.power_law(runs, 0, np.random.default_rng(0), variant)
    model = fits.PowerLawModel(
        arm_N=runs.arm_N, u_N=np.log(runs.compute_N) - fit.centre, arms=3, variant=variant
    )
    y = np.log(runs.value_N)
    lower, upper = model.bounds(y)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = huber_gradient(theta[None], y[None], model, fits.DELTA)
        return float(value[0]), gradient[0]

    options = {"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-10}
    bounds = list(zip(lower, upper, strict=True))
    best = min(
        minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun
        for start in model.starts(y)[::4]
    )
    assert fit.objective == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("variant", ["shared", "free"])
def test_planted_exponents_are_recovered_exactly_without_noise(variant: str) -> None:
    fit = fits.power_law(study(np.random.default_rng(0), 0.0), 0, np.random.default_rng(0), variant)
    assert fit.alpha_RA[0] == pytest.approx([0.30, 0.34, 0.30], abs=2e-3)
    assert np.exp(fit.log_floor_RA[0]) == pytest.approx(FLOOR, abs=0.01)
    value, outside = fit.log_multiplier("fast", "base")
    assert value[0] == pytest.approx(true_log_multiplier(), abs=0.01)
    assert not outside
    back, _ = fit.log_multiplier("base", "fast")
    assert back[0] == pytest.approx(-value[0])


def test_a_multiplier_beyond_the_measured_range_is_marked() -> None:
    points = [("base", b, b, float(loss("base", b))) for b in BUDGETS]
    points += [("far", b, b, float(loss("base", b * 1000))) for b in BUDGETS]
    fit = fits.power_law(fits.gather(points), 0, np.random.default_rng(0))
    value, outside = fit.log_multiplier("far", "base")
    assert outside
    assert np.exp(value[0]) == pytest.approx(1000, rel=0.2)


def test_the_crossover_is_found_and_marked_when_beyond_the_range() -> None:
    def points(shift: float) -> fits.Runs:
        rows = [("base", b, b, 1 + 2 * (b / (ZERO * shift)) ** -0.3) for b in BUDGETS]
        return fits.gather(rows + [("fast", b, b, 1 + 2 * (b / (ZERO * shift)) ** -0.5) for b in BUDGETS])

    inside, beyond = fits.power_law(points(3), 0, np.random.default_rng(0)).log_crossover("fast", "base")
    assert np.exp(inside[0]) == pytest.approx(3e11, rel=0.05)
    assert not beyond
    assert fits.power_law(points(1e4), 0, np.random.default_rng(0)).log_crossover("fast", "base")[1]


def test_a_flat_curve_is_marked_as_unresolved() -> None:
    runs = fits.gather([(arm, b, b, 2.0) for arm in ("base", "flat") for b in BUDGETS])
    assert fits.power_law(runs, 0, np.random.default_rng(0)).at_bound("flat", "base")


def test_two_budgets_are_not_enough() -> None:
    runs = fits.gather([("base", b, b, float(loss("base", b))) for b in BUDGETS[:2]])
    for fit in (fits.power_law, fits.lines, sigmoid):
        with pytest.raises(fits.NotEnough, match="base: not enough budgets"):
            fit(runs, 10, np.random.default_rng(0))


def test_losses_of_zero_and_unknown_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        fits.power_law(fits.gather([("a", b, b, 0.0) for b in BUDGETS]), 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="variant"):
        fits.power_law(study(np.random.default_rng(0), 0.0), 0, np.random.default_rng(0), "cubic")


def test_intervals_cover_the_planted_truth_and_a_against_a_is_rarely_decided() -> None:
    rng = np.random.default_rng(11)
    studies, multiplier, exponent, false_alarms = 60, 0, 0, 0
    for _ in range(studies):
        fit = fits.power_law(study(rng, 0.01), 200, rng)
        rows, _ = fit.log_multiplier("fast", "base")
        low, high = stats.percentile_interval(rows[1:], fit.degrees(rows, "fast", "base"))
        multiplier += low <= true_log_multiplier() <= high
        rows = fit.alpha("fast") - fit.alpha("base")
        low, high = stats.percentile_interval(rows[1:], fit.degrees(rows, "fast", "base"))
        exponent += low <= 0.04 <= high
        rows, _ = fit.log_multiplier("same", "base")
        e = stats.from_bootstrap(rows, degrees=fit.degrees(rows), n=3)
        false_alarms += stats.verdict(e.value, e.low, e.high, 0.0, e.p, True) != "undecided"
    assert multiplier / studies >= 0.85
    assert exponent / studies >= 0.85
    assert false_alarms / studies <= 0.10


def test_draws_scatter_as_far_as_the_noise_makes_refits_scatter(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same studies, so that what one study happens to be cancels; redrawing runs scatters further."""

    def fresh(y: np.ndarray, strata: Any, groups: Any, curve: np.ndarray, draws: int, rng: Any) -> np.ndarray:
        return curve + 0.005 * rng.standard_normal((draws, len(y)))

    def redrawn(
        y: np.ndarray, strata: Any, groups: Any, curve: np.ndarray, draws: int, rng: Any
    ) -> np.ndarray:
        means = np.array([y[strata == stratum].mean() for stratum in strata])
        return curve + stats.resample(y, strata, groups, draws, rng) - means

    def spread(draw: Any) -> float:
        monkeypatch.setattr(fits, "flip", draw)
        rng = np.random.default_rng(5)
        studies = [study(rng, 0.005, ("base", "fast")) for _ in range(40)]
        rows = [fits.power_law(each, 150, rng).log_multiplier("fast", "base")[0] for each in studies]
        return float(np.mean([each[1:].var() for each in rows]) ** 0.5)

    own, noise, again = spread(stats.flip), spread(fresh), spread(redrawn)
    assert 0.95 < own / noise < 1.18
    assert again / own > 1.04


def test_the_interval_is_no_wider_than_the_noise_calls_for() -> None:
    rng = np.random.default_rng(5)
    fit = fits.power_law(study(rng, 0.003), 200, rng)
    rows, _ = fit.log_multiplier("fast", "base")
    low, high = stats.percentile_interval(rows[1:], fit.degrees(rows, "fast", "base"))
    assert 0.02 < high - low < 0.15


def test_the_influence_of_a_run_is_the_jacobians() -> None:
    """Of a smooth fit: what each parameter moves by when one run's loss does, against refits."""
    runs = study(np.random.default_rng(2), 0.0, ("base", "fast"))
    fit = fits.power_law(runs, 0, np.random.default_rng(0))
    model = fits.PowerLawModel(
        arm_N=runs.arm_N, u_N=np.log(runs.compute_N) - fit.centre, arms=2, variant="shared"
    )
    y_N, step = np.log(runs.value_N), 1e-4
    lower, upper = model.bounds(y_N + 1)
    targets = y_N + step * np.concatenate([np.zeros((1, len(y_N))), np.eye(len(y_N))])
    smooth = HuberFit(model=model, lower_P=lower, upper_P=upper, delta=1.0)
    theta, _ = smooth.minimise(np.broadcast_to(fit.theta_RP[0], (len(targets), 5)), targets, tolerance=1e-14)
    moved_PN = ((theta[1:] - theta[0]) / step).T
    assert fit.influence_PN == pytest.approx(moved_PN, abs=0.02 * np.abs(moved_PN).max())


def test_degrees_are_satterthwaites_and_no_more_than_a_median_allows() -> None:
    rng = np.random.default_rng(3)
    fit = fits.power_law(study(rng, 0.01, ("base", "fast")), 300, rng)
    assert fit.degrees(fit.alpha("base"), "base") == pytest.approx(1.2 * 15**0.5)
    both = fit.alpha("fast") - fit.alpha("base")
    assert fit.degrees(both, "fast", "base") == pytest.approx(1.2 * 30**0.5)
    # Two runs at the ends of twenty: what is read off has the degrees of the ends.
    points = [("base", float(b), float(b), float(loss("base", b))) for b in BUDGETS[[0, 2, 4]]]
    noisy = [(*p[:3], p[3] * np.exp(0.01 * rng.standard_normal())) for p in points for _ in range(2)]
    noisy += [(*points[1][:3], points[1][3] * np.exp(0.01 * rng.standard_normal())) for _ in range(18)]
    uneven = fits.power_law(fits.gather(noisy), 300, rng, "zero")
    u = np.log(BUDGETS[[0, 2, 4]]) - uneven.centre
    sizes = np.array([2, 20, 2])
    # Two parameters, a line in log compute: the slope's weight of each budget by least squares.
    x = u - (sizes * u).sum() / sizes.sum()
    weight = sizes * x / (sizes * x**2).sum()
    share = weight**2 / sizes / (weight**2 / sizes).sum()
    expected = 1 / (share**2 / (sizes - 1)).sum()
    assert expected < 0.6 * 1.2 * 24**0.5
    assert uneven.degrees(uneven.alpha("base"), "base") == pytest.approx(expected, rel=0.02)


def test_an_arm_of_single_runs_has_no_degrees_and_leaves_the_others_theirs() -> None:
    rng = np.random.default_rng(3)
    points = [
        (arm, b, b, float(loss(arm, b)) * float(np.exp(0.01 * rng.standard_normal())))
        for arm in LAWS
        for b in BUDGETS
        for _ in range(1 if arm == "fast" else 3)
    ]
    fit = fits.power_law(fits.gather(points), 200, rng)
    assert fit.degrees(fit.alpha("fast"), "fast") == 0
    assert fit.degrees(fit.alpha("fast") - fit.alpha("base"), "fast", "base") == 0
    assert fit.degrees(fit.alpha("same") - fit.alpha("base"), "same", "base") > 3
    assert fit.alpha("fast")[1:].std() > 0
    straight = fits.lines(fit.runs, 10, rng)
    assert straight.degrees("fast", "base") == 0
    assert straight.degrees("same", "base") > 3


def test_draws_without_a_value_do_not_enter_the_degrees() -> None:
    rng = np.random.default_rng(3)
    fit = fits.power_law(study(rng, 0.01, ("base", "fast")), 200, rng)
    rows = fit.alpha("base").copy()
    rows[5] = np.inf
    assert fit.degrees(rows, "base") == fit.degrees(fit.alpha("base"), "base")


def test_a_planted_sigmoid_is_recovered_with_its_interval() -> None:
    rng = np.random.default_rng(4)
    truth = 0.8 / (1 + (1e12 / BUDGETS) ** 1.5)
    clean = sigmoid(fits.gather([("a", b, b, float(t)) for b, t in zip(BUDGETS, truth, strict=True)]), 0, rng)
    assert clean.ceiling_R[0] == pytest.approx(0.8, abs=0.005)
    assert np.exp(clean.log_mid_R[0]) == pytest.approx(1e12, rel=0.02)
    assert clean.steepness_R[0] == pytest.approx(1.5, rel=0.02)
    assert clean.accuracy(BUDGETS)[0] == pytest.approx(truth, abs=1e-3)
    points = [
        ("a", b, b, float(t) + 0.01 * rng.standard_normal())
        for b, t in zip(BUDGETS, truth, strict=True)
        for _ in range(3)
    ]
    noisy = sigmoid(fits.gather(points), 300, rng)
    low, high = stats.percentile_interval(noisy.ceiling_R[1:], 10)
    assert low <= 0.8 <= high
    assert high - low < 0.2


def test_the_degrees_of_a_slope_count_its_ends_most() -> None:
    # x = -2..2: weights 4, 1, 0, 1, 4 of 10, two degrees each: 10^2 / (34 / 2); of a ratio twice as many.
    points = [(a, np.e**x, np.e**x, np.e ** (-0.5 * x)) for a in ("a", "b") for x in range(5) for _ in "123"]
    runs = fits.gather(points)
    straight = fits.lines(runs, 0, np.random.default_rng(0))
    assert straight.degrees("a") == pytest.approx(100 / 17)
    assert straight.degrees("a", "b") == pytest.approx(200 / 17)


def test_a_ceiling_hangs_on_the_largest_budgets() -> None:
    # Influence of each budget's mean by moving it: 0.525, 0.433, -0.593, -0.179, 1.410 of the ceiling.
    truth = 0.8 / (1 + (1e12 / BUDGETS) ** 1.2)
    rows = [("a", b, b, float(t)) for b, t in zip(BUDGETS, truth, strict=True)]
    base = sigmoid(fits.gather(rows), 0, np.random.default_rng(0)).ceiling_R[0]
    influence = []
    for i, (arm, b, _, value) in enumerate(rows):
        moved = [*rows[:i], (arm, b, b, value + 1e-4), *rows[i + 1 :]]
        influence.append(
            (sigmoid(fits.gather(moved), 0, np.random.default_rng(0)).ceiling_R[0] - base) / 1e-4
        )
    fit = sigmoid(fits.gather(rows * 3), 0, np.random.default_rng(0))
    expected = stats.satterthwaite(np.array(influence), np.full(5, 3))
    assert expected < 5
    assert fit.ceiling_degrees == pytest.approx(expected, rel=0.02)


def test_bootstrap_lies_around_the_fit_and_not_around_the_means() -> None:
    """Two of three runs agree, the third is off: the fit follows the two, and so must what is redrawn."""
    points = [
        (arm, budget, budget, (1.2 + 3 * (budget / 1e10) ** -alpha) * np.exp(off * (-1) ** (k + j)))
        for j, (arm, alpha) in enumerate((("a", 0.3), ("b", 0.2)))
        for k, budget in enumerate(np.geomspace(1e10, 1e12, 5))
        for off in (-0.01, -0.01, 0.02)
    ]
    law = fits.power_law(fits.gather(points), 500, np.random.default_rng(0))
    for arm in ("a", "b"):
        alpha_R = law.alpha(arm)
        # Around the means of budgets the draws lie .7 to 1 of their own spread beside the fit.
        assert abs(alpha_R[1:].mean() - alpha_R[0]) < 0.35 * alpha_R[1:].std()


def test_a_curve_that_the_law_does_not_describe_is_marked() -> None:
    def points(dent: float) -> list[tuple[str, float, float, float]]:
        return [
            ("base", b, b, float(loss("base", b)) * (dent if i == 2 else 1)) for i, b in enumerate(BUDGETS)
        ]

    clean = fits.power_law(fits.gather(points(1.0)), 0, np.random.default_rng(0))
    assert clean.misfit("base") < 0.01
    dented = fits.power_law(fits.gather(points(1.5)), 0, np.random.default_rng(0))
    # The Huber loss follows the other four: the fifth is log 1.5 off.
    assert dented.misfit("base") == pytest.approx(np.log(1.5), abs=0.02)
    assert dented.misfit("base") > fits.MISFIT
