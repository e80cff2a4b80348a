"""Studies with a known truth: records as cells would leave them, for the analysis to be judged by.

One task, two arms, the budgets of the default scaling experiment. Loss follows E + A C^-alpha with
log-normal noise from run to run; exact answers follow a sigmoid in log compute, with noise from run to
run, problems of unequal difficulty that all runs share, and problems that suit one arm.
"""

from dataclasses import dataclass, replace

import numpy as np

from compare.analysis.quantity import BASELINE
from compare.calibrate import builders
from compare.stats.intervals import Array
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast, PlannedCell
from compare.store.record import Evaluation

ARM = "ebt_s1"
BUDGETS = tuple(float(b) for b in np.geomspace(1e10, 1e12, 5))
PROBLEMS = 200
"""Held-out problems per evaluation, the same for every run of a study."""


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

    def loss(self, compute: float) -> float:
        """Loss without noise, nats."""
        return self.floor + self.scale * (compute / BUDGETS[0]) ** -self.alpha

    def exact(self, compute: float) -> float:
        """Expected share of exact answers."""
        return self.ceiling / (1 + (self.middle / compute) ** self.steepness)

    def compute(self, loss: float) -> float:
        """FLOPs at which the loss is reached."""
        return BUDGETS[0] * ((loss - self.floor) / self.scale) ** (-1 / self.alpha)

    def with_multiplier(self, factor: float) -> "Truth":
        """The arm that reaches every loss with `factor` times less compute."""
        return replace(self, scale=self.scale * factor**-self.alpha)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How much runs and problems differ."""

    loss: float = 0.005
    """Standard deviation of log loss from run to run."""
    exact: float = 0.01
    """Standard deviation of a run's share of exact answers."""
    difficulty: float = 0.1
    """Half-width of what a problem adds to every run's chance, uniform."""
    affinity: float = 0.05
    """Half-width of what a problem adds to one arm's chance, uniform."""


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
    noise: Noise | None = None,
    seeds: int = 3,
    budgets: tuple[float, ...] = BUDGETS,
) -> Evidence:
    """A finished experiment: ARM against BASELINE, a contrast of no margin for each quantity."""
    noise = noise or Noise()
    truths = {BASELINE: baseline, ARM: arm}
    cells = [
        builders.cell(name, seed, budget=budget)
        for name in truths
        for budget in budgets
        for seed in range(seeds)
    ]
    difficulty = rng.uniform(-noise.difficulty, noise.difficulty, PROBLEMS)
    suits = {name: difficulty + rng.uniform(-noise.affinity, noise.affinity, PROBLEMS) for name in truths}
    runs = (
        builders.run(cell, *_evaluations(cell, truths[cell.arm], suits[cell.arm], noise, rng))
        for cell in cells
    )
    contrasts = (
        Contrast(study="planted", arm=ARM, baseline=BASELINE, quantity=quantity, margin=0.0)
        for quantity in quantities
    )
    return builders.finished(contrasts, runs)


def _evaluations(
    cell: PlannedCell, truth: Truth, suits_P: Array, noise: Noise, rng: np.random.Generator
) -> tuple[Evaluation, ...]:
    loss = truth.loss(cell.budget) * float(np.exp(noise.loss * rng.standard_normal()))
    chance_P = truth.exact(cell.budget) + noise.exact * rng.standard_normal() + suits_P
    return builders.loss(loss, sd=0.0, n=PROBLEMS), builders.exact(rng.random(PROBLEMS) < chance_P)
