"""Covariance of log-probability and advantage: what drives entropy, and what Clip-Cov and KL-Cov cut.

Shapes (suffixes): B samples of one optimiser step or rollout, P problems, G samples per problem, T tokens.
`logp`, `old_logp`, `advantages` and `mask` (bool) are all (B, T). Tokens are selected over the whole
(B, T) at hand: a caller who splits an optimiser step selects before splitting.

For a softmax policy the entropy changes to first order by -Cov_{a ~ pi}(log pi, dz), dz the change of
the logits: -eta Cov(log pi, A) under a natural policy gradient of rate eta, -eta Cov(log pi, pi A) under
the policy gradient (arXiv 2505.22617, section 4.1).
"""

import torch
from einops import rearrange
from torch import Tensor

from rl_baseline.aggregation import masked_mean

QUANTILES = {"p50": 0.5, "p80": 0.8, "p99": 0.99, "max": 1.0}
"""Of the tokens' covariances, by the name of their column."""


def covariances(logp_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """(A - mean A)(logp - mean logp) of each token, masked means, detached.

    Source: arXiv 2505.22617, eq. 10.
    """
    logp_BT = logp_BT.detach()
    return (advantages_BT - masked_mean(advantages_BT, mask_BT)) * (logp_BT - masked_mean(logp_BT, mask_BT))


def sequence_covariance(logp_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, group: int) -> Tensor:
    """Covariance of a sample's log-probability and its advantage within its group, mean over groups.

    A sample is one action here, its prompt the state. `advantages` are constant along a sample.
    """
    logp_PG = rearrange(logp_BT.masked_fill(~mask_BT, 0.0).sum(1), "(p g) -> p g", g=group)
    advantages_PG = rearrange(advantages_BT[:, 0], "(p g) -> p g", g=group)
    centred_PG = advantages_PG - advantages_PG.mean(1, keepdim=True)
    return (centred_PG * (logp_PG - logp_PG.mean(1, keepdim=True))).mean()


def quantiles(covariance_BT: Tensor, mask_BT: Tensor) -> dict[str, Tensor]:
    """QUANTILES of the covariance over the tokens of the mask, which holds at least one."""
    levels = torch.tensor(list(QUANTILES.values()), device=mask_BT.device, dtype=covariance_BT.dtype)
    # NaN marks padding: picking the real entries by a mask would wait for the device.
    values = covariance_BT.masked_fill(~mask_BT, torch.nan).flatten().nanquantile(levels)
    return dict(zip(QUANTILES, values.unbind(), strict=True))


def freed(
    covariance_BT: Tensor,
    eligible_BT: Tensor,
    mask_BT: Tensor,
    *,
    share: float,
    bounds: str,
    low: float,
    high: float,
    generator: torch.Generator,
) -> Tensor:
    """The tokens that Clip-Cov takes out: few, at random, of those with high covariance; bool.

    Of the eligible tokens with low < covariance < high, max(1, int(share * tokens)) drawn from
    `generator` (on the CPU). `bounds` is `absolute`, or `quantile`: low and high are quantiles of the
    covariance over the mask's tokens, and a quantile of 0 or 1 bounds nothing.
    Source: arXiv 2505.22617, eq. 11 and 12, and the authors' code.
    """
    lower, upper = _bounds(covariance_BT[mask_BT], bounds, low, high)
    eligible_BT = mask_BT & eligible_BT & (covariance_BT > lower) & (covariance_BT < upper)
    rows, columns = eligible_BT.nonzero(as_tuple=True)
    count = max(1, int(share * int(mask_BT.sum())))
    chosen = torch.randperm(len(rows), generator=generator)[:count].to(rows.device)
    freed_BT = torch.zeros_like(mask_BT)
    freed_BT[rows[chosen], columns[chosen]] = True
    return freed_BT


def penalised(covariance_BT: Tensor, mask_BT: Tensor, *, share: float) -> Tensor:
    """The tokens that KL-Cov holds back: the max(1, int(share * tokens)) of highest covariance; bool.

    Source: arXiv 2505.22617, eq. 13.
    """
    tokens = int(mask_BT.sum())
    ranked = covariance_BT.masked_fill(~mask_BT, -torch.inf).flatten()
    top = ranked.topk(min(tokens, max(1, int(share * tokens)))).indices
    return torch.zeros_like(mask_BT).flatten().index_fill(0, top, True).reshape(mask_BT.shape)


def _bounds(
    covariance_N: Tensor, bounds: str, low: float, high: float
) -> tuple[float | Tensor, float | Tensor]:
    if bounds == "absolute" or not len(covariance_N):
        return low, high
    lower = torch.quantile(covariance_N, low) if low > 0 else -torch.inf
    upper = torch.quantile(covariance_N, high) if high < 1 else torch.inf
    return lower, upper
