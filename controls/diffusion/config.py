"""Configuration of the masked-diffusion transformer."""

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require


@dataclass(frozen=True, kw_only=True)
class DiffusionArm:
    """A bidirectional transformer that fills in masked cells of an answer: masked discrete diffusion
    (MDLM, arXiv 2406.07524; LLaDA, arXiv 2502.09992)."""

    kind: str = "diffusion"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    steps: int = 16
    """Unmasking steps of its own way to answer; an answer takes no more than it has cells."""
    levels: int = 8
    """Numbers of masked cells, one from each of as many equal ranges, over which the bound on the likelihood
    is averaged; each costs one forward pass."""
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate: unmask_K fills the answer in K steps."""

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        require(self.steps >= 1, f"arm.steps={self.steps}: must be at least 1")
        require(self.levels >= 1, f"arm.levels={self.levels}: must be at least 1")
        for effort in self.ladder:
            require(
                re.fullmatch(r"unmask_[1-9]\d*", effort) is not None,
                f"arm.ladder={list(self.ladder)}: {effort} is no effort; write unmask_4 for 4 steps",
            )
