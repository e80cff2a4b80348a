"""The entropy law R = -a exp(H) + b, fitted to a training history. No torch here.

H is the full-vocabulary entropy in nats at temperature 1, R the reward; at H = 0, where nothing is left
to spend, R would be b - a: the ceiling. Source: arXiv 2505.22617, section 2.4.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Law:
    """A fit of R = -a exp(H) + b."""

    a: float
    b: float
    ceiling: float
    """b - a, the reward at zero entropy. It may lie outside [0, 1]: then the law does not hold."""
    standard_error: float
    """Of the ceiling, as if the points were independent; those of one run are not, they follow each
    other. Bootstrap over seeds where it matters."""
    half_width: float
    """Of the ceiling's 95% interval, Student's t with n - 2 degrees of freedom, likewise."""


def fit(entropies: Sequence[float], rewards: Sequence[float]) -> Law:
    """Ordinary least squares: the law is linear in exp(H).

    Raises:
        ValueError: fewer than three points, or entropies that are all equal.
    """
    x, y = numpy.exp(numpy.asarray(entropies, float)), numpy.asarray(rewards, float)
    if len(x) < 3 or x.min() == x.max():
        raise ValueError(f"{len(x)} points, {len(set(x))} entropies: need three of unequal entropy")
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    b = float(y.mean() - slope * x.mean())
    residual = math.sqrt(float(((y - b - slope * x) ** 2).sum()) / (len(x) - 2))
    error = residual * math.sqrt(1 / len(x) + (1 - float(x.mean())) ** 2 / spread)
    return Law(
        a=-slope,
        b=b,
        ceiling=b + slope,
        standard_error=error,
        half_width=float(stats.t.ppf(0.975, len(x) - 2)) * error,
    )
