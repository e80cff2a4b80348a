"""Configuration of the looped transformer."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require
from arena.ladder import check_ladder


@dataclass(frozen=True, kw_only=True)
class LoopedArm:
    """Transformer++ whose blocks are applied again and again, trained on next tokens with a random number
    of loops: more compute per answer without an energy."""

    kind: str = "looped"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    loops: int = 4
    """Times that the blocks are applied for an answer. Training draws uniformly from 1 to 2 * loops - 1, of
    mean `loops` (random depth as in arXiv 2502.05171, which draws from a log-normal Poisson). With 4, a
    forward pass costs 4F and a training step 12F on average, where F is one pass over the blocks; the two
    steps of S1 cost 5F and 15F."""
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate: loop_R applies the blocks R times."""

    @property
    def most(self) -> int:
        """Most loops in training."""
        return 2 * self.loops - 1

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        require(self.loops >= 1, f"arm.loops={self.loops}: must be at least 1")
        check_ladder(self.ladder, ["loop_K"], "write loop_8 for 8 loops")
