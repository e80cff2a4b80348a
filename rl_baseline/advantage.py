"""Advantages of grouped rewards.

Shapes (suffixes): P problems, G samples a problem.
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


def signal(rewards_PG: Tensor) -> Tensor:
    """Share of the groups whose rewards are not all equal: the others teach nothing."""
    return (rewards_PG != rewards_PG[:, :1]).any(dim=1).float().mean()


ADVANTAGES: dict[str, Callable[[Tensor], Tensor]] = {"grpo": grpo, "dr_grpo": dr_grpo}
