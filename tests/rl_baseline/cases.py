"""Cases small enough to be computed by hand, and one way to evaluate a loss on them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rl_baseline.config import RLArm
from rl_baseline.update import Metrics, Samples, Step, decide, policy_loss

# One row of log-probabilities each for a correct and an incorrect sample; three ratios a row.
OLD = torch.tensor([[0.5, 0.4, 0.2], [0.1, 0.8, 0.25]], dtype=torch.float64).log()
RATIO = torch.tensor([[1, 1.5, 0.5], [2, 0.5, 4]], dtype=torch.float64)
ROWS = torch.tensor([[1.0] * 3, [-1.0] * 3], dtype=torch.float64)
MOVED = OLD + RATIO.log()
# The case of the covariance losses: covariances [[3, 0], [0, 2]].
COV_A = torch.tensor([[3.0, 1], [-2, -2]], dtype=torch.float64)
COV_LOGP = torch.tensor([[-1.0, -2], [-2, -3]], dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_samples(
    old: Tensor,
    advantages: Tensor,
    mask: Tensor | None = None,
    correct: Tensor | None = None,
    planning: Tensor | None = None,
) -> Samples:
    mask = torch.ones_like(old, dtype=torch.bool) if mask is None else mask
    return Samples(
        old_logp_BT=old,
        advantages_BT=advantages,
        mask_BT=mask,
        planning_BT=torch.zeros_like(mask) if planning is None else planning,
        correct_B=advantages[:, 0] > 0 if correct is None else correct,
    )


def whole(
    arm: RLArm,
    logp: Tensor,
    samples: Samples,
    *,
    entropy: Tensor | None = None,
    length: int = 5,
    seed: int = 0,
) -> tuple[Tensor, Metrics, Step]:
    """Loss, metrics and decisions of an optimiser step taken at once."""
    seen = None if entropy is None else entropy.detach()
    step = decide(arm, samples, logp.detach(), seen, generator=generator(seed), length=length)
    loss, metrics = policy_loss(arm, logp, entropy, step)
    return loss, metrics, step


def value_and_gradient(
    arm: RLArm, logp: Tensor, samples: Samples, **settings: object
) -> tuple[Tensor, Tensor, Metrics]:
    logp = logp.clone().requires_grad_()
    loss, metrics, _ = whole(arm, logp, samples, **settings)  # pyright: ignore[reportArgumentType]
    return loss.detach(), torch.autograd.grad(loss, logp)[0], metrics


def approx(rows: list[list[float]]) -> list[object]:
    return [pytest.approx(row, abs=1e-6) for row in rows]


def slopes_by_differences(loss: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of a scalar function, entry by entry, in fp64."""
    found = torch.zeros_like(at)
    for i in range(at.numel()):
        change = torch.zeros_like(at)
        change.view(-1)[i] = step
        found.view(-1)[i] = (loss(at + change) - loss(at - change)) / (2 * step)
    return found


def random_case(seed: int, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Samples]:
    """Six samples of up to five tokens: log-probabilities now, and what was known before."""
    draw = generator(seed)
    logp = -torch.rand(6, 5, generator=draw, dtype=dtype) * 4
    change = torch.randn(6, 5, generator=draw, dtype=dtype) * 0.3
    advantages = torch.randn(6, 1, generator=draw, dtype=dtype).expand(6, 5)
    lengths = torch.randint(1, 6, (6,), generator=draw)
    planning = torch.rand(6, 5, generator=draw) < 0.4
    return logp, make_samples(
        logp + change, advantages, torch.arange(5) < lengths[:, None], planning=planning
    )
