"""Studies with a known truth: records as cells would leave them, for the analysis to be judged by.

One task, two arms, the budgets of the default scaling experiment. Loss follows E + A C^-alpha with
log-normal noise from run to run; exact answers follow a sigmoid in log compute, with noise from run to
run, problems of unequal difficulty that all runs share, and problems that suit one arm.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from compare.analysis.quantity import BASELINE
from compare.calibrate import builders
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast

ARM = "ebt_s1"
BUDGETS = tuple(float(b) for b in np.geomspace(1e10, 1e12, 5))
PROBLEMS = 200
"""Held-out problems per evaluation (and severity), the same for every run of a study."""
NOISE, EXACT_NOISE = 0.005, 0.01
"""Standard deviation from run to run, of log loss and of the share of exact answers."""
DIFFICULTY, AFFINITY = 0.1, 0.05
"""Half-width of what a problem adds to the chance of every run, and of the runs of one arm; uniform."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What one arm is planted with."""

    floor: float = 1.2
    """Irreducible loss E, nats."""
    scale: float = 3.0
    """Reducible loss at the smallest budget, nats."""
    alpha: float = 0.30
    """Exponent of loss in compute."""
    ceiling: float = 0.8
    """Share of exact answers at endless compute."""
    middle: float = 1e11
    """FLOPs at half of the ceiling."""
    steepness: float = 1.2
    bend: float = 0.0
    """Slope that log loss gains beyond the middle budget: no power law then."""
    sudden: float = 0.0
    """Steepness of a fall by `scale`, at twice the middle budget, in place of the power law; 0: none."""

    def loss(self, compute: float) -> float:
        """Loss without noise, nats."""
        if self.sudden:
            return self.floor + self.scale / (1 + (compute / (2 * BUDGETS[2])) ** self.sudden)
        bent = max(0.0, np.log(compute / BUDGETS[2])) * self.bend
        return (self.floor + self.scale * (compute / BUDGETS[0]) ** -self.alpha) * float(np.exp(bent))

    def exact(self, compute: float) -> float:
        """Expected share of exact answers."""
        return self.ceiling / (1 + (self.middle / compute) ** self.steepness)

    def compute(self, loss: float) -> float:
        """FLOPs at which the loss is reached."""
        return BUDGETS[0] * ((loss - self.floor) / self.scale) ** (-1 / self.alpha)

    def with_multiplier(self, factor: float) -> "Truth":
        """The arm that reaches every loss with `factor` times less compute."""
        return replace(self, scale=self.scale * factor**-self.alpha)


def log_multiplier(arm: Truth, baseline: Truth) -> float:
    """log of the compute multiplier at equal loss, read where the analysis reads it."""
    goal = max(truth.loss(BUDGETS[-1]) for truth in (arm, baseline))
    return float(np.log(baseline.compute(goal) / arm.compute(goal)))


def study(
    arm: Truth,
    baseline: Truth,
    quantities: tuple[str, ...],
    rng: np.random.Generator,
    *,
    noise: float = NOISE,
    shared: tuple[float, float] = (0.0, 0.0),
    seeds: int = 3,
    budgets: tuple[float, ...] = BUDGETS,
) -> Evidence:
    """A finished experiment: ARM against BASELINE, a contrast of no margin for each quantity.

    Args:
        shared: standard deviations of log loss that the runs of a seed share, and those of a seed and arm.
    """
    truths = {BASELINE: baseline, ARM: arm}
    of_seed, of_arm = rng.standard_normal(seeds) * shared[0], rng.standard_normal((2, seeds)) * shared[1]
    effects = dict(zip(truths, of_seed + of_arm, strict=True))
    difficulty_P = rng.uniform(-DIFFICULTY, DIFFICULTY, PROBLEMS)
    suits = {name: difficulty_P + rng.uniform(-AFFINITY, AFFINITY, PROBLEMS) for name in truths}
    runs = []
    for name, budget, seed in product(truths, budgets, range(seeds)):
        off = effects[name][seed] + noise * rng.standard_normal()
        loss = truths[name].loss(budget) * float(np.exp(off))
        chance_P = truths[name].exact(budget) + EXACT_NOISE * rng.standard_normal() + suits[name]
        evaluations = builders.loss(loss, sd=0.0, n=PROBLEMS), builders.exact(rng.random(PROBLEMS) < chance_P)
        runs.append(builders.run(builders.cell(name, seed, budget=budget), *evaluations))
    contrasts = (
        Contrast(study="planted", arm=ARM, baseline=BASELINE, quantity=quantity, margin=0.0)
        for quantity in quantities
    )
    return builders.finished(contrasts, runs)
