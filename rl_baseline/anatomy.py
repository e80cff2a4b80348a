"""Where the entropy of sampled tokens sits, and where samples go wrong, by class and place of the token.

A place is a token's index in the completion. Shapes (suffixes): B samples, T tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena.rollout import Rollout
from arena.tasks.base import Problem
from arena.token_classes import EXECUTE, PLAN
from rl_baseline.credit import CLASSES, top

LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Entropies, nats, at which the share of tokens above is recorded."""

FORKS = 0.2
"""Share of tokens of highest entropy that are called forking (arXiv 2506.01939)."""

PLACED = (PLAN, EXECUTE)
"""Classes that are also recorded place by place, so that their labels can be dealt out anew."""


def survey(entropy_BT: Tensor, mask_BT: Tensor, classes_BT: Tensor | None) -> dict[str, Tensor]:
    """How entropy is spread over the tokens of a sample.

    `tokens_above_LEVEL`, shares of tokens; `entropy_in_forks`, the share of all entropy that the forking
    tokens hold; for each class that occurs `tokens_CLASS` and `forks_CLASS`, its share of all tokens and of
    the forking ones, and `held_out_entropy_CLASS`, its mean, nats. Tokens without a class count as tokens.

    Args:
        classes_BT: from `credit.class_table`, on the host.
    """
    tokens = mask_BT.sum()
    total = entropy_BT.masked_fill(~mask_BT, 0.0).sum()
    found = {f"tokens_above_{level:g}": ((entropy_BT > level) & mask_BT).sum() / tokens for level in LEVELS}
    forks_BT = top(entropy_BT, mask_BT, FORKS)
    # A policy that is certain everywhere: the sum is zero, and so is every part of it.
    found["entropy_in_forks"] = entropy_BT[forks_BT].sum() / total.clamp(min=1e-12)
    if classes_BT is None:
        return found
    for index, name in enumerate(CLASSES):
        if not (classes_BT == index).any():
            continue
        of_BT = (classes_BT == index).to(mask_BT.device)
        found[f"tokens_{name}"] = of_BT.sum() / tokens
        found[f"forks_{name}"] = (of_BT & forks_BT).sum() / forks_BT.sum()
        found[f"held_out_entropy_{name}"] = entropy_BT[of_BT].mean()
    return found


def by_place(rollout: Rollout, problems: Sequence[Problem], classes_BT: Tensor) -> dict[str, Tensor]:
    """What a rollout says of each class, and of PLACED place by place.

    `error_CLASS`: of the tokens that follow the reference up to there, the share that departs from it. A
    sample counts up to its first departure, so no error is counted that only follows from another.
    `error_CLASS_PLACE`, the same at one place; `entropy_CLASS_PLACE`, the mean entropy there, nats, of all
    tokens that `classes_BT` gives the class, as in `measure.of_rollout`. Where there is none, no column.

    Args:
        problems: one per sample.
        classes_BT: from `credit.class_table`, on the host.
    """
    first_B = torch.tensor(
        [departure(p, c) for p, c in zip(problems, rollout.completions, strict=True)]
    ).unsqueeze(1)
    place_T = torch.arange(classes_BT.shape[1])
    reached_BT, wrong_BT = place_T <= first_B, place_T == first_B
    found: dict[str, Tensor] = {}
    for index, name in enumerate(CLASSES):
        of_BT = classes_BT == index
        asked_T, failed_T = (of_BT & reached_BT).sum(0), (of_BT & wrong_BT).sum(0)
        if asked_T.any():
            found[f"error_{name}"] = failed_T.sum() / asked_T.sum()
        if name not in PLACED:
            continue
        known_T = of_BT.sum(0)
        on_device_BT = of_BT.to(rollout.entropy_BT.device)
        mean_T = rollout.entropy_BT.masked_fill(~on_device_BT, 0.0).sum(0) / on_device_BT.sum(0)
        for place in known_T.nonzero()[:, 0].tolist():
            found[f"entropy_{name}_{place}"] = mean_T[place]
            if asked_T[place]:
                found[f"error_{name}_{place}"] = failed_T[place] / asked_T[place]
    return found


def departure(problem: Problem, completion: Sequence[int]) -> int:
    """Place of the first token that differs from the reference; the completion's length if none does."""
    pairs = zip(completion, problem.completion, strict=False)
    return next((i for i, (said, meant) in enumerate(pairs) if said != meant), len(completion))
