"""Studies of shift and of thinking with a known truth, for the analysis to be judged by.

Two arms at one budget, each answering at three efforts on the problems of four severities. What runs differ
in, what problems differ in (shared by all runs, as held-out problems are), what suits one arm and what
thinking makes of single problems are planted apart.
"""

from dataclasses import dataclass

import numpy as np

from compare.analysis.quantity import BASELINE
from compare.analysis.shift.quantities import SEVERITY
from compare.analysis.thinking.quantities import CHEAPEST
from compare.calibrate import builders
from compare.calibrate.planted import ARM, PROBLEMS
from compare.stats.intervals import Array
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast

EFFORTS = {"think_1": (0.0, 1.0), "think_2": (0.5, 2.0), "think_8": (1.0, 8.0)}
"""Effort -> share of the full gain, FLOPs per answer. The last is the arm's own way to answer."""

CONTRASTS = tuple(
    Contrast(study="planted", arm=ARM, baseline=baseline, quantity=quantity, margin=0.0)
    for quantity, baseline in (
        ("decay_slope", BASELINE),
        ("retained_share", BASELINE),
        ("thinking_gain", CHEAPEST),
        ("thinking_area", BASELINE),
        ("thinking_shift", SEVERITY),
    )
)


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """What one arm is planted with, by severity from 0 up."""

    cheapest: tuple[float, ...] = (0.6, 0.5, 0.4, 0.3)
    """Exact answers at the cheapest effort."""
    gain: tuple[float, ...] = (0.1, 0.1, 0.1, 0.1)
    """What the dearest adds."""

    @property
    def level_K(self) -> Array:
        """Exact answers at the arm's own way to answer."""
        return np.array(self.cheapest) + np.array(self.gain)

    @property
    def slope(self) -> float:
        """Answers lost per severity."""
        return -float(np.polyfit(np.arange(len(self.cheapest)), self.level_K, 1)[0])

    @property
    def retained(self) -> float:
        """Share of the answers in distribution that is kept."""
        return float(self.level_K[1:].mean() / self.level_K[0])


RUN, RUN_SHIFT = 0.02, 0.01
"""Standard deviation of the chance from run to run, the same at every severity and at each one's own."""
DIFFICULTY, AFFINITY, THINKING = 0.15, 0.05, 0.05
"""Half-width, uniform, of what a problem adds to the chance of every run, to that of the runs of one arm, and
to what one arm gains by thinking."""


def study(arm: Shifted, baseline: Shifted, rng: np.random.Generator, *, seeds: int = 3) -> Evidence:
    """A finished experiment: ARM against BASELINE, by CONTRASTS."""
    truths = {BASELINE: baseline, ARM: arm}
    severities = len(arm.cheapest)
    difficulty_KP = rng.uniform(-1, 1, (severities, PROBLEMS)) * DIFFICULTY
    runs = []
    for name, truth in truths.items():
        suits_KP = difficulty_KP + rng.uniform(-1, 1, (severities, PROBLEMS)) * AFFINITY
        thinks_KP = rng.uniform(-1, 1, (severities, PROBLEMS)) * THINKING
        for seed in range(seeds):
            run_K = RUN * rng.standard_normal() + RUN_SHIFT * rng.standard_normal(severities)
            luck_KP = rng.random((severities, PROBLEMS))
            evaluations = [
                builders.exact(
                    luck_KP[k]
                    < truth.cheapest[k] + run_K[k] + suits_KP[k] + share * (truth.gain[k] + thinks_KP[k]),
                    severity=k,
                    effort=effort,
                    flops=flops,
                )
                for k in range(severities)
                for effort, (share, flops) in EFFORTS.items()
            ]
            runs.append(builders.run(builders.cell(name, seed), *evaluations))
    return builders.finished(CONTRASTS, runs)
