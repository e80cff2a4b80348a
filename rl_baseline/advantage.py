"""Advantages of grouped rewards.

Shapes (suffixes): P problems, G samples per problem.
"""

from collections.abc import Callable

from torch import Tensor


def grpo(rewards_PG: Tensor) -> Tensor:
    """(R - mean) / (std + 1e-6) within each group, sample standard deviation; (P, G).

    A group of equal rewards gives zeros. Source: GRPO, arXiv 2402.03300, section 4.1.2.
    """
    centred = dr_grpo(rewards_PG)
    return centred / (rewards_PG.std(dim=1, keepdim=True) + 1e-6)


def dr_grpo(rewards_PG: Tensor) -> Tensor:
    """R - mean within each group; (P, G).

    Without the division, a group's weight does not grow as its rewards become more alike.
    Source: Dr. GRPO, arXiv 2503.20783, section 3.1.
    """
    # The mean of equal numbers may be off by a rounding; subtracting the first reward beforehand
    # makes an equal group exactly zero, whatever the rewards.
    shifted = rewards_PG - rewards_PG[:, :1]
    return shifted - shifted.mean(dim=1, keepdim=True)


def rloo(rewards_PG: Tensor) -> Tensor:
    """R - mean of the group's other rewards, which is n / (n - 1) (R - mean); (P, G).

    Source: arXiv 2402.14740, section 3.2.
    """
    group = rewards_PG.shape[1]
    return dr_grpo(rewards_PG) * group / (group - 1)


def pass_at_k(rewards_PG: Tensor) -> Tensor:
    """The group's best reward less the second, over (std + 1e-6), for the best sample alone; (P, G).

    Where several share the best reward nobody gets anything: another sample would have done as well.
    Source: verl's `grpo_passk`, after arXiv 2503.19595.
    """
    best = rewards_PG.topk(2, dim=1)
    lead_P1 = best.values[:, :1] - best.values[:, 1:]
    lead_P1 = lead_P1 / (rewards_PG.std(dim=1, keepdim=True) + 1e-6)
    return rewards_PG.new_zeros(rewards_PG.shape).scatter(1, best.indices[:, :1], lead_P1)


def reinforce_pp(rewards_PG: Tensor, tokens_PG: Tensor) -> Tensor:
    """Rewards whitened over all the rollout's tokens, each of which has its sample's reward; (P, G).

    Args:
        tokens_PG: length of each sample: a long one weighs more in mean and (sample) variance.

    Groups do see each other here. Source: REINFORCE++, arXiv 2501.03262, eq. 4.
    """
    shifted = rewards_PG - rewards_PG[:1, :1]  # exact zeros where all rewards are equal, see dr_grpo
    total = tokens_PG.sum()
    centred = shifted - (shifted * tokens_PG).sum() / total
    variance = (centred.square() * tokens_PG).sum() / (total - 1).clamp(min=1)
    return centred * (variance + 1e-8).rsqrt()


GROUPED: dict[str, Callable[[Tensor], Tensor]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "pass_at_k": pass_at_k,
}
"""Advantages for which each group is on its own."""


def advantages(name: str, rewards_PG: Tensor, tokens_PG: Tensor) -> Tensor:
    """The advantage that `name` asks for, (P, G); `tokens_PG` are the samples' lengths."""
    if name == "reinforce_pp":
        return reinforce_pp(rewards_PG, tokens_PG)
    return GROUPED[name](rewards_PG)


def signal(rewards_PG: Tensor) -> Tensor:
    """Share of the groups whose rewards are not all equal: the others teach nothing."""
    return (rewards_PG != rewards_PG[:, :1]).any(dim=1).float().mean()
