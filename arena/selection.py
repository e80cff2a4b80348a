"""Which of several samples to answer with.

A sample of the residual model p_start(x) exp(-E(x)) is had by drawing from p_start and resampling with
weights exp(-E) (arXiv 2004.11714, algorithm 1). `energy` takes the draw of the largest weight, that is of
the lowest E; `joint` the draw that the residual model finds most probable, of the largest log p_start - E.
At the loss's optimum E = log p_start - log p_data, so that the second is the draw of the largest p_data,
and the first that of the largest p_data / p_start; where one answer alone is right they agree. An energy
that has learnt nothing leaves `joint` with the likelihood's choice, and `energy` with chance.
"""

from collections import Counter
from collections.abc import Sequence

MAJORITY, LIKELIHOOD, ENERGY, JOINT, ORACLE = "majority", "likelihood", "energy", "joint", "oracle"
DEPLOYABLE = (MAJORITY, LIKELIHOOD, ENERGY, JOINT)
"""Rules that ask for no label; `oracle` does, and bounds them (pass@k)."""


def majority(completions: Sequence[tuple[int, ...]]) -> int:
    """Index of the most frequent completion; of equally frequent ones the first drawn."""
    counts = Counter(completions)
    return completions.index(max(counts, key=lambda c: counts[c]))


def lowest(scores: Sequence[float]) -> int:
    """Index of the lowest score; of equal ones the first drawn."""
    return min(range(len(scores)), key=lambda i: scores[i])


def name(rule: str, samples: int) -> str:
    """The effort of a rule and a number of samples, such as energy@16."""
    return f"{rule}@{samples}"


def parse(effort: str) -> tuple[str, int] | None:
    """Rule and number of samples of an effort; none if it is not one of these."""
    rule, at, samples = effort.partition("@")
    if not at or rule not in (*DEPLOYABLE, ORACLE) or not samples.isdigit():
        return None
    return rule, int(samples)
