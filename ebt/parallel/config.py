"""Configuration of the arms that refine a whole answer at once."""

from dataclasses import dataclass

from arena.config import require
from ebt.config import EBTArm


@dataclass(frozen=True, kw_only=True)
class ParallelArm(EBTArm):
    """One energy for a whole answer of fixed size: all its cells descend together (bidirectional
    attention; compare IRED, arXiv 2406.11179). Options as of the family `ebt`."""

    kind: str = "parallel"
    """Contender family."""

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        super().validate()
        require(
            self.gate == "none",
            f"arm.gate={self.gate}: the cells of an answer descend together, none can be left out; set "
            "arm.gate=none",
        )
        require(
            self.refiner == "energy",
            f"arm.refiner={self.refiner}: this family descends on an energy; for its control without one use "
            "arm=diffusion",
        )
        require(
            self.replay == 0,
            f"arm.replay={self.replay}: not built for whole answers; set arm.replay=0",
        )
