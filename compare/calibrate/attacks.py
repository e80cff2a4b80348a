"""Studies of scaling that an opponent would plant: shared noise, worse but steeper arms, failing laws."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from compare.analysis.analyse import analyse
from compare.analysis.findings import Finding
from compare.calibrate import planted
from compare.calibrate.planted import Truth

PLAIN, STEEPER = Truth(), Truth(alpha=0.34)
FITTED = ("exponent", "compute_multiplier", "slope_ratio")
FAILING = {
    "floors .1 nats apart": Truth(floor=1.3),
    "floors .3 nats apart": Truth(floor=1.5),
    "a bend": Truth(bend=0.03),
    "a sudden fall": Truth(sudden=2.5, floor=1.5),
}
"""Arms whose losses follow no law of the baseline's floor: nothing can be said of their exponents."""

Outcome = tuple[str, tuple[float, float], bool]


def _study(arm: Truth, rng: np.random.Generator, draws: int, **settings: object) -> dict[str, Finding]:
    evidence = planted.study(arm, PLAIN, FITTED, rng, **settings)  # pyright: ignore[reportArgumentType]
    return {f.quantity: f for f in analyse(evidence, draws=draws).findings if f.primary}


def sharing(rng: np.random.Generator, draws: int, *, seeds: int) -> Iterator[Outcome]:
    """Runs of a seed that share 1% of loss over all arms and .5% within one, beside .3% of their own."""
    found = _study(STEEPER, rng, draws, noise=0.003, shared=(0.01, 0.005), seeds=seeds)
    multiplier = math.exp(planted.log_multiplier(STEEPER, PLAIN))
    for name, truth in (("exponent", 0.04), ("compute_multiplier", multiplier)):
        held = found[name].low <= truth <= found[name].high
        yield f"interval of {name}, {seeds} seeds that share noise", (0.93, 0.97), held


def worse_everywhere(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """The same floor and exponent at five times the compute: steep, and behind."""
    found = _study(PLAIN.with_multiplier(0.2), rng, draws, seeds=5)
    ahead = any(finding.verdict == "ahead" for finding in found.values())
    yield "the worse of two arms ahead, at five times the compute", (0.0, 0.05), ahead
    yield "its compute multiplier behind", (0.8, 1.0), found["compute_multiplier"].verdict == "behind"


def failing_laws(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """Curves that the law does not describe: are verdicts on exponents and slopes withheld?"""
    for name, arm in FAILING.items():
        found = _study(arm, rng, draws, seeds=5)
        decided = any(found[quantity].verdict != "undecided" for quantity in ("exponent", "slope_ratio"))
        yield f"a verdict on exponents or slopes, {name}", (0.0, 0.05), decided


def telling_exponents(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """Where the law holds and one arm is steeper by .04, do the guards let a verdict through?"""
    verdict = _study(STEEPER, rng, draws, seeds=5)["exponent"].verdict
    yield "a planted .04 of exponent found by five seeds", (0.8, 1.0), verdict == "ahead"


ATTACKS = (
    partial(sharing, seeds=3),
    partial(sharing, seeds=5),
    worse_everywhere,
    failing_laws,
    telling_exponents,
)
