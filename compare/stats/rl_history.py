"""The reinforcement-learning part of a run's history, as arrays.

Shapes: T rows of history, one per update (or the mean of a few consecutive ones, where the record was
thinned). Rows of the warm start hold no reward and are left out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compare.stats.intervals import Array

COLUMNS = ("step", "flops", "reward", "entropy")

PROBE = "pass_at_"
"""What columns of pass@k begin with; k follows."""


class Unfit(ValueError):
    """A history says too little for a fit. The message is the reason, in a few words."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Reward and entropy over reinforcement learning."""

    step_T: Array
    """Optimiser steps, the warm start's included."""
    compute_T: Array
    """FLOPs spent since reinforcement learning began, above 0 and rising."""
    reward_T: Array
    """Mean verified reward of an update's rollout, temperature 1, training problems."""
    entropy_T: Array
    """Entropy of the full next-token distribution, nats, the mean over tokens, then over responses."""
    pass_at_k_T: Array = field(default_factory=lambda: np.empty(0))
    """pass@k of held-out problems, the largest k, nan where it was not probed; (0,) if it never was."""

    def __len__(self) -> int:
        return len(self.step_T)

    def split(self, rows: int) -> tuple["Trace", "Trace"]:
        """The first `rows` rows, and the rest."""
        parts = slice(rows), slice(rows, None)
        first, rest = (Trace(**{name: x_T[part] for name, x_T in vars(self).items()}) for part in parts)
        return first, rest


def rl_trace(history: Mapping[str, Sequence[float | None]]) -> Trace:
    """The rows of a history that hold reward and entropy.

    Raises:
        Unfit: there are none, or the counted FLOPs do not rise along them.
    """
    table_TC, rows = _table(history)
    step_T, flops_T, reward_T, entropy_T = table_TC[rows].T
    counted = table_TC[: rows[0], COLUMNS.index("flops")]
    if before := counted[~np.isnan(counted)].tolist():
        compute_T = flops_T - before[-1]
    else:
        # Without a row of the warm start, the first row is taken to cost what the second did.
        compute_T = flops_T - (2 * flops_T[0] - flops_T[1] if len(rows) > 1 else 0.0)
    if not np.all(np.diff(compute_T, prepend=0.0) > 0):
        raise Unfit("its counted FLOPs do not rise")
    trace = Trace(step_T=step_T, compute_T=compute_T, reward_T=reward_T, entropy_T=entropy_T)
    probed = {int(name.removeprefix(PROBE)): name for name in history if name.startswith(PROBE)}
    if not probed:
        return trace
    return replace(trace, pass_at_k_T=np.array(history[probed[max(probed)]], dtype=float)[rows])


def rl_rows(history: Mapping[str, Sequence[float | None]]) -> tuple[list[int], Array]:
    """Indices of the rows that `rl_trace` takes, and the share of its compute that each had spent, to 1.

    Raises:
        Unfit: as `rl_trace`.
    """
    compute_T = rl_trace(history).compute_T
    return _table(history)[1], compute_T / compute_T[-1]


def _table(history: Mapping[str, Sequence[float | None]]) -> tuple[Array, list[int]]:
    """All rows of a history's COLUMNS, nan where one is unknown, and the numbers of those known in full."""
    if absent := [name for name in COLUMNS if name not in history]:
        raise Unfit(f"its history has no column {', '.join(absent)}")
    table_TC = np.array([history[name] for name in COLUMNS], dtype=float).T
    rows = np.flatnonzero(np.isfinite(table_TC).all(axis=1)).tolist()
    if not rows:
        raise Unfit("no row of reinforcement learning in its history")
    return table_TC, rows


def stretches(values_T: Array, count: int) -> Array:
    """Means of at most `count` consecutive stretches of nearly equal length."""
    parts = np.array_split(values_T, max(1, min(count, len(values_T))))
    return np.array([part.mean() for part in parts])


def last_tenth(values_T: Array) -> float:
    """Mean of the last tenth of the rows."""
    return float(values_T[-tenth(len(values_T)) :].mean())


def tenth(rows: int) -> int:
    """A tenth of the rows, at least one."""
    return max(1, math.ceil(rows / 10))
