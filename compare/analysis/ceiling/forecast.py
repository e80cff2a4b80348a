"""Forecasts of a run's reward from the first part of its reinforcement learning, and their errors.

Every forecast is frozen there and knows the compute of what comes after, and nothing else of it: those in
entropy must foretell the entropy too. TOLD are no forecasts: they are told the entropies of what came after,
as in the law's paper, and show how well a relation holds, not what could have been known.

Shapes: T rows of history; t rows of what comes after.
"""

from collections.abc import Callable

import numpy as np

from compare.stats.entropy_law import FORMS, ROWS_NEEDED, fit_law
from compare.stats.intervals import Array
from compare.stats.power_law import gather
from compare.stats.rl_history import Trace, Unfit, last_tenth, stretches, tenth
from compare.stats.sigmoid import sigmoid

STRETCHES = 10
"""Errors are of means over this many stretches of what came after: a single update's reward is the
mean of a few hundred samples, and its noise is no fault of a forecast."""

FROZEN = (0.05, 0.15)
"""Shares of the updates at which forecasts are frozen beside the experiment's own."""

LEAST_ENTROPY = 1e-3
"""Nats. Entropies below are taken as this: by how many decades they fall further is of no interest."""

LEAST_ERROR = 1e-3
"""Share of wrong samples, likewise."""

Forecaster = Callable[[Trace, Array], Array]
"""What was seen, (t,) compute of what comes after -> (t,) forecast rewards."""


def foretold_entropy(seen: Trace, compute_t: Array) -> Array:
    """H = H0 exp(-k C), least squares in log H: it stays above 0, and has two parameters, which a handful of
    rows can tell. A power law of compute is three times as far off (docs/ceiling.md)."""
    log_T = np.log(np.maximum(seen.entropy_T, LEAST_ENTROPY))
    # Noise may have it rise: to 20 nats at most, more than any vocabulary has.
    return np.exp(np.minimum(_line(seen.compute_T, log_T, compute_t), 3.0))


def _line(x_T: Array, y_T: Array, x_t: Array) -> Array:
    """Least squares through (x, y), at other x."""
    centred_T = x_T - x_T.mean()
    return y_T.mean() + (x_t - x_T.mean()) * (centred_T @ y_T) / (centred_T @ centred_T)


def _law(form: str) -> Forecaster:
    return lambda seen, compute_t: fit_law(seen, form)(foretold_entropy(seen, compute_t))


def _error_falls(clock: Callable[[Array], Array]) -> Forecaster:
    """log(1 - R) = A - k clock(C), least squares, C the compute of reinforcement learning. With C itself the
    error has the very course that `foretold_entropy` gives H: a law in entropy that does not beat it owes its
    forecast to the trend alone."""

    def forecast(seen: Trace, compute_t: Array) -> Array:
        log_T = np.log(np.maximum(1 - seen.reward_T, LEAST_ERROR))
        return 1 - np.exp(np.minimum(_line(clock(seen.compute_T), log_T, clock(compute_t)), 0.0))

    return forecast


def _sigmoid(seen: Trace, compute_t: Array) -> Array:
    """ScaleRL's curve R0 + (A - R0) / (1 + (C_mid / C)^B), C the compute of reinforcement learning
    (Khatri et al. 2025, arXiv 2510.13786, equation 1); R0 is the mean of the first tenth seen."""
    floor = float(np.clip(seen.reward_T[: tenth(len(seen))].mean(), 0.0, 1.0))
    points = [("", c, c, r, 0) for c, r in zip(seen.compute_T.tolist(), seen.reward_T.tolist(), strict=True)]
    return sigmoid(gather(points), floor).accuracy(compute_t)[0]


def _pass_at_k(seen: Trace, compute_t: Array) -> Array:
    """What the warm start reached in k attempts, by arXiv 2504.13837 all that reward can bring out."""
    known_T = seen.pass_at_k_T[np.isfinite(seen.pass_at_k_T)]
    if not len(known_T):
        raise Unfit("the warm start was not probed for pass@k")
    return np.full(len(compute_t), known_T[0])


METHODS: dict[str, tuple[str, Forecaster]] = {
    "law": ("entropy law, b - a exp(H), H foretold", _law("law")),
    "linear": ("linear, b - a H, H foretold", _law("linear")),
    "quadratic": ("quadratic, b - a H², H foretold", _law("quadratic")),
    "carry_last": ("carry the last level on", lambda seen, c_t: np.full(len(c_t), last_tenth(seen.reward_T))),
    "exponential": ("exponential in compute, 1 - R = A exp(-k C)", _error_falls(lambda c: c)),
    "power_law": ("power law in compute, 1 - R = A C^-α", _error_falls(np.log)),
    "sigmoid": ("sigmoid in compute", _sigmoid),
    "pass_at_k": ("the warm start's pass@k", _pass_at_k),
}
"""Name -> what the report calls it, and what it forecasts."""

TOLD = {f"told_{form}": form for form in FORMS}
"""Name -> the form of the relation that is told the entropy."""

LABELS = {method: label for method, (label, _) in METHODS.items()} | {
    "told_law": "no forecast: b - a exp(H), told the entropy",
    "told_linear": "no forecast: b - a H, told the entropy",
    "told_quadratic": "no forecast: b - a H², told the entropy",
}


def cut(rows: int, share: float) -> int:
    """How many of `rows` rows are fitted on.

    Raises:
        Unfit: too few to fit on, or none left to forecast.
    """
    fitted = round(rows * share)
    if fitted < ROWS_NEEDED or fitted >= rows:
        raise Unfit(
            f"{rows} rows of reinforcement learning, {fitted} of them to fit on: "
            f"{ROWS_NEEDED} are needed there and one after"
        )
    return fitted


def errors(method: str, seen: Trace, after: Trace) -> Array:
    """Absolute errors, in reward, on each of the stretches of what came after.

    A forecast is cut to [0, 1], where every reward lies.

    Raises:
        Unfit: the method cannot be fitted on what was seen.
    """
    if method in TOLD:
        said_t = fit_law(seen, TOLD[method])(after.entropy_T)
    else:
        said_t = np.clip(METHODS[method][1](seen, after.compute_T), 0.0, 1.0)
    return np.abs(stretches(said_t - after.reward_T, STRETCHES))
