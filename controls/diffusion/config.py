"""Configuration of the masked-diffusion transformer."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require
from arena.ladder import check_ladder


@dataclass(frozen=True, kw_only=True)
class DiffusionArm:
    """A bidirectional transformer that fills in masked cells of an answer: masked discrete diffusion
    (MDLM, arXiv 2406.07524; LLaDA, arXiv 2502.09992)."""

    kind: str = "diffusion"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    steps: int = 16
    """Unmasking steps of the default answer; no more are taken than the answer has cells."""
    levels: int = 8
    """Terms of the bound on the likelihood. Each is a forward pass with another number of masked cells, drawn
    from one of as many equal ranges."""
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate: unmask_K fills the answer in K steps."""

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        require(self.steps >= 1, f"arm.steps={self.steps}: must be at least 1")
        require(self.levels >= 1, f"arm.levels={self.levels}: must be at least 1")
        check_ladder(self.ladder, ["unmask_K"], "write unmask_4 for 4 steps")
