"""Token losses to one number, so that parts of an optimiser step add up to the whole.

Shapes (suffixes): B samples, T tokens. Masks are bool.
"""

import torch
from torch import Tensor


def masked_mean(values_BT: Tensor, mask_BT: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean over the entries where `mask` holds; 0 if there are none.

    Args:
        count: what to divide by instead of the entries at hand: those of a whole optimiser step, so
            that the means of its parts sum to the mean over it.
    """
    total = mask_BT.sum() if count is None else count
    return values_BT.masked_fill(~mask_BT, 0.0).sum() / total.clamp(min=1)


def divisor(counted_BT: Tensor, how: str, length: int | None = None) -> Tensor:
    """What the losses of an optimiser step are divided by: its tokens, its sequences or a constant.

    Args:
        counted_BT: the tokens that count; sequences without any do not.
        how: see `aggregate`.
        length: the constant of `sum_norm`; none: the padded length T.
    Raises:
        ValueError: no such aggregation.
    """
    if how == "token_mean":
        return counted_BT.sum().clamp(min=1)
    if how == "sum_norm":
        return torch.tensor(counted_BT.shape[0] * (length or counted_BT.shape[1]), device=counted_BT.device)
    if how in ("seq_mean_token_sum", "seq_mean_token_mean"):
        return (counted_BT.sum(dim=1) > 0).sum().clamp(min=1)
    raise ValueError(
        f"aggregation {how}: choose token_mean, seq_mean_token_sum, seq_mean_token_mean or sum_norm"
    )


def aggregate(
    loss_BT: Tensor,
    kept_BT: Tensor,
    how: str,
    *,
    counted_BT: Tensor | None = None,
    divide_by: Tensor | None = None,
    length: int | None = None,
) -> Tensor:
    """One number from token losses; sequences without tokens do not count.

    Args:
        kept_BT: the tokens that carry the loss.
        how: `token_mean`, sum over all tokens / their number (DAPO, arXiv 2503.14476, eq. 8);
            `seq_mean_token_sum`, mean over sequences of the sum;
            `seq_mean_token_mean`, mean over sequences of the mean (GRPO, arXiv 2402.03300, eq. 3);
            `sum_norm`, sum / (B * length), a constant (Dr. GRPO, arXiv 2503.20783).
        counted_BT: the tokens that make up the denominators; none: those kept.
        divide_by: `divisor` of the whole optimiser step, where `loss_BT` is a part of it; none: of
            what is at hand.
        length: the constant of `sum_norm`.
    """
    counted_BT = kept_BT if counted_BT is None else counted_BT
    if divide_by is None:
        divide_by = divisor(counted_BT, how, length)
    loss_BT = loss_BT.masked_fill(~kept_BT, 0.0)
    if how == "seq_mean_token_mean":
        return (loss_BT.sum(dim=1) / counted_BT.sum(dim=1).clamp(min=1)).sum() / divide_by
    return loss_BT.sum() / divide_by
