"""Which of several samples to answer with.

A sample of the residual model p_start(x) exp(-E(x)) is had by drawing from p_start and resampling with
weights exp(-E) (arXiv 2004.11714, algorithm 1); to answer with one of the draws is to take the heaviest,
that is the one of lowest energy.
"""

from collections import Counter
from collections.abc import Sequence

MAJORITY, LIKELIHOOD, ENERGY, ORACLE = "majority", "likelihood", "energy", "oracle"
DEPLOYABLE = (MAJORITY, LIKELIHOOD, ENERGY)
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
