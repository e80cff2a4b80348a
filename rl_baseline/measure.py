"""What a rollout and its updates say of the policy: columns of the training history.

Nothing here waits for the device; the history fetches its rows in batches.

Shapes (suffixes): P problems, G samples per problem, B = P * G, T tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena.rollout import Rollout
from rl_baseline.advantage import signal
from rl_baseline.aggregation import masked_mean
from rl_baseline.config import RLArm
from rl_baseline.covariance import covariances, quantiles, sequence_covariance
from rl_baseline.credit import CLASSES
from rl_baseline.entropy import mean_entropy
from rl_baseline.update import Metrics

MEANS = (
    "clip_fraction",
    "clip_fraction_high",
    "clip_fraction_dual",
    "kl",
    "kl_k2",
    "kl_k3",
    "selected",
    "gradient_norm",
)
"""Metrics of updates that every arm records, as the mean over a rollout's updates."""


def of_rollout(
    rollout: Rollout, rewards_PG: Tensor, advantages_B: Tensor, classes_BT: Tensor | None
) -> dict[str, Tensor]:
    """Columns of a rollout, under the policy that sampled it.

    `reward`, `signal`, `response_length`; `entropy` at temperature 1, mean over tokens, then responses,
    and `entropy_CLASS` over the tokens of a class, where the task has chains (`credit.token_classes`);
    the covariance of log-probability and advantage: `covariance` over tokens and `covariance_pg` with pi A
    for A, `covariance_sequence` and `covariance_sequence_pg` over the samples of a group, and
    `covariance_QUANTILE` of the tokens'.

    Args:
        classes_BT: from `credit.class_table`, on the host: which classes occur is then known.
    """
    mask_BT, logp_BT = rollout.mask_BT, rollout.logp_BT
    group = rewards_PG.shape[1]
    advantages_BT = advantages_B[:, None].expand_as(logp_BT)
    covariance_BT = covariances(logp_BT, advantages_BT, mask_BT)
    weighted_BT = advantages_BT * logp_BT.exp()
    sequence_B = logp_BT.sum(1, keepdim=True).exp() * advantages_B[:, None]
    columns = {
        "reward": rewards_PG.mean(),
        "signal": signal(rewards_PG),
        "entropy": mean_entropy(rollout.entropy_BT, mask_BT),
        "covariance": masked_mean(covariance_BT, mask_BT),
        "covariance_pg": masked_mean(covariances(logp_BT, weighted_BT, mask_BT), mask_BT),
        "covariance_sequence": sequence_covariance(logp_BT, advantages_BT, mask_BT, group),
        "covariance_sequence_pg": sequence_covariance(logp_BT, sequence_B, mask_BT, group),
        "response_length": mask_BT.sum(1).float().mean(),
    }
    for name, value in quantiles(covariance_BT, mask_BT).items():
        columns[f"covariance_{name}"] = value
    if classes_BT is not None:
        for index, name in enumerate(CLASSES):
            of_class_BT = classes_BT == index
            if of_class_BT.any():
                columns[f"entropy_{name}"] = masked_mean(
                    rollout.entropy_BT, of_class_BT.to(mask_BT.device) & mask_BT
                )
    return columns


def of_updates(arm: RLArm, updates: Sequence[Metrics], device: torch.device) -> dict[str, Tensor]:
    """Columns of a rollout's updates; zeros where nothing was there to learn.

    MEANS; `credited`, the share of tokens that the arm's credit rule picks; and `logp_gap`, the largest
    difference in nats between a token's log-probability when sampled and when recomputed, before the
    first update: the two are of one policy, so more than rounding is a fault.
    """
    names = MEANS if arm.credit == "all" else (*MEANS, "credited")
    zero = torch.zeros((), device=device)
    columns = {
        name: torch.stack([row[name] for row in updates]).mean() if updates else zero for name in names
    }
    return {**columns, "logp_gap": updates[0]["logp_gap"] if updates else zero}


class EntropyForecast:
    """The change of entropy from one rollout to the next, and what the covariance had predicted.

    To first order the change is -eta Cov(log pi, A) under a natural policy gradient, -eta Cov(log pi, pi A)
    under the policy gradient (arXiv 2505.22617, section 4.1), for a table of logits that a step of rate eta
    moves. Here eta is the learning rate times the updates taken, and Adam moves shared weights: the two
    columns are to be correlated with the change, their scale means nothing.
    """

    def __init__(self) -> None:
        self.last: dict[str, Tensor] | None = None

    def columns(self, found: dict[str, Tensor], eta: float) -> dict[str, Tensor]:
        """`entropy_change`, `entropy_change_npg` and `entropy_change_pg` from the last rollout to this.

        Args:
            found: `of_rollout` of this rollout.
            eta: learning rate times updates on this rollout, for the next one's forecast.
        """
        before, entropy = self.last, found["entropy"]
        self.last = {
            "entropy": entropy,
            "npg": -eta * found["covariance"],
            "pg": -eta * found["covariance_pg"],
        }
        if before is None:
            return {}
        return {
            "entropy_change": entropy - before["entropy"],
            "entropy_change_npg": before["npg"],
            "entropy_change_pg": before["pg"],
        }
