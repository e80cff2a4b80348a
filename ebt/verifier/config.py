"""Configuration of the residual energy over whole answers."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from arena.config import require


@dataclass(frozen=True, kw_only=True)
class VerifierArm:
    """A transformer trained on next tokens, then a residual energy over its answers:
    p(x) ~ p_start(x) exp(-E(x)) (arXiv 2004.11714). No reward is asked for."""

    kind: str = "verifier"
    """Contender family."""
    name: str = MISSING
    """Label in tables and records."""
    warm_start: float = 0.2
    """Share of the budget spent on next-token training of the start; the rest trains the energy."""
    negatives: int = 1
    """Samples of the start per answer of the data, in the noise-contrastive loss."""
    samples: list[int] = field(default_factory=lambda: [4, 16])
    """Numbers of samples that an answer is selected from at inference. Every rule selects from every number
    of them, and each pair is an effort."""

    def validate(self) -> None:
        """Raise ConfigError, one line with key, value and remedy, at the first value of no use."""
        require(
            0 < self.warm_start < 1,
            f"arm.warm_start={self.warm_start}: a share, 0 < warm_start < 1; for next-token training "
            "alone use arm=transformer",
        )
        require(self.negatives >= 1, f"arm.negatives={self.negatives}: at least 1, or there is no contrast")
        require(
            len(self.samples) > 0 and min(self.samples) >= 2,
            f"arm.samples={list(self.samples)}: of one sample there is nothing to select; give numbers of at "
            "least 2",
        )
        require(
            all(a < b for a, b in zip(self.samples, self.samples[1:], strict=False)),
            f"arm.samples={list(self.samples)}: give each number once, in rising order",
        )
