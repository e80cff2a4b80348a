"""Forecasts of a run's reward from the first part of its reinforcement learning, and their errors.

`law`, `linear` and `quadratic` are told the entropies of what comes after, as in the law's paper;
`carry_last` and `sigmoid` are not. A law that does not beat those two forecasts nothing.

Shapes: T rows of history.
"""

from collections.abc import Callable

import numpy as np

from compare.stats.entropy_law import ROWS_NEEDED, fit_line
from compare.stats.intervals import Array
from compare.stats.power_law import gather
from compare.stats.rl_history import Trace, Unfit, last_tenth, stretches, tenth
from compare.stats.sigmoid import sigmoid

STRETCHES = 10
"""Errors are of means over this many stretches of what came after: a single update's reward is the
mean of a few hundred samples, and its noise is no fault of a forecast."""

Forecaster = Callable[[Trace, Trace], Array]
"""What was seen, what came after (its rewards unread) -> forecast rewards of what came after."""


def _line_in(feature: Callable[[Array], Array]) -> Forecaster:
    return lambda seen, after: fit_line(feature(seen.entropy_T), seen.reward_T)(feature(after.entropy_T))


def _sigmoid(seen: Trace, after: Trace) -> Array:
    """ScaleRL's curve R0 + (A - R0) / (1 + (C_mid / C)^B), C the compute of reinforcement learning
    (Khatri et al. 2025, arXiv 2510.13786, equation 1); R0 is the mean of the first tenth seen."""
    floor = float(np.clip(seen.reward_T[: tenth(len(seen))].mean(), 0.0, 1.0))
    points = [("", c, c, r) for c, r in zip(seen.compute_T.tolist(), seen.reward_T.tolist(), strict=True)]
    curve = sigmoid(gather(points), 0, np.random.default_rng(0), floor)
    return curve.accuracy(after.compute_T)[0]


METHODS: dict[str, tuple[str, Forecaster]] = {
    "law": ("entropy law, b - a exp(H)", _line_in(np.exp)),
    "linear": ("linear, b - a H", _line_in(lambda entropy_T: entropy_T)),
    "quadratic": ("quadratic, b - a H²", _line_in(np.square)),
    "carry_last": (
        "carry the last level on",
        lambda seen, after: np.full(len(after), last_tenth(seen.reward_T)),
    ),
    "sigmoid": ("sigmoid in compute", _sigmoid),
}
"""Name -> what the report calls it, and what it forecasts."""

LABELS = {method: label for method, (label, _) in METHODS.items()}


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
    """Absolute errors of a forecast, in reward, on each of the stretches of what came after.

    Raises:
        Unfit: the method cannot be fitted on what was seen.
    """
    return np.abs(stretches(METHODS[method][1](seen, after) - after.reward_T, STRETCHES))
