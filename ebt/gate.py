"""The gate: which positions of an answer descend. The others keep the head's start.

In training a gate lets a fixed share of each problem's positions through: those of highest entropy, or a
random choice as a control. The entropy at that cut is remembered as a moving average. At inference, where
tokens come one by one, a position descends if its entropy is above the remembered cut.

Shapes as in ebt.energy; N candidates of a sequence that are let through.
"""

import torch
from torch import Tensor

from arena import ranks
from ebt.config import EBTArm

CUT_MEMORY = 0.98
"""Share of the cut that a training step keeps."""


def entropy(logits_BMV: Tensor) -> Tensor:
    """Entropy (B, M) of every candidate, nats."""
    logp_BMV = logits_BMV.float().log_softmax(-1)
    return -(logp_BMV.exp() * logp_BMV).sum(-1)


def initial_cut(arm: EBTArm) -> Tensor:
    """The cut before training, a scalar: infinite, so that no entropy passes it; of a random gate its share,
    which stays."""
    return torch.tensor(arm.gate_share if arm.gate == "random" else float("inf"))


def highest(scores_BM: Tensor, supervised_BM: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Scores and indices (B, N) of the `count` supervised positions of highest score, per problem. A problem
    with fewer supervised positions fills up with others, of score -1."""
    scores_BN, index_BN = scores_BM.masked_fill(~supervised_BM, -1.0).topk(count, dim=1)
    return scores_BN, index_BN


def moved_cut(cut: Tensor, entropies_BN: Tensor) -> Tensor:
    """The cut after a training step: moved towards the lowest entropy that was let through, averaged over the
    problems of all processes."""
    lowest_B = entropies_BN.masked_fill(entropies_BN < 0, float("inf")).amin(1)
    lowest_B = lowest_B[lowest_B.isfinite()]
    latest = lowest_B.mean()
    if ranks.count() > 1:
        problems = lowest_B.new_tensor(len(lowest_B))
        latest = ranks.summed(lowest_B.sum()) / ranks.summed(problems)
    return torch.where(cut.isfinite(), CUT_MEMORY * cut + (1 - CUT_MEMORY) * latest, latest)


def passing(arm: EBTArm, cut: Tensor, start_BMV: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scores (B, M) at inference, and which positions the gate lets through, bool.

    Args:
        generator: of a random gate's draws.
    """
    if arm.gate == "entropy":
        scores_BM = entropy(start_BMV)
        return scores_BM, scores_BM > cut
    scores_BM = torch.rand(start_BMV.shape[:2], device=start_BMV.device, generator=generator)
    return scores_BM, scores_BM > 1 - cut
