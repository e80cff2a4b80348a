"""Configuration of the plain transformer and of the arms trained by reward."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require, require_choice
from arena.ladder import check_ladder
from arena.selection import OF_A_POLICY


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
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate, each from samples of its own policy at temperature 1: majority@K, the most
    frequent answer of K; likelihood@K, the most probable completion; oracle@K, a right one if there is
    any, a bound."""

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        _check_selections(self.ladder)


def _check_selections(ladder: list[str]) -> None:
    """Raise ConfigError unless every entry of a policy's `arm.ladder` is a choice among its own samples."""
    check_ladder(
        ladder,
        [f"{rule}@K" for rule in OF_A_POLICY],
        "write majority@8, likelihood@8 or oracle@8 for 8 samples (at least 2)",
    )


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
    warm_until: float | None = None
    """Share of its own training problems answered exactly and greedily, lately, at which the warm start ends
    before its share is spent, so that seeds meet reward at equal competence; none: the share decides."""
    lr_scale: float = 0.05
    """Learning rate of reinforcement learning over the size's peak learning rate."""
    prompts: int = 32
    """Problems per rollout."""
    group: int = 8
    """Samples per problem; the advantage compares them (GRPO, arXiv 2402.03300)."""
    updates: int = 4
    """Optimiser steps per rollout, each on another part of the samples (KL-Cov's paper: 8)."""
    micro_batch: int | None = None
    """Samples per backward pass; none: an optimiser step's all at once. Changes memory, not the gradient:
    what is selected by rank is selected over the whole optimiser step, if need be in a pass of its own."""
    temperature: float = 1.0
    """Sampling temperature of rollouts."""
    reward: str = "verifier"
    """verifier: 1 for a correct answer; coin: one coin flip per sample, blind to the sample (the control of
    arXiv 2506.10947); shuffled: a rollout's verified rewards, dealt out to its samples at random, so that
    they are as many and as rare as the real ones and say nothing."""
    logp_tolerance: float | None = None
    """Largest allowed gap, in nats, between a token's log-probability when sampled and when recomputed
    before the first update; above it the run has diverged. None: 1e-3 in fp32, 0.5 in 16 bits."""

    advantage: str = "grpo"
    """grpo: (R - mean) / (std + 1e-6); dr_grpo: R - mean (arXiv 2503.20783); rloo: R - mean of the others
    (arXiv 2402.14740); reinforce_pp: whitened over all tokens (arXiv 2501.03262); pass_at_k: the best
    sample alone, by its lead over the second (verl)."""
    aggregation: str = "token_mean"
    """token_mean, seq_mean_token_sum, seq_mean_token_mean or sum_norm (divide by padded length)."""
    loss: str = "ppo"
    """ppo, clip_cov, kl_cov (arXiv 2505.22617), gppo (arXiv 2508.07629), ce_gppo (arXiv 2509.20712),
    cispo (arXiv 2506.13585), or nll: likelihood of the rewarded samples alone, no advantage."""
    clip_low: float = 0.2
    """Lower clip range of the probability ratio."""
    clip_high: float = 0.2
    """Upper clip range of the probability ratio."""
    dual_clip: float = 3.0
    """Bound on the loss of negative advantages over -A (dual-clip PPO)."""
    beta_low: float = 0.5
    """CE-GPPO's weight of tokens clipped below, A < 0 (paper: 0.5 or 0.75)."""
    beta_high: float = 1.0
    """CE-GPPO's weight of tokens clipped above, A > 0 (paper: 1)."""
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
    kl_slack: float = 0.0
    """KL-Cov: log ratios up to this many nats are taken for rounding and not penalised. At 0 the first
    update on a rollout penalises the rounding between sampling and training, of random sign."""
    nll_coef: float = 0.0
    """Weight of the negative log-likelihood of correct samples (GPPO's paper: 0.1)."""
    pretrained: str | None = None
    """A transformers causal language model as the policy: a local folder or a name on the hub; none: the
    arena's backbone. Its peak learning rate is still size.lr."""
    revision: str | None = None
    """Commit of the model on the hub; fix it, or two runs may start from different weights."""

    credit: str = "all"
    """Which tokens learn. all; top_entropy: the credit_share of highest entropy (forking tokens, arXiv
    2506.01939); bottom_entropy: the credit_share of lowest; random: a random credit_share; hicra: all, and
    planning tokens more (arXiv 2509.03646); hicra_placebo: as hicra, on as many random tokens per sample."""
    credit_share: float = 0.2
    """Share of an optimiser step's tokens that top_entropy, bottom_entropy or random keeps (paper: 0.2)."""
    credit_denominator: str = "all"
    """What the loss of the kept tokens is divided by: all tokens (TRL), or the selected ones (the paper's
    code; at a share of 20% five times the gradient)."""
    credit_alpha: float = 0.2
    """hicra's bonus over |A| on planning tokens (paper: 0.2)."""

    entropy: str = "none"
    """none; bonus: entropy_coef times the mean entropy; adaptive: a coefficient that follows
    entropy_target (Skywork-OR1, arXiv 2505.22312); shaped: an entropy-shaped advantage (arXiv 2506.14758);
    temperature: nothing in the loss, the sampling temperature keeps the rollout's entropy at target."""
    entropy_coef: float = 0.005
    """bonus: weight of the mean entropy (arXiv 2505.22617: 0.005 is stable at 7B, 0.01 explodes)."""
    entropy_target: float | None = None
    """adaptive and temperature: entropy to keep, nats (Skywork-OR1: 0.2). None: the first rollout's, that
    is the warm start's."""
    entropy_target_end: float | None = None
    """adaptive and temperature: the target moves in a straight line to this, nats, over the compute of RL.
    None: it stays."""
    entropy_step: float = 1e-4
    """adaptive: change of the coefficient per rollout (Skywork-OR1)."""
    entropy_min: float = 0.0
    """adaptive: smallest coefficient."""
    entropy_max: float = 0.005
    """adaptive: largest coefficient (Skywork-OR1)."""
    shape_scale: float = 0.4
    """shaped: advantage added for a nat of the token's entropy (paper: 0.4)."""
    shape_bound: float = 2.0
    """shaped: at most |A| over this is added, so no advantage changes its sign (paper: 2)."""
    temperature_step: float = 0.1
    """temperature: largest change of the log temperature from one rollout to the next."""
    temperature_max: float = 4.0
    """temperature: largest factor, up or down, from the first temperature."""

    probe: int = 32
    """Validation problems of the pass@k probe; 0: none. Booked as evaluation, not as training compute."""
    probe_samples: int = 8
    """Samples per problem of the probe; pass@k for k = 1, 2, 4 ... up to it."""
    probe_points: int = 3
    """Probes per run: the warm start, evenly over the compute of RL, and the end."""
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate, as of the plain transformer."""

    @property
    def rows(self) -> int:
        """Samples per optimiser step."""
        return self.prompts * self.group // self.updates

    @property
    def surveys(self) -> bool:
        """Whether micro-batches need a forward pass of their own over the whole optimiser step first."""
        split = self.micro_batch is not None and self.micro_batch < self.rows
        return split and self.reads_policy

    @property
    def reads_policy(self) -> bool:
        """Whether what is decided over a whole optimiser step depends on the current policy."""
        return self.loss in ("clip_cov", "kl_cov") or self.reads_entropy

    @property
    def reads_entropy(self) -> bool:
        """Whether credit or shaping depends on the current policy's entropy at each token."""
        return self.credit in ("top_entropy", "bottom_entropy") or self.entropy == "shaped"

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        _check_selections(self.ladder)
        self._validate_stage()
        self._validate_loss()
        self._validate_credit()
        self._validate_entropy()

    def _validate_stage(self) -> None:
        require(
            0 < self.warm_start < 1,
            f"arm.warm_start={self.warm_start}: a share, 0 < warm_start < 1; for next-token training "
            "alone use arm=transformer",
        )
        require(
            self.warm_until is None or 0 < self.warm_until < 1,
            f"arm.warm_until={self.warm_until}: a share, 0 < warm_until < 1; null leaves it to "
            "arm.warm_start",
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
            self.micro_batch is None or self.micro_batch >= 1,
            f"arm.micro_batch={self.micro_batch}: at least 1 sample; null takes an optimiser step at once",
        )
        require(self.temperature > 0, f"arm.temperature={self.temperature}: must be positive")
        require_choice("arm.reward", self.reward, REWARDS)
        require(
            self.logp_tolerance is None or self.logp_tolerance > 0,
            f"arm.logp_tolerance={self.logp_tolerance}: must be positive; null chooses by precision",
        )
        require(self.probe >= 0, f"arm.probe={self.probe}: must not be negative; 0 switches the probe off")
        require(self.probe_samples >= 1, f"arm.probe_samples={self.probe_samples}: must be at least 1")
        require(
            self.probe_points >= 2,
            f"arm.probe_points={self.probe_points}: at least 2, the start and the end; arm.probe=0 for none",
        )

    def _validate_loss(self) -> None:
        require_choice("arm.advantage", self.advantage, ADVANTAGES)
        require_choice("arm.aggregation", self.aggregation, AGGREGATIONS)
        require_choice("arm.loss", self.loss, LOSSES)
        require(
            self.loss != "kl_cov" or self.updates >= 2,
            f"arm.updates={self.updates} with loss=kl_cov: on-policy its penalty is exactly zero; "
            "use at least 2 updates a rollout",
        )
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
        for key, value in (
            ("clip_low", self.clip_low),
            ("clip_high", self.clip_high),
            ("beta_low", self.beta_low),
            ("beta_high", self.beta_high),
            ("kl_coef", self.kl_coef),
            ("kl_slack", self.kl_slack),
            ("nll_coef", self.nll_coef),
        ):
            require(value >= 0, f"arm.{key}={value}: must not be negative")
        require(self.clip_low <= 1, f"arm.clip_low={self.clip_low}: must be at most 1")
        require(self.dual_clip > 1, f"arm.dual_clip={self.dual_clip}: must be above 1")
        require(
            self.loss != "nll" or self.nll_coef == 0,
            f"arm.nll_coef={self.nll_coef} with loss=nll: the loss is that likelihood already; set 0",
        )

    def _validate_credit(self) -> None:
        require_choice("arm.credit", self.credit, CREDITS)
        require_choice("arm.credit_denominator", self.credit_denominator, ("all", "selected"))
        require(
            0 < self.credit_share < 1,
            f"arm.credit_share={self.credit_share}: a share, 0 < share < 1; for every token set "
            "arm.credit=all",
        )
        require(self.credit_alpha >= 0, f"arm.credit_alpha={self.credit_alpha}: must not be negative")
        require(
            self.loss != "nll" or self.credit not in ("hicra", "hicra_placebo"),
            f"arm.credit={self.credit} with loss=nll: there is no advantage to raise; use arm.credit=all",
        )

    def _validate_entropy(self) -> None:
        require_choice("arm.entropy", self.entropy, CONTROLLERS)
        require(
            self.entropy_coef > 0,
            f"arm.entropy_coef={self.entropy_coef}: must be positive; for no bonus set arm.entropy=none",
        )
        require(
            self.entropy_target is None or self.entropy_target > 0,
            f"arm.entropy_target={self.entropy_target}: must be positive; null takes the warm start's",
        )
        require(
            self.entropy_target is None or self.entropy in ("adaptive", "temperature"),
            f"arm.entropy_target={self.entropy_target} with entropy={self.entropy}: nothing follows it; "
            "choose arm.entropy=adaptive or temperature",
        )
        require(
            self.entropy_target_end is None
            or (self.entropy_target_end > 0 and self.entropy in ("adaptive", "temperature")),
            f"arm.entropy_target_end={self.entropy_target_end} with entropy={self.entropy}: must be above 0, "
            "and needs arm.entropy=adaptive or temperature to follow it",
        )
        require(self.entropy_step > 0, f"arm.entropy_step={self.entropy_step}: must be positive")
        require(
            0 <= self.entropy_min < self.entropy_max,
            f"arm.entropy_min={self.entropy_min}, arm.entropy_max={self.entropy_max}: need "
            "0 <= entropy_min < entropy_max",
        )
        require(self.shape_scale > 0, f"arm.shape_scale={self.shape_scale}: must be positive")
        require(
            self.shape_bound >= 1,
            f"arm.shape_bound={self.shape_bound}: below 1 an advantage could change its sign; use >= 1",
        )
        require(
            self.entropy != "shaped" or self.loss != "nll",
            "arm.entropy=shaped with loss=nll: there is no advantage to shape; use arm.entropy=bonus",
        )
        require(self.temperature_step > 0, f"arm.temperature_step={self.temperature_step}: must be positive")
        require(self.temperature_max > 1, f"arm.temperature_max={self.temperature_max}: must be above 1")


REWARDS = ("verifier", "coin", "shuffled")
ADVANTAGES = ("grpo", "dr_grpo", "rloo", "reinforce_pp", "pass_at_k")
AGGREGATIONS = ("token_mean", "seq_mean_token_sum", "seq_mean_token_mean", "sum_norm")
LOSSES = ("ppo", "clip_cov", "kl_cov", "gppo", "ce_gppo", "cispo", "nll")
CREDITS = ("all", "top_entropy", "bottom_entropy", "random", "hicra", "hicra_placebo")
CONTROLLERS = ("none", "bonus", "adaptive", "shaped", "temperature")
