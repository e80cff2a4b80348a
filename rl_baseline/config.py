"""Configuration of the plain transformer and of the arms trained by reward."""

from dataclasses import dataclass

from omegaconf import MISSING

from arena.config import require, require_choice


@dataclass(frozen=True, kw_only=True)
class TransformerArm:
    """Transformer++ trained on next tokens only."""

    kind: str = "transformer"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    pretrained: str | None = None
    """A transformers causal language model as the policy: a local folder or a name on the hub; none: the
    arena's backbone. Its peak learning rate is still size.lr."""
    revision: str | None = None
    """Commit of the model on the hub; fix it, or two runs may start from different weights."""

    def validate(self) -> None:
        """Nothing to check: every setting is shared."""


@dataclass(frozen=True, kw_only=True)
class RLArm:
    """Transformer++ warm-started on next tokens, then trained on exact rewards."""

    kind: str = "rl"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    warm_start: float = 0.2
    """Share of the budget spent on next-token training. At 0.4 the default addition is solved at the
    largest default budget before reward has anything to add."""
    lr_scale: float = 0.05
    """Learning rate of reinforcement learning over the size's peak learning rate."""
    prompts: int = 32
    """Problems a rollout."""
    group: int = 8
    """Samples a problem; the advantage compares them (GRPO, arXiv 2402.03300)."""
    updates: int = 4
    """Optimiser steps a rollout, each on its own share of the samples (KL-Cov's paper: 8)."""
    temperature: float = 1.0
    """Sampling temperature of rollouts."""
    advantage: str = "grpo"
    """grpo: (R - mean) / (std + 1e-6); dr_grpo: R - mean (arXiv 2503.20783)."""
    aggregation: str = "token_mean"
    """token_mean, seq_mean_token_sum, seq_mean_token_mean or sum_norm (divide by padded length)."""
    loss: str = "ppo"
    """ppo, clip_cov, kl_cov (arXiv 2505.22617) or gppo (arXiv 2508.07629)."""
    clip_low: float = 0.2
    """Lower clip range of the probability ratio."""
    clip_high: float = 0.2
    """Upper clip range of the probability ratio."""
    dual_clip: float = 3.0
    """Bound on the loss of negative advantages over -A (dual-clip PPO)."""
    cov_share: float = 0.02
    """Share of tokens that Clip-Cov frees or KL-Cov penalises (papers: 2e-4 to 2e-3, at 7B and 32B)."""
    cov_bounds: str = "quantile"
    """Clip-Cov's eligible covariances: absolute bounds (the paper's 1 and 5), or quantiles, which
    carry over to small and low-entropy models."""
    cov_low: float = 0.8
    """Lower bound of eligible covariance, exclusive."""
    cov_high: float = 1.0
    """Upper bound of eligible covariance, exclusive (a quantile of 1 means unbounded)."""
    kl_coef: float = 1.0
    """KL-Cov's weight of |log ratio| (paper: 1; verl's default of 0.1 is not the paper's)."""
    nll_coef: float = 0.0
    """Weight of the negative log-likelihood of correct samples (GPPO's paper: 0.1)."""
    pretrained: str | None = None
    """A transformers causal language model as the policy: a local folder or a name on the hub; none: the
    arena's backbone. Its peak learning rate is still size.lr."""
    revision: str | None = None
    """Commit of the model on the hub; fix it, or two runs may start from different weights."""

    def validate(self) -> None:
        require(
            0 < self.warm_start < 1,
            f"arm.warm_start={self.warm_start}: a share, 0 < warm_start < 1; for next-token training "
            "alone use arm=transformer",
        )
        require(self.lr_scale > 0, f"arm.lr_scale={self.lr_scale}: must be positive")
        require(self.prompts >= 1, f"arm.prompts={self.prompts}: must be at least 1")
        require(self.group >= 2, f"arm.group={self.group}: a group of one has no advantage; use >= 2")
        require(self.updates >= 1, f"arm.updates={self.updates}: must be at least 1")
        require(
            self.prompts * self.group % self.updates == 0,
            f"arm.updates={self.updates}: must divide prompts * group = {self.prompts * self.group}",
        )
        require(
            self.loss != "kl_cov" or self.updates >= 2,
            f"arm.updates={self.updates} with loss=kl_cov: on-policy its penalty is exactly zero; "
            "use at least 2 updates a rollout",
        )
        require(self.temperature > 0, f"arm.temperature={self.temperature}: must be positive")
        require_choice("arm.advantage", self.advantage, ("grpo", "dr_grpo"))
        require_choice("arm.aggregation", self.aggregation, AGGREGATIONS)
        require_choice("arm.loss", self.loss, ("ppo", "clip_cov", "kl_cov", "gppo"))
        require_choice("arm.cov_bounds", self.cov_bounds, ("absolute", "quantile"))
        require(0 < self.cov_share <= 1, f"arm.cov_share={self.cov_share}: a share, 0 < share <= 1")
        require(
            self.cov_low < self.cov_high,
            f"arm.cov_low={self.cov_low}, arm.cov_high={self.cov_high}: need cov_low < cov_high",
        )
        require(
            self.cov_bounds != "quantile" or (self.cov_low >= 0 and self.cov_high <= 1),
            f"arm.cov_low={self.cov_low}, arm.cov_high={self.cov_high}: quantiles lie in [0, 1]; "
            "for the paper's 1 and 5 set arm.cov_bounds=absolute",
        )
        for key in ("clip_low", "clip_high", "kl_coef", "nll_coef"):
            value = getattr(self, key)
            require(value >= 0, f"arm.{key}={value}: must not be negative")
        require(self.clip_low <= 1, f"arm.clip_low={self.clip_low}: must be at most 1")
        require(self.dual_clip > 1, f"arm.dual_clip={self.dual_clip}: must be above 1")


AGGREGATIONS = ("token_mean", "seq_mean_token_sum", "seq_mean_token_mean", "sum_norm")
