"""Configuration of the energy-based arms."""

from dataclasses import dataclass

from omegaconf import MISSING

from arena.config import require, require_choice


@dataclass(frozen=True, kw_only=True)
class EBTArm:
    """An energy-based transformer trained as in arXiv 2507.02092 (recipe S1)."""

    kind: str = "ebt"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    steps: int = 2
    """Inner steps of descent, in training and at the default effort (paper, S1: 2)."""
    parametrisation: str = "probs"
    """probs: y' = p - alpha dE/dp, the released code's update; logits: y' = y - alpha dE/dy, Eq. 1."""
    start: str = "noise"
    """First candidate's logits: noise, N(0, 1), or zero."""
    step_embedding: bool = True
    """Add a learned embedding of the step to the candidate (the paper's best: time_embed)."""
    alpha: float | None = None
    """Step size; none: calibrated from the gradient at initialisation so that the update's root mean
    square over the vocabulary is alpha_target."""
    alpha_target: float = 5.0
    """Root mean square, in nats of logit, of the first update that calibration aims at."""
    alpha_lr: float = 3.0
    """Learning rate of alpha over (alpha x the model's learning rate); 0 fixes it (released S1: 3)."""

    def validate(self) -> None:
        require(self.steps >= 1, f"arm.steps={self.steps}: must be at least 1")
        require_choice("arm.parametrisation", self.parametrisation, ("probs", "logits"))
        require_choice("arm.start", self.start, ("noise", "zero"))
        require(
            self.alpha is None or self.alpha >= 1e-4,
            f"arm.alpha={self.alpha}: must be at least 1e-4, or null to calibrate it",
        )
        require(self.alpha_target > 0, f"arm.alpha_target={self.alpha_target}: must be positive")
        require(self.alpha_lr >= 0, f"arm.alpha_lr={self.alpha_lr}: must not be negative")
