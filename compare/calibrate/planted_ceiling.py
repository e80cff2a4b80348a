"""Studies of entropy and reward with a known truth, for the analysis of the ceiling to be judged by.

Two arms trained by reward, of which ARM's ceiling lies LIFT above that of UNMANAGED, and one that is not.
What is measured of a rollout is noisy, and hard problems raise its entropy as they lower its reward.
"""

import math
from dataclasses import dataclass

import numpy as np

from compare.analysis.ceiling.quantities import FORECASTS
from compare.analysis.quantity import UNMANAGED
from compare.calibrate import builders
from compare.calibrate.planted import PROBLEMS
from compare.stats.intervals import Array
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast

ARM, LEVEL_ARM = "rl_kl_cov", "ebt_s1"
CEILING, LIFT, LEVEL = 0.7, 0.05, 0.85
"""Reward at no entropy, or where it saturates; what ARM has more; exact answers of the arm without reward."""
BUDGET, SHARE = 1e12, 0.36
"""FLOPs, and the share that is fitted on."""
UPDATES, SEED = 200, 0.02
"""Rows of a history; standard deviation from seed to seed, of rewards."""
TOGETHER = 0.6
"""Share of the noise of reward, as a correlation, that goes with the noise of entropy."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How entropy falls and reward rises, both without noise."""

    relation: str = "law"
    """What reward follows: the law; `linear`, a line in H; or compute alone: `saturating`, or one that
    trends, `exponential` or `power`."""
    start: float = 1.2
    end: float = 0.1
    """Entropy, nats, falling in a straight line."""
    entropy_noise: float = 0.03
    """Standard deviation, as a share of the entropy."""
    reward_noise: float = 0.02

    def both(self) -> tuple[Array, Array]:
        """Entropy and reward."""
        time = np.arange(UPDATES) / (UPDATES - 1)
        entropy = self.start + (self.end - self.start) * time
        reward = {
            "law": CEILING - 0.55 * np.expm1(entropy) / math.expm1(self.start),
            "linear": CEILING - 0.55 * entropy / self.start,
            "saturating": CEILING - 0.55 * np.exp(-8 * time),
            "exponential": 1 - 0.85 * np.exp(-0.7 * time),
            "power": 1 - 0.9 * (np.arange(UPDATES) + 1) ** -0.2,
        }[self.relation]
        return entropy, reward


def study(course: Course, rng: np.random.Generator, *, seeds: int = 5) -> Evidence:
    """A finished experiment: ceilings against each other and a level, forecasts against each other."""
    entropy, reward = course.both()
    runs = []
    for seed in range(seeds):
        luck = SEED * rng.standard_normal()
        for arm, lift in ((UNMANAGED, 0.0), (ARM, LIFT)):
            shock, own = rng.standard_normal((2, UPDATES))
            noise = -TOGETHER * shock + math.sqrt(1 - TOGETHER**2) * own
            columns = {
                "step": np.arange(UPDATES) + 1.0,
                "flops": BUDGET * (np.arange(UPDATES) + 1) / UPDATES,
                "reward": reward + lift + luck + course.reward_noise * noise,
                "entropy": entropy * (1 + course.entropy_noise * shock),
            }
            history = {name: values.tolist() for name, values in columns.items()}
            runs.append(builders.run(builders.cell(arm, seed, budget=BUDGET), history=history))
        answers = builders.exact(rng.random(PROBLEMS) < LEVEL + luck)
        runs.append(builders.run(builders.cell(LEVEL_ARM, seed, budget=BUDGET), answers))
    named = [(ARM, UNMANAGED, "ceiling"), (LEVEL_ARM, UNMANAGED, "above_ceiling")]
    named += [(UNMANAGED, rival, "forecast_error") for rival in FORECASTS if rival != "pass_at_k"]
    contrasts = [
        Contrast(study="planted", arm=arm, baseline=baseline, quantity=quantity, margin=0.0)
        for arm, baseline, quantity in named
    ]
    return builders.finished(contrasts, runs, fit_share=SHARE)
