"""Policy losses of single tokens: PPO, GPPO, CE-GPPO, CISPO, Clip-Cov, KL-Cov, likelihood.

Shapes (suffixes): B samples, T tokens. `logp`, `old_logp` and `advantages` are all (B, T); the ratio is
exp(logp - old_logp); losses are minimised. A token's loss depends on that token alone, so an optimiser
step may be taken in parts; what depends on all its tokens, which of them are selected and what the sum
is divided by, is decided beforehand (`update.decide`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rl_baseline.config import RLArm

LOG_RATIO_LIMIT = 20.0


@dataclass(frozen=True, kw_only=True)
class TokenLoss:
    """Loss of each token, and which bounds hold it."""

    loss_BT: Tensor
    binds_BT: Tensor
    """Where the bound on the ratio decides instead of the ratio, bool."""
    dual_BT: Tensor
    """Where the dual clip decides, bool."""


def log_ratio(logp_BT: Tensor, old_logp_BT: Tensor) -> Tensor:
    """logp - old_logp, clamped so that its exponential stays finite in fp32."""
    return (logp_BT - old_logp_BT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def divergences(logp_BT: Tensor, reference_BT: Tensor) -> dict[str, Tensor]:
    """Estimates k1, k2, k3 of KL(p || q) at tokens drawn from p: `logp` under p, `reference` under q.

    With d = log p - log q: d; d^2 / 2; exp(-d) - 1 + d, which is unbiased and never negative.
    Source: Schulman 2020, "Approximating KL divergence".
    """
    delta_BT = log_ratio(logp_BT, reference_BT)
    return {"k1": delta_BT, "k2": delta_BT.square() / 2, "k3": torch.expm1(-delta_BT) + delta_BT}


def ppo(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
) -> TokenLoss:
    """max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)); for A < 0 at most -dual_clip A.

    Sources: PPO, arXiv 1707.06347, eq. 7; unequal bounds, DAPO, arXiv 2503.14476, eq. 10; dual clip,
    arXiv 1912.09729, eq. 5.
    """
    ratio_BT = log_ratio(logp_BT, old_logp_BT).exp()
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    loss_BT, binds_BT = _pessimistic(ratio_BT, clipped_BT, advantages_BT)
    return _dual(loss_BT, binds_BT, advantages_BT, dual_clip)


def gppo(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
    beta_low: float = 1.0,
    beta_high: float = 1.0,
) -> TokenLoss:
    """PPO's value, but a clipped token keeps the gradient of its bound instead of none.

    The bound b becomes b / sg(r) * r: value b, derivative with respect to logp b. CE-GPPO weighs tokens
    clipped below (A < 0) by beta_low and tokens clipped above (A > 0) by beta_high, value and gradient.
    Sources: Klear-Reasoner, arXiv 2508.07629, eq. 6; CE-GPPO, arXiv 2509.20712, eq. 7.
    """
    ratio_BT = log_ratio(logp_BT, old_logp_BT).exp()
    fixed_BT = ratio_BT.detach()
    clipped_BT = fixed_BT.clamp(1 - clip_low, 1 + clip_high) / fixed_BT * ratio_BT
    loss_BT, binds_BT = _pessimistic(ratio_BT, clipped_BT, advantages_BT)
    if (beta_low, beta_high) != (1.0, 1.0):
        # After the bound is found to bind: a weighted bound could look the more optimistic of the two.
        beta_BT = torch.where(advantages_BT < 0, beta_low, torch.full_like(advantages_BT, beta_high))
        loss_BT = torch.where(binds_BT, beta_BT * loss_BT, loss_BT)
    return _dual(loss_BT, binds_BT, advantages_BT, dual_clip)


def cispo(
    logp_BT: Tensor, old_logp_BT: Tensor, advantages_BT: Tensor, *, clip_low: float, clip_high: float
) -> TokenLoss:
    """-sg(clip(r, 1 - clip_low, 1 + clip_high)) A logp: every token keeps a gradient, of bounded weight.

    Source: CISPO, arXiv 2506.13585, eq. 4 and 5 (which leaves the lower bound open: clip_low = 1).
    """
    ratio_BT = log_ratio(logp_BT.detach(), old_logp_BT).exp()
    weight_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    return TokenLoss(
        loss_BT=-weight_BT * advantages_BT * logp_BT,
        binds_BT=weight_BT != ratio_BT,
        dual_BT=torch.zeros_like(ratio_BT, dtype=torch.bool),
    )


def clip_cov(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    freed_BT: Tensor,
) -> TokenLoss:
    """PPO without dual clip, but the freed tokens (`covariance.freed`) teach nothing.

    Their loss is 0 and they stay in the denominator. Source: arXiv 2505.22617, eq. 12.
    """
    ratio_BT = log_ratio(logp_BT, old_logp_BT).exp()
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    loss_BT, binds_BT = _pessimistic(ratio_BT, clipped_BT, advantages_BT)
    return TokenLoss(
        loss_BT=loss_BT.masked_fill(freed_BT, 0.0), binds_BT=binds_BT, dual_BT=torch.zeros_like(binds_BT)
    )


def kl_cov(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    *,
    coef: float,
    penalised_BT: Tensor,
    slack: float = 0.0,
) -> TokenLoss:
    """-A r, plus coef |logp - old_logp| on the penalised tokens (`covariance.penalised`).

    Nothing is clipped. With logp = old_logp the penalty and its gradient vanish, so the first
    update on a rollout is plain policy gradient. Source: arXiv 2505.22617, eq. 14.

    Args:
        slack: differences up to this are rounding, between sampling and training, and not penalised:
            the penalty's gradient is +-coef however small the difference is.
    """
    delta_BT = log_ratio(logp_BT, old_logp_BT)
    penalised_BT = penalised_BT & (delta_BT.detach().abs() > slack)
    loss_BT = -advantages_BT * delta_BT.exp() + coef * delta_BT.abs() * penalised_BT
    nowhere_BT = torch.zeros_like(penalised_BT)
    return TokenLoss(loss_BT=loss_BT, binds_BT=nowhere_BT, dual_BT=nowhere_BT)


def token_loss(
    arm: RLArm, logp_BT: Tensor, old_logp_BT: Tensor, advantages_BT: Tensor, selected_BT: Tensor
) -> TokenLoss:
    """The loss that the arm's configuration asks for.

    Args:
        selected_BT: the tokens that Clip-Cov frees or KL-Cov penalises.
    """
    tensors = (logp_BT, old_logp_BT, advantages_BT)
    low, high = arm.clip_low, arm.clip_high
    if arm.loss == "nll":
        nowhere_BT = torch.zeros_like(selected_BT)
        return TokenLoss(loss_BT=-logp_BT, binds_BT=nowhere_BT, dual_BT=nowhere_BT)
    if arm.loss == "kl_cov":
        return kl_cov(*tensors, coef=arm.kl_coef, penalised_BT=selected_BT, slack=arm.kl_slack)
    if arm.loss == "clip_cov":
        return clip_cov(*tensors, clip_low=low, clip_high=high, freed_BT=selected_BT)
    if arm.loss == "cispo":
        return cispo(*tensors, clip_low=low, clip_high=high)
    if arm.loss == "ppo":
        return ppo(*tensors, clip_low=low, clip_high=high, dual_clip=arm.dual_clip)
    betas = {"beta_low": arm.beta_low, "beta_high": arm.beta_high} if arm.loss == "ce_gppo" else {}
    return gppo(*tensors, clip_low=low, clip_high=high, dual_clip=arm.dual_clip, **betas)


def binding(ratio_BT: Tensor, advantages_BT: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Where PPO's bound on the ratio decides, bool."""
    return _pessimistic(ratio_BT, ratio_BT.clamp(1 - clip_low, 1 + clip_high), advantages_BT)[1]


def _pessimistic(ratio_BT: Tensor, clipped_BT: Tensor, advantages_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of the two losses, and where that is the clipped one."""
    free_BT, bound_BT = -advantages_BT * ratio_BT, -advantages_BT * clipped_BT
    binds_BT = bound_BT > free_BT
    # Not torch.maximum: at a tie, as inside the bounds, it would split the gradient in halves.
    return torch.where(binds_BT, bound_BT, free_BT), binds_BT


def _dual(loss_BT: Tensor, binds_BT: Tensor, advantages_BT: Tensor, dual_clip: float) -> TokenLoss:
    ceiling_BT = torch.where(advantages_BT < 0, -dual_clip * advantages_BT, torch.inf)
    over_BT = loss_BT > ceiling_BT
    return TokenLoss(
        loss_BT=torch.where(over_BT, ceiling_BT, loss_BT), binds_BT=binds_BT, dual_BT=over_BT.detach()
    )
