"""Policy losses on sampled tokens: PPO, Clip-Cov, KL-Cov, GPPO.

Shapes (suffixes): B samples of one optimiser step, T tokens. `logp`, `old_logp`, `advantages` and
`mask` (bool) are all (B, T); the ratio is exp(logp - old_logp); losses are minimised. Tokens are
selected over the whole (B, T) at hand, so a caller who splits an optimiser step into micro-batches
must not call these on the parts.

Every loss returns the scalar and detached metrics: `kl` (mean of old_logp - logp), `clip_fraction`
(share of tokens whose pessimistic bound binds), `covariance` and `selected` (share of tokens that
Clip-Cov frees or KL-Cov penalises).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rl_baseline.config import RLArm

LOG_RATIO_LIMIT = 20.0
Metrics = Mapping[str, Tensor]


def masked_mean(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over the entries where `mask` holds; 0 if there are none."""
    return values_BT.masked_fill(~mask_BT, 0.0).sum() / mask_BT.sum().clamp(min=1)


def aggregate(loss_BT: Tensor, mask_BT: Tensor, how: str, length: int | None = None) -> Tensor:
    """One number from token losses; sequences without tokens do not count.

    Args:
        how: `token_mean`, sum over all tokens / their number (DAPO, arXiv 2503.14476, eq. 8);
            `seq_mean_token_sum`, mean over sequences of the sum;
            `seq_mean_token_mean`, mean over sequences of the mean (GRPO, arXiv 2402.03300, eq. 3);
            `sum_norm`, sum / (B * length), a constant (Dr. GRPO, arXiv 2503.20783).
        length: the constant of `sum_norm`; none: the padded length T.
    """
    if how == "token_mean":
        return masked_mean(loss_BT, mask_BT)
    loss_BT = loss_BT.masked_fill(~mask_BT, 0.0)
    if how == "sum_norm":
        return loss_BT.sum() / (loss_BT.shape[0] * (length or loss_BT.shape[1]))
    tokens_B = mask_BT.sum(dim=1)
    sequences = (tokens_B > 0).sum().clamp(min=1)
    if how == "seq_mean_token_sum":
        return loss_BT.sum() / sequences
    if how == "seq_mean_token_mean":
        return (loss_BT.sum(dim=1) / tokens_B.clamp(min=1)).sum() / sequences
    raise ValueError(
        f"aggregation {how}: choose token_mean, seq_mean_token_sum, seq_mean_token_mean or sum_norm"
    )


def log_ratio(logp_BT: Tensor, old_logp_BT: Tensor) -> Tensor:
    """logp - old_logp, clamped so that its exponential stays finite in fp32."""
    return (logp_BT - old_logp_BT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def covariances(logp_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """(A - mean A)(logp - mean logp) of each token, masked means, detached.

    Source: arXiv 2505.22617, eq. 10.
    """
    logp_BT = logp_BT.detach()
    return (advantages_BT - masked_mean(advantages_BT, mask_BT)) * (logp_BT - masked_mean(logp_BT, mask_BT))


def ppo(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
    aggregation: str,
    length: int | None = None,
) -> tuple[Tensor, Metrics]:
    """max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)); for A < 0 at most -dual_clip A.

    Sources: PPO, arXiv 1707.06347, eq. 7; unequal bounds, DAPO, arXiv 2503.14476, eq. 10; dual clip,
    arXiv 1912.09729, eq. 5.
    """
    delta_BT = log_ratio(logp_BT, old_logp_BT)
    ratio_BT = delta_BT.exp()
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    loss_BT, binds_BT = _pessimistic(ratio_BT, clipped_BT, advantages_BT)
    loss_BT = _dual(loss_BT, advantages_BT, dual_clip)
    metrics = _metrics(logp_BT, delta_BT, advantages_BT, mask_BT, binds=binds_BT)
    return aggregate(loss_BT, mask_BT, aggregation, length), metrics


def gppo(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
    aggregation: str,
    length: int | None = None,
) -> tuple[Tensor, Metrics]:
    """PPO's value, but a clipped token keeps the gradient of its bound instead of none.

    The bound b becomes b / sg(r) * r: value b, derivative with respect to logp b.
    Source: Klear-Reasoner, arXiv 2508.07629, eq. 6; its likelihood term is `likelihood_of_correct`.
    """
    delta_BT = log_ratio(logp_BT, old_logp_BT)
    ratio_BT = delta_BT.exp()
    fixed_BT = ratio_BT.detach()
    clipped_BT = fixed_BT.clamp(1 - clip_low, 1 + clip_high) / fixed_BT * ratio_BT
    loss_BT, binds_BT = _pessimistic(ratio_BT, clipped_BT, advantages_BT)
    loss_BT = _dual(loss_BT, advantages_BT, dual_clip)
    metrics = _metrics(logp_BT, delta_BT, advantages_BT, mask_BT, binds=binds_BT)
    return aggregate(loss_BT, mask_BT, aggregation, length), metrics


def clip_cov(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    share: float,
    bounds: str,
    low: float,
    high: float,
    generator: torch.Generator,
    aggregation: str,
    length: int | None = None,
) -> tuple[Tensor, Metrics]:
    """PPO, but a random few of the tokens with high covariance teach nothing.

    Of the tokens with low < covariance < high that PPO does not clip, max(1, int(share * tokens))
    drawn from `generator` (on the CPU) get loss 0 and stay in the denominator. `bounds` is
    `absolute`, or `quantile`: low and high are quantiles of the covariance over the tokens, and a
    quantile of 0 or 1 bounds nothing. Source: arXiv 2505.22617, eq. 11 and 12, and the authors' code.
    """
    delta_BT = log_ratio(logp_BT, old_logp_BT)
    ratio_BT = delta_BT.exp()
    clipped_BT = ratio_BT.clamp(1 - clip_low, 1 + clip_high)
    loss_BT, binds_BT = _pessimistic(ratio_BT, clipped_BT, advantages_BT)
    covariance_BT = covariances(logp_BT, advantages_BT, mask_BT)
    lower, upper = _bounds(covariance_BT[mask_BT], bounds, low, high)
    eligible_BT = mask_BT & ~binds_BT & (covariance_BT > lower) & (covariance_BT < upper)
    rows, columns = eligible_BT.nonzero(as_tuple=True)
    count = max(1, int(share * int(mask_BT.sum())))
    chosen = torch.randperm(len(rows), generator=generator)[:count].to(rows.device)
    freed_BT = torch.zeros_like(mask_BT)
    freed_BT[rows[chosen], columns[chosen]] = True
    loss_BT = loss_BT.masked_fill(freed_BT, 0.0)
    metrics = _metrics(logp_BT, delta_BT, advantages_BT, mask_BT, binds=binds_BT, selected=freed_BT)
    return aggregate(loss_BT, mask_BT, aggregation, length), metrics


def kl_cov(
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    share: float,
    coef: float,
    aggregation: str,
    length: int | None = None,
) -> tuple[Tensor, Metrics]:
    """-A r, plus coef |logp - old_logp| on the max(1, int(share * tokens)) of highest covariance.

    Nothing is clipped. With logp = old_logp the penalty and its gradient vanish, so the first
    update on a rollout is plain policy gradient. Source: arXiv 2505.22617, eq. 13 and 14.
    """
    delta_BT = log_ratio(logp_BT, old_logp_BT)
    covariance_BT = covariances(logp_BT, advantages_BT, mask_BT)
    tokens = int(mask_BT.sum())
    ranked = covariance_BT.masked_fill(~mask_BT, -torch.inf).flatten()
    top = ranked.topk(min(tokens, max(1, int(share * tokens)))).indices
    penalised_BT = torch.zeros_like(mask_BT).flatten().index_fill(0, top, True).reshape(mask_BT.shape)
    loss_BT = -advantages_BT * delta_BT.exp() + coef * delta_BT.abs() * penalised_BT
    metrics = _metrics(logp_BT, delta_BT, advantages_BT, mask_BT, selected=penalised_BT)
    return aggregate(loss_BT, mask_BT, aggregation, length), metrics


def likelihood_of_correct(logp_BT: Tensor, mask_BT: Tensor, correct_B: Tensor) -> Tensor:
    """Mean negative log-likelihood over the tokens of the correct samples; 0 if there are none.

    Source: arXiv 2508.07629, eq. 8.
    """
    return masked_mean(-logp_BT, mask_BT & correct_B.unsqueeze(1))


def policy_loss(
    arm: RLArm,
    logp_BT: Tensor,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    correct_B: Tensor,
    *,
    generator: torch.Generator,
    length: int,
) -> tuple[Tensor, Metrics]:
    """The loss that the arm's configuration asks for.

    Args:
        correct_B: which samples earned the reward, bool.
        generator: on the CPU; used by Clip-Cov only.
        length: longest possible completion, the constant of `sum_norm`.
    """
    tensors = (logp_BT, old_logp_BT, advantages_BT, mask_BT)
    if arm.loss == "kl_cov":
        loss, metrics = kl_cov(
            *tensors, share=arm.cov_share, coef=arm.kl_coef, aggregation=arm.aggregation, length=length
        )
    elif arm.loss == "clip_cov":
        loss, metrics = clip_cov(
            *tensors,
            clip_low=arm.clip_low,
            clip_high=arm.clip_high,
            share=arm.cov_share,
            bounds=arm.cov_bounds,
            low=arm.cov_low,
            high=arm.cov_high,
            generator=generator,
            aggregation=arm.aggregation,
            length=length,
        )
    else:
        loss, metrics = (gppo if arm.loss == "gppo" else ppo)(
            *tensors,
            clip_low=arm.clip_low,
            clip_high=arm.clip_high,
            dual_clip=arm.dual_clip,
            aggregation=arm.aggregation,
            length=length,
        )
    if arm.nll_coef:
        loss = loss + arm.nll_coef * likelihood_of_correct(logp_BT, mask_BT, correct_B)
    return loss, metrics


def _pessimistic(ratio_BT: Tensor, clipped_BT: Tensor, advantages_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of the two losses, and where that is the clipped one."""
    free_BT, bound_BT = -advantages_BT * ratio_BT, -advantages_BT * clipped_BT
    binds_BT = bound_BT > free_BT
    # Not torch.maximum: at a tie, as inside the bounds, it would split the gradient in halves.
    return torch.where(binds_BT, bound_BT, free_BT), binds_BT


def _dual(loss_BT: Tensor, advantages_BT: Tensor, dual_clip: float) -> Tensor:
    ceiling_BT = torch.where(advantages_BT < 0, -dual_clip * advantages_BT, torch.inf)
    return torch.where(loss_BT > ceiling_BT, ceiling_BT, loss_BT)


def _bounds(
    covariance_N: Tensor, bounds: str, low: float, high: float
) -> tuple[float | Tensor, float | Tensor]:
    if bounds == "absolute" or not len(covariance_N):
        return low, high
    lower = torch.quantile(covariance_N, low) if low > 0 else -torch.inf
    upper = torch.quantile(covariance_N, high) if high < 1 else torch.inf
    return lower, upper


def _metrics(
    logp_BT: Tensor,
    delta_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    binds: Tensor | None = None,
    selected: Tensor | None = None,
) -> Metrics:
    zero = torch.zeros((), device=mask_BT.device)
    return {
        "kl": masked_mean(-delta_BT.detach(), mask_BT),
        "clip_fraction": zero if binds is None else masked_mean(binds.float(), mask_BT),
        "covariance": masked_mean(covariances(logp_BT, advantages_BT, mask_BT), mask_BT),
        "selected": zero if selected is None else masked_mean(selected.float(), mask_BT),
    }
