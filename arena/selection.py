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

from arena.config import require
from arena.tasks.base import Problem

MAJORITY, LIKELIHOOD, ENERGY, JOINT, ORACLE = "majority", "likelihood", "energy", "joint", "oracle"
DEPLOYABLE = (MAJORITY, LIKELIHOOD, ENERGY, JOINT)
"""Rules that ask for no label; `oracle` does, and bounds them (pass@k)."""
OF_A_POLICY = (MAJORITY, LIKELIHOOD, ORACLE)
"""Rules that need nothing but the policy that drew the samples (and, for `oracle`, the verifier)."""


def majority(answers: Sequence[tuple[int, ...]]) -> int:
    """Index of the most frequent answer; of equally frequent ones the first drawn."""
    counts = Counter(answers)
    return answers.index(max(counts, key=lambda c: counts[c]))


def answer(problem: Problem, completion: tuple[int, ...]) -> tuple[int, ...]:
    """What of a completion is put to the vote: all that follows the token that closes a chain, so that
    chains which lead to one answer vote together (self-consistency, arXiv 2203.11171)."""
    if not problem.chain or problem.chain[-1] not in completion:
        return completion
    return completion[completion.index(problem.chain[-1]) + 1 :]


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


def check_ladder(ladder: Sequence[str]) -> None:
    """Raise ConfigError unless every entry of a policy's `arm.ladder` is one of its efforts."""
    for effort in ladder:
        parsed = parse(effort)
        require(
            parsed is not None and parsed[0] in OF_A_POLICY and parsed[1] >= 2,
            f"arm.ladder={list(ladder)}: {effort} is no effort; write majority@8, likelihood@8 or oracle@8 "
            "for 8 samples (at least 2)",
        )
    require(
        len(set(ladder)) == len(ladder),
        f"arm.ladder={list(ladder)}: an effort stands there twice; name each once",
    )
