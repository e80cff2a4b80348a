"""The entropy law of a run that is still training: a line for whoever watches, numbers for the mirror."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compare.stats.entropy_law import ceiling_of_one_run, fit_law, surely_impossible
from compare.stats.intervals import Estimate
from compare.stats.rl_history import Unfit, last_tenth, rl_trace

DRAWS = 500
"""Bootstrap draws; a glance needs no more."""


@dataclass(frozen=True, kw_only=True)
class LawSoFar:
    """The law fitted on everything that a run has logged."""

    ceiling: Estimate
    """With the interval of the block bootstrap within the run."""
    reward: float
    """Now: the mean over the last tenth of the updates."""
    entropy: float
    """Nats, likewise."""

    @property
    def text(self) -> str:
        """One line, such as `entropy law so far: ceiling 0.71 [0.60, 0.83], now 0.55 at H 0.42`."""
        e = self.ceiling
        mark = " (impossible)" if surely_impossible(e) else ""
        line = f"entropy law so far: ceiling {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]{mark}"
        return f"{line}, now {self.reward:.2f} at H {self.entropy:.2f}"


def law_so_far(history: Mapping[str, Sequence[float | None]]) -> LawSoFar:
    """Fit the law on a history so far; the same history gives the same numbers.

    Raises:
        Unfit: no reinforcement learning yet, or too little of it.
    """
    trace = rl_trace(history)
    ceiling = ceiling_of_one_run(fit_law(trace), trace, DRAWS, np.random.default_rng(0))
    return LawSoFar(ceiling=ceiling, reward=last_tenth(trace.reward_T), entropy=last_tenth(trace.entropy_T))


def live_forecast(history: Mapping[str, Sequence[float | None]]) -> str:
    """The law so far in one line; where there is none, the reason."""
    try:
        return law_so_far(history).text
    except Unfit as error:
        return f"entropy law so far: none, {error}"
