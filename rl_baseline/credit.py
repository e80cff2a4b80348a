"""Which tokens learn: forking tokens, planning tokens, and their controls.

Shapes (suffixes): B samples, T tokens; masks are bool.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena.tasks.base import Problem
from arena.token_classes import ANSWER, EXECUTE, FORMAT, PLAN
from rl_baseline.config import RLArm

CLASSES = (PLAN, EXECUTE, FORMAT, ANSWER)


def token_classes(problem: Problem, completion: Sequence[int]) -> list[int]:
    """Class of each sampled token, an index into CLASSES, or -1 where none is well defined.

    The task says the class of each token of its own chain. A sampled token stands at the same point of
    the work only as long as the sample has kept the chain's structure: before it, the chain's format
    tokens, and nothing else, stand where the chain has them. What follows an intact chain is answer.
    A token is judged by what comes before it: its own value is what the policy decided there.
    """
    inside = {t for t, c in zip(problem.chain, problem.classes, strict=True) if c != FORMAT}
    marks = {t for t, c in zip(problem.chain, problem.classes, strict=True) if c == FORMAT} - inside
    found = [-1] * len(completion)
    for i, token in enumerate(completion):
        if i >= len(problem.chain):
            found[i] = CLASSES.index(ANSWER)
            continue
        found[i] = CLASSES.index(problem.classes[i])
        kept = token == problem.chain[i] if problem.classes[i] == FORMAT else token not in marks
        if not kept:
            break
    return found


def class_table(problems: Sequence[Problem], completions: Sequence[Sequence[int]]) -> Tensor | None:
    """`token_classes` of a batch, (B, T), int8, -1 at padding; none if no problem has a chain."""
    if not any(p.chain for p in problems):
        return None
    rows = [token_classes(p, c) for p, c in zip(problems, completions, strict=True)]
    width = max(map(len, rows))
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows], dtype=torch.int8)


def top(scores_BT: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """The ceil(share * tokens) of highest score among the mask's; bool.

    The number is exact: of equal scores, the first in the batch are taken. Source of rank over the
    whole step, ceil included: arXiv 2506.01939, eq. 5 and 6.
    """
    # A millionth less: what is a whole number but for its rounding must not become the next one.
    count = (share * (1 - 1e-6) * mask_BT.sum()).ceil()
    flat = scores_BT.masked_fill(~mask_BT, -torch.inf).flatten()
    order = flat.argsort(descending=True, stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device)
    return (ranks < count).reshape(mask_BT.shape) & mask_BT


def placebo(marked_BT: Tensor, mask_BT: Tensor, generator: torch.Generator) -> Tensor:
    """As many random tokens of each sample as are marked in it; bool. `generator` is on the CPU."""
    draws_BT = torch.rand(mask_BT.shape, generator=generator).to(mask_BT.device)
    ranks_BT = draws_BT.masked_fill(~mask_BT, torch.inf).argsort(dim=1).argsort(dim=1)
    return (ranks_BT < marked_BT.sum(dim=1, keepdim=True)) & mask_BT


def plan_bonus(advantages_BT: Tensor, marked_BT: Tensor, alpha: float) -> Tensor:
    """A + alpha |A| on the marked tokens, A elsewhere. Source: HICRA, arXiv 2509.03646, eq. 4."""
    return torch.where(marked_BT, advantages_BT + alpha * advantages_BT.abs(), advantages_BT)


def assign(
    arm: RLArm,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    entropy_BT: Tensor | None,
    planning_BT: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """The credit rule that the arm's configuration asks for, over a whole optimiser step.

    Args:
        entropy_BT: of the current policy, detached; read by top_entropy and bottom_entropy only.
        planning_BT: the task's planning tokens; read by hicra and hicra_placebo only.
        generator: on the CPU; used by random and hicra_placebo only.
    Returns:
        advantages; the tokens that carry the loss; the tokens that the rule picked, all where there is
        no rule. (B, T) each.
    """
    if arm.credit == "all":
        return advantages_BT, mask_BT, mask_BT
    if arm.credit in ("hicra", "hicra_placebo"):
        marked_BT = planning_BT & mask_BT
        if arm.credit == "hicra_placebo":
            marked_BT = placebo(marked_BT, mask_BT, generator)
        return plan_bonus(advantages_BT, marked_BT, arm.credit_alpha), mask_BT, marked_BT
    if arm.credit == "random":
        draws_BT = torch.rand(mask_BT.shape, generator=generator).to(mask_BT.device)
        kept_BT = top(draws_BT, mask_BT, arm.credit_share)
    else:
        assert entropy_BT is not None
        if arm.credit == "top_entropy":
            kept_BT = top(entropy_BT, mask_BT, arm.credit_share)
        else:
            # What the highest leave over, so that the top 20% and the bottom 80% are a partition.
            kept_BT = mask_BT & ~top(entropy_BT, mask_BT, 1 - arm.credit_share)
    return advantages_BT, kept_BT, kept_BT
