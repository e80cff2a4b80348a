"""Configuration of the looped transformer."""

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require


@dataclass(frozen=True, kw_only=True)
class LoopedArm:
    """Transformer++ whose blocks are applied again and again, trained on next tokens with a random number
    of loops: more compute an answer without an energy."""

    kind: str = "looped"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    loops: int = 4
    """Times that the blocks are applied to answer; training draws uniformly from 1 to 2 * loops - 1, whose
    mean this is (random depth: arXiv 2502.05171, there log-normal Poisson). 4: a forward pass costs 4F and a
    training step 12F on average, F one pass over the blocks; two steps of S1 cost 5F and 15F."""
    ladder: list[str] = field(default_factory=list)
    """More efforts to evaluate: loop_R applies the blocks R times."""

    @property
    def most(self) -> int:
        """Most loops in training."""
        return 2 * self.loops - 1

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        require(self.loops >= 1, f"arm.loops={self.loops}: must be at least 1")
        for effort in self.ladder:
            require(
                loops_of(effort) is not None,
                f"arm.ladder={list(self.ladder)}: {effort} is no effort; write loop_8 for 8 loops",
            )
        require(
            len(set(self.ladder)) == len(self.ladder),
            f"arm.ladder={list(self.ladder)}: an effort stands there twice; name each once",
        )


def loops_of(effort: str) -> int | None:
    """Loops of an effort loop_R; none if it is not one."""
    found = re.fullmatch(r"loop_([1-9]\d*)", effort)
    return int(found[1]) if found else None
