"""Configuration of the refined bigram model."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require
from arena.ladder import check_ladder


@dataclass(frozen=True, kw_only=True)
class BigramArm:
    """Guesses the next token from the last one alone, whose embedding it refines step by step."""

    kind: str = "bigram"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    steps: int = 2
    """Steps of refinement, in training and for the default answer."""
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate: refine_K takes K steps."""

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        require(self.steps >= 1, f"arm.steps={self.steps}: must be at least 1")
        check_ladder(self.ladder, ["refine_K"], "write refine_4 for 4 steps")
