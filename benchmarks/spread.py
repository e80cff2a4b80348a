"""What the joint fit's bootstrap knows: its spread over the true one, and how surely it knows that.

python -m benchmarks.spread [studies] [workers]; the last line is JSON. On it rest SPREAD of
compare/stats/power_law.py, the table of docs/calibration.md, and the choice of `flip` over `resample` in
compare/stats/intervals.py.
"""

import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch

from benchmarks.common import last_line
from compare.calibrate import planted
from compare.stats.intervals import percentile_interval
from compare.stats.power_law import gather, power_law

DRAWS = 500
ARM, BASELINE = planted.Truth(alpha=0.34), planted.Truth()
OTHERS = tuple(planted.Truth(alpha=alpha) for alpha in (0.31, 0.28, 0.32, 0.29))

Draw = Callable[[np.random.Generator, float], float]


def normal(rng: np.random.Generator, compute: float) -> float:
    return rng.standard_normal()


def growing(rng: np.random.Generator, compute: float) -> float:
    return rng.standard_normal() * (compute / planted.BUDGETS[-1]) ** 0.3


def falling(rng: np.random.Generator, compute: float) -> float:
    return rng.standard_normal() * (compute / planted.BUDGETS[0]) ** -0.3


def heavy(rng: np.random.Generator, compute: float) -> float:
    return rng.standard_t(3) / math.sqrt(3)


def skewed(rng: np.random.Generator, compute: float) -> float:
    """Its median is 0, as that of the others: the curve is one of medians."""
    return rng.exponential() - math.log(2)


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a study is planted."""

    seeds: int
    noise: float = 0.005
    draw: Draw = normal
    budgets: int = 5
    arms: int = 2


DESIGNS = {
    "2 seeds": Design(seeds=2),
    "3 seeds": Design(seeds=3),
    "5 seeds": Design(seeds=5),
    "10 seeds": Design(seeds=10),
    "5 seeds, noise .001": Design(seeds=5, noise=0.001),
    "5 seeds, noise .02": Design(seeds=5, noise=0.02),
    "3 seeds, fourfold noise at the top": Design(seeds=3, draw=growing),
    "3 seeds, fourfold noise at the bottom": Design(seeds=3, draw=falling),
    "3 seeds, Student's t of 3 degrees": Design(seeds=3, draw=heavy),
    "3 seeds, exponential": Design(seeds=3, draw=skewed),
    "3 seeds, three arms": Design(seeds=3, arms=3),
    "3 seeds, six arms": Design(seeds=3, arms=6),
    "3 seeds, nine budgets": Design(seeds=3, budgets=9),
}
QUANTITIES = ("multiplier", "exponent")


def study(design: Design, number: int) -> list[tuple[float, float, float, bool]]:
    """Of each quantity the estimate, its draws' standard deviation and degrees, and is the truth held?"""
    rng = np.random.default_rng((number, design.seeds))
    arms = [("base", BASELINE), ("arm", ARM), *((f"other {i}", o) for i, o in enumerate(OTHERS))]
    budgets = np.geomspace(planted.BUDGETS[0], planted.BUDGETS[-1], design.budgets)
    points = [
        (name, b, b, truth.loss(b) * math.exp(design.noise * design.draw(rng, b)))
        for name, truth in arms[: design.arms]
        for b in map(float, budgets)
        for _ in range(design.seeds)
    ]
    fit = power_law(gather(points), DRAWS, rng)
    multiplier, _ = fit.log_multiplier("arm", "base")
    rows = ((multiplier, planted.log_multiplier(ARM, BASELINE)), (fit.alpha("arm") - fit.alpha("base"), 0.04))
    out = []
    for rows_R, truth in rows:
        degrees = fit.degrees(rows_R, "arm", "base")
        low, high = percentile_interval(rows_R[1:], degrees)
        out.append((float(rows_R[0]), float(rows_R[1:].std()), degrees, low <= truth <= high))
    return out


def summary(estimate: np.ndarray, spread: np.ndarray, used: np.ndarray, held: np.ndarray) -> dict[str, float]:
    """Ratio of spreads, the degrees of a variance that scatters so, those in use, and coverage."""
    variance = spread**2
    # sd(s^2) / s^2 of d degrees is sqrt(2 / d); draws themselves scatter by 2 / DRAWS.
    scatter = variance.var(ddof=1) / variance.mean() ** 2 - 2 / DRAWS
    return {
        "spread": round(math.sqrt(variance.mean()) / float(estimate.std(ddof=1)), 3),
        "degrees": round(2 / float(scatter), 1),
        "degrees_used": round(float(used.mean()), 1),
        "covered": round(float(held.mean()), 4),
    }


def main(studies: int = 600, workers: int = 2) -> None:
    """Plant studies of every design, tell what their draws know."""
    found = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, (name, design) in enumerate(DESIGNS.items(), start=1):
            every = list(pool.map(partial(study, design), range(studies), chunksize=8))
            for q, quantity in enumerate(QUANTITIES):
                columns = np.array([each[q] for each in every]).T
                found[f"{name}: {quantity}"] = summary(*columns)
                print(f"[{done}/{len(DESIGNS)}] {name}: {quantity}", found[f"{name}: {quantity}"], flush=True)
    ratio = found["3 seeds: multiplier"]["spread"]
    last_line("spread", torch.device("cpu"), ratio=ratio, studies=studies, draws=DRAWS, found=found)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
