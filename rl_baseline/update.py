"""One optimiser step's loss: what is decided over all its tokens at once, and the loss of any part of it.

`decide` sees every sample of the optimiser step, `policy_loss` the whole step or some of its samples
(`Step.part`). The losses and the averaged metrics of parts sum to those of the whole, so the size of a
micro-batch changes neither what is selected nor the gradient.

Shapes (suffixes): B samples, T tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rl_baseline.aggregation import aggregate, divisor, masked_mean
from rl_baseline.config import RLArm
from rl_baseline.covariance import covariances, freed, penalised
from rl_baseline.credit import assign
from rl_baseline.entropy import shape
from rl_baseline.loss import binding, divergences, log_ratio, token_loss

Metrics = Mapping[str, Tensor]
LARGEST = ("logp_gap",)
"""Metrics of which the parts' largest is the whole's; of all others it is the sum."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What is known of samples before the policy is asked again."""

    old_logp_BT: Tensor
    """Log-probabilities under the policy that sampled them."""
    advantages_BT: Tensor
    """Before credit and shaping."""
    mask_BT: Tensor
    """Sampled tokens, bool."""
    planning_BT: Tensor
    """Planning tokens, bool."""
    correct_B: Tensor
    """Which samples earned the reward, bool."""

    def part(self, rows: Tensor) -> "Samples":
        """The given samples."""
        return Samples(
            old_logp_BT=self.old_logp_BT[rows],
            advantages_BT=self.advantages_BT[rows],
            mask_BT=self.mask_BT[rows],
            planning_BT=self.planning_BT[rows],
            correct_B=self.correct_B[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Step:
    """Samples of an optimiser step, or a part of them, with what was decided over the whole."""

    samples: Samples
    """With the advantages that the loss multiplies: after credit and shaping."""
    kept_BT: Tensor
    """Tokens that carry the policy loss, bool."""
    counted_BT: Tensor
    """Tokens that make up its denominators, bool."""
    credited_BT: Tensor
    """Tokens that the credit rule picked, bool."""
    selected_BT: Tensor
    """Tokens that Clip-Cov frees or KL-Cov penalises, bool."""
    divide_by: Tensor
    """Denominator of the policy loss over the whole step."""
    divide_entropy_by: Tensor
    """Denominator of the entropy bonus over the whole step."""
    tokens: Tensor
    """Tokens of the whole step."""
    correct_tokens: Tensor
    """Tokens of correct samples in the whole step."""

    def part(self, rows: Tensor) -> "Step":
        """The given samples; the denominators stay those of the whole step."""
        return replace(
            self,
            samples=self.samples.part(rows),
            kept_BT=self.kept_BT[rows],
            counted_BT=self.counted_BT[rows],
            credited_BT=self.credited_BT[rows],
            selected_BT=self.selected_BT[rows],
        )


def decide(
    arm: RLArm,
    samples: Samples,
    logp_BT: Tensor | None,
    entropy_BT: Tensor | None,
    *,
    generator: torch.Generator,
    length: int,
) -> Step:
    """Everything of an optimiser step that depends on all its tokens, without gradient.

    The order: credit, then shaping, then the covariances, which are those of the advantages that the
    loss multiplies, over the tokens that carry it.

    Args:
        logp_BT, entropy_BT: of the current policy, detached; read only if `arm.reads_policy`.
        generator: on the CPU.
        length: longest possible completion, the constant of `sum_norm`.
    """
    mask_BT = samples.mask_BT
    advantages_BT, kept_BT, credited_BT = assign(
        arm, samples.advantages_BT, mask_BT, entropy_BT, samples.planning_BT, generator
    )
    if arm.entropy == "shaped":
        assert entropy_BT is not None
        advantages_BT = shape(advantages_BT, entropy_BT, scale=arm.shape_scale, bound=arm.shape_bound)
    if arm.loss == "nll":
        kept_BT = kept_BT & samples.correct_B.unsqueeze(1)
    selected_BT = _selected(arm, logp_BT, samples.old_logp_BT, advantages_BT, kept_BT, generator)
    counted_BT = mask_BT
    if arm.loss == "nll":
        counted_BT = counted_BT & samples.correct_B.unsqueeze(1)
    if arm.credit_denominator == "selected":
        counted_BT = kept_BT
    return Step(
        samples=replace(samples, advantages_BT=advantages_BT),
        kept_BT=kept_BT,
        counted_BT=counted_BT,
        credited_BT=credited_BT,
        selected_BT=selected_BT,
        divide_by=divisor(counted_BT, arm.aggregation, length),
        divide_entropy_by=divisor(mask_BT, arm.aggregation, length),
        tokens=mask_BT.sum(),
        correct_tokens=(mask_BT & samples.correct_B.unsqueeze(1)).sum(),
    )


def _selected(
    arm: RLArm,
    logp_BT: Tensor | None,
    old_logp_BT: Tensor,
    advantages_BT: Tensor,
    kept_BT: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """The tokens that Clip-Cov frees or KL-Cov penalises."""
    if arm.loss not in ("clip_cov", "kl_cov"):
        return torch.zeros_like(kept_BT)
    assert logp_BT is not None
    covariance_BT = covariances(logp_BT, advantages_BT, kept_BT)
    if arm.loss == "kl_cov":
        return penalised(covariance_BT, kept_BT, share=arm.cov_share)
    ratio_BT = log_ratio(logp_BT, old_logp_BT).exp()
    binds_BT = binding(ratio_BT, advantages_BT, clip_low=arm.clip_low, clip_high=arm.clip_high)
    return freed(
        covariance_BT,
        ~binds_BT,
        kept_BT,
        share=arm.cov_share,
        bounds=arm.cov_bounds,
        low=arm.cov_low,
        high=arm.cov_high,
        generator=generator,
    )


def policy_loss(
    arm: RLArm, logp_BT: Tensor, entropy_BT: Tensor | None, step: Step, coefficient: float = 0.0
) -> tuple[Tensor, Metrics]:
    """The loss that the arm's configuration asks for, of a step or of a part of one.

    Args:
        logp_BT: of the current policy, at the sampling temperature.
        entropy_BT: of the current policy, differentiable; read only with a coefficient.
        coefficient: weight of the mean entropy, which is subtracted.
    Returns:
        the loss, and detached metrics: `kl`, `kl_k2`, `kl_k3` (means of the estimates of KL(old || new),
        the first being old_logp - logp), `clip_fraction` (share of tokens whose bound on the ratio
        binds), `clip_fraction_high` (those with A > 0), `clip_fraction_dual`,
        `selected` (share of tokens that Clip-Cov frees or KL-Cov penalises), `credited` (share of
        tokens that the credit rule picked) and `logp_gap` (largest |logp - old_logp|).
    """
    samples = step.samples
    mask_BT, advantages_BT = samples.mask_BT, samples.advantages_BT
    tokens = token_loss(arm, logp_BT, samples.old_logp_BT, advantages_BT, step.selected_BT)
    loss = aggregate(
        tokens.loss_BT,
        step.kept_BT,
        arm.aggregation,
        counted_BT=step.counted_BT,
        divide_by=step.divide_by,
    )
    if arm.nll_coef:
        # The mean over the tokens of correct samples. Source: arXiv 2508.07629, eq. 8.
        correct_BT = mask_BT & samples.correct_B.unsqueeze(1)
        loss = loss + arm.nll_coef * masked_mean(-logp_BT, correct_BT, step.correct_tokens)
    if coefficient:
        assert entropy_BT is not None
        loss = loss - coefficient * aggregate(
            entropy_BT, mask_BT, arm.aggregation, divide_by=step.divide_entropy_by
        )
    kl = divergences(samples.old_logp_BT, logp_BT.detach())
    binds_BT = tokens.binds_BT
    metrics = {
        "kl": masked_mean(kl["k1"], mask_BT, step.tokens),
        "kl_k2": masked_mean(kl["k2"], mask_BT, step.tokens),
        "kl_k3": masked_mean(kl["k3"], mask_BT, step.tokens),
        "clip_fraction": masked_mean(binds_BT.float(), mask_BT, step.tokens),
        "clip_fraction_high": masked_mean((binds_BT & (advantages_BT > 0)).float(), mask_BT, step.tokens),
        "clip_fraction_dual": masked_mean(tokens.dual_BT.float(), mask_BT, step.tokens),
        "selected": masked_mean(step.selected_BT.float(), mask_BT, step.tokens),
        "credited": masked_mean(step.credited_BT.float(), mask_BT, step.tokens),
        "logp_gap": kl["k1"].abs().masked_fill(~mask_BT, 0.0).max(),
    }
    return loss, metrics


def merge(parts: list[Metrics]) -> dict[str, Tensor]:
    """Metrics of a step from those of its parts."""
    merged: dict[str, Tensor] = {}
    for name in parts[0]:
        values = torch.stack([part[name] for part in parts])
        merged[name] = values.amax() if name in LARGEST else values.sum()
    return merged
