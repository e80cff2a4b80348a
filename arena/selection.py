"""Rules that choose which of several samples to answer with.

The residual model p_start(x) exp(-E(x)) is sampled by drawing from p_start and resampling with weights
exp(-E) (arXiv 2004.11714, algorithm 1). `energy` takes the draw of the largest weight, which is that of the
lowest E. `joint` takes the draw that is most probable under the residual model, which is that of the largest
log p_start - E. At the optimum of the loss E = log p_start - log p_data, so that `joint` takes the draw of
the largest p_data, and `energy` that of the largest p_data / p_start; where only one answer is right they
agree. With an energy that has learnt nothing, `joint` chooses as `likelihood` does, and `energy` by chance.
"""

from collections import Counter
from collections.abc import Sequence

from arena.effort import ORACLE
from arena.tasks.base import Problem

MAJORITY, LIKELIHOOD, ENERGY, JOINT = "majority", "likelihood", "energy", "joint"
OF_A_POLICY = (MAJORITY, LIKELIHOOD, ORACLE)
"""Rules that need only the policy that drew the samples (and, for `oracle`, the verifier)."""
OF_AN_ENERGY = (MAJORITY, LIKELIHOOD, ENERGY, JOINT, ORACLE)
"""Rules of a policy with an energy over its answers."""


def majority(answers: Sequence[tuple[int, ...]]) -> int:
    """Index of the most frequent answer; of equally frequent ones the first drawn."""
    counts = Counter(answers)
    return answers.index(max(counts, key=lambda c: counts[c]))


def answer(problem: Problem, completion: tuple[int, ...]) -> tuple[int, ...]:
    """The part of a completion that votes: everything after the token that closes a chain, so that chains
    which lead to one answer vote together (self-consistency, arXiv 2203.11171)."""
    if not problem.chain or problem.chain[-1] not in completion:
        return completion
    return completion[completion.index(problem.chain[-1]) + 1 :]


def lowest(scores: Sequence[float]) -> int:
    """Index of the lowest score; of equal ones the first drawn."""
    return min(range(len(scores)), key=lambda i: scores[i])
