"""Configuration of the energy-based arms, and of thinking."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require, require_choice
from arena.effort import START, Effort
from arena.ladder import check_ladder


@dataclass(frozen=True, kw_only=True)
class EBTArm:
    """An energy-based transformer on tokens. Source of the options, where nothing else is named:
    arXiv 2507.02092 and its released code; the defaults are its recipe S1."""

    kind: str = "ebt"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    steps: int = 2
    """Inner steps of descent (S1, S2: 2)."""
    extra_steps: int = 0
    """Most steps added at random in training, each forward anew; inference takes them all (S2: 1)."""
    parametrisation: str = "probs"
    """With p = softmax(y): probs, y' = p - alpha dE/dp, the released code; logits,
    y' = y - alpha dE/dy, Eq. 1; mirror, y' = y - alpha dE/dp, mirror descent on the simplex
    (exponentiated gradient, Kivinen & Warmuth 1997)."""
    start: str = "noise"
    """First candidate's logits: noise, N(0, 1); zero; or head, those of a language-model head on the
    observed stream, which its own cross-entropy trains (ours)."""
    conditioning: str = "step"
    """How the energy knows the step: none; step, a learned embedding added to the candidate (the
    paper's best, time_embed); adaln, learned scale and shift of every norm; adaln_zero, with gates
    and an energy head that start at zero (DiT, arXiv 2212.09748)."""
    vocabulary_map: str = "learned"
    """Distribution to width: a learned linear map, or tied, the expected token embedding
    (released code: vocab_to_embed_uses_prob_dist)."""
    graph: str = "step"
    """What the parameters' gradient crosses: step, nothing between steps (S1); last, the last step
    alone is differentiated (S2); all, the whole descent (the paper's text, no released recipe)."""
    loss: str = "all"
    """Cross-entropy after all steps, their mean, or after the last."""
    alpha: float | None = None
    """Step size; none: calibrated from the gradient at initialisation so that the root mean square of the
    first update, over the vocabulary, is alpha_target."""
    alpha_target: float = 5.0
    """Root mean square, in nats of logit, of the first update that calibration aims at."""
    alpha_lr: float = 3.0
    """Learning rate of alpha over (alpha x the model's learning rate); 0 fixes it (S1: 3, S2: 0)."""
    alpha_spread: float = 1.0
    """Training draws alpha uniformly from [alpha / spread, alpha x spread], once per position (S2: 2)."""
    langevin: float = 0.0
    """Standard deviation of the noise added to the logits before each training step (S2: 3)."""
    replay: int = 0
    """Problems whose final candidates are kept to start from again: half of each batch, once there
    are enough (S2: 192)."""
    max_update: float | None = None
    """Clamp of each entry of a step's update, nats (released code: clamp_futures_grad)."""
    soft_targets: float = 0.0
    """Label smoothing after the first step, falling linearly to 0 after the last (released code:
    soften_target_prob_dist)."""
    contrastive: float = 0.0
    """Weight of -log of the true token's share in exp(-E), against the candidate that the last step
    starts from (released code: contrastive_loss)."""
    gate: str = "none"
    """Which positions descend: none, all of them; entropy, those where the head's start is least
    certain; random, a control. Needs start=head."""
    gate_share: float = 0.2
    """Share of each problem's positions that a gate lets through in training; at inference the gate
    is the mean entropy at that cut (forking tokens, arXiv 2506.01939: 20%)."""
    refiner: str = "energy"
    """What moves the candidate: energy, its gradient; head, a linear map of the candidate stream to
    logits, the control without an energy."""

    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate: think_K takes K steps; think_KxR takes K steps from each of R starts and
    keeps the outcome of lowest energy."""

    @property
    def full_steps(self) -> int:
        """Steps at inference."""
        return self.steps + self.extra_steps

    def validate(self) -> None:
        require(self.steps >= 1, f"arm.steps={self.steps}: must be at least 1")
        require(self.extra_steps >= 0, f"arm.extra_steps={self.extra_steps}: must not be negative")
        check_ladder(
            self.ladder,
            FORMS,
            "write think_8 for 8 steps, think_8x4 for 4 restarts of them",
        )
        require_choice("arm.parametrisation", self.parametrisation, PARAMETRISATIONS)
        require_choice("arm.start", self.start, ("noise", "zero", "head"))
        require_choice("arm.conditioning", self.conditioning, ("none", "step", "adaln", "adaln_zero"))
        require_choice("arm.vocabulary_map", self.vocabulary_map, ("learned", "tied"))
        require_choice("arm.graph", self.graph, ("step", "last", "all"))
        require_choice("arm.loss", self.loss, ("all", "last"))
        require(
            self.graph != "step" or self.loss == "all",
            "arm.loss=last with arm.graph=step: the other steps would teach nothing; use arm.graph=last",
        )
        require(
            self.graph != "last" or self.loss == "last",
            "arm.loss=all with arm.graph=last: only the last step has a graph; set arm.loss=last",
        )
        require(
            self.alpha is None or self.alpha >= MIN_ALPHA,
            f"arm.alpha={self.alpha}: must be at least {MIN_ALPHA}, or null to calibrate it",
        )
        require(self.alpha_target > 0, f"arm.alpha_target={self.alpha_target}: must be positive")
        for key in ("alpha_lr", "langevin", "replay", "contrastive"):
            value = getattr(self, key)
            require(value >= 0, f"arm.{key}={value}: must not be negative")
        require(self.alpha_spread >= 1, f"arm.alpha_spread={self.alpha_spread}: must be at least 1")
        require(
            self.max_update is None or self.max_update > 0,
            f"arm.max_update={self.max_update}: must be positive, or null for no clamp",
        )
        require(0 <= self.soft_targets < 1, f"arm.soft_targets={self.soft_targets}: a share, 0 <= share < 1")
        self._validate_start()

    def _validate_start(self) -> None:
        require_choice("arm.gate", self.gate, ("none", "entropy", "random"))
        require_choice("arm.refiner", self.refiner, ("energy", "head"))
        require(
            self.start == "head" or self.gate == "none",
            f"arm.gate={self.gate} with arm.start={self.start}: a position that is not refined needs an "
            "answer of its own; set arm.start=head",
        )
        require(0 < self.gate_share <= 1, f"arm.gate_share={self.gate_share}: a share, 0 < share <= 1")
        require(
            self.start != "head" or self.replay == 0,
            f"arm.replay={self.replay} with arm.start=head: the head gives the start; set arm.replay=0",
        )
        require(
            self.refiner == "energy" or self.start == "head",
            f"arm.refiner=head with arm.start={self.start}: the control refines the head's start; "
            "set arm.start=head",
        )
        require(
            self.refiner == "energy" or (self.contrastive == 0 and self.alpha is not None),
            "arm.refiner=head: there is no energy to contrast and no gradient to calibrate by; set "
            "arm.contrastive=0 and arm.alpha=1",
        )


@dataclass(frozen=True, kw_only=True)
class Thinking:
    """How long and how to think, at inference. Source: the released code's infer_* options."""

    steps: int
    """Steps of descent."""
    restarts: int = 1
    """Descents from fresh starts; for each position one is kept."""
    choose: str = "min_energy"
    """Which: the lowest final energy, max_energy (the highest, a control), or largest_drop (from the
    start's energy to the final one)."""
    langevin: float = 0.0
    """Standard deviation of noise on the logits before a step; 0 is none."""
    langevin_steps: str = "all"
    """Which steps have that noise: all, or first."""
    alpha: float | None = None
    """Step size in place of the trained one."""
    accept: bool = False
    """Take a step only if the energy falls; a rejected step leaves the candidate as it was."""
    tolerance: float | None = None
    """A position stops when its energy changes by no more than this from one step to the next."""
    hold_last: bool = False
    """Beyond the steps that a step embedding knows, go on with its last one."""

    def validate(self) -> None:
        """Raise ConfigError unless every value can be used."""
        require(self.steps >= 1, f"steps={self.steps}: must be at least 1")
        require(self.restarts >= 1, f"restarts={self.restarts}: must be at least 1")
        require_choice("choose", self.choose, ("min_energy", "max_energy", "largest_drop"))
        require_choice("langevin_steps", self.langevin_steps, ("all", "first"))
        require(self.langevin >= 0, f"langevin={self.langevin}: must not be negative")
        require(self.alpha is None or self.alpha > 0, f"alpha={self.alpha}: must be positive, or null")
        require(
            self.tolerance is None or self.tolerance >= 0,
            f"tolerance={self.tolerance}: must not be negative, or null for no early stop",
        )


def thinking_of(name: str) -> Thinking | None:
    """How an effort think_K or think_KxR thinks; none for `start`, the head's answer before any step.

    Raises:
        ValueError: another effort.
    """
    effort = Effort.parse(
        name, (START, *FORMS), "write think_8 for 8 steps, think_8x4 for 4 restarts of them, or start"
    )
    if effort.kind == START:
        return None
    return Thinking(steps=effort.steps, restarts=effort.restarts, hold_last=True)


FORMS = ("think_K", "think_KxR")
"""Forms of the efforts that a ladder may list."""
PARAMETRISATIONS = ("probs", "logits", "mirror")
MIN_ALPHA = 1e-4
"""Least step size (released code)."""
