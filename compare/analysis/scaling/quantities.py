"""What a contrast can compare of learning: curves of loss, final losses and errors, gains from reward."""

from compare.analysis.quantity import Quantity
from compare.store.manifest import WARM_START

QUANTITIES = {
    "compute_multiplier": Quantity(
        label="compute multiplier at equal loss", unit="×", higher_is_better=True, ratio=True
    ),
    "exponent": Quantity(label="difference of scaling exponents", higher_is_better=True, digits=4),
    "slope_ratio": Quantity(
        label="ratio of log-log slopes less 1 (the paper's reading)", higher_is_better=True
    ),
    "final_loss": Quantity(
        label="loss difference at the largest {point}",
        unit=" nats",
        higher_is_better=False,
        digits=4,
        chooses=("effort", "severity"),
    ),
    "final_error": Quantity(
        label="answer error difference at the largest {point}",
        higher_is_better=False,
        chooses=("effort", "severity"),
    ),
    "reward_gain": Quantity(
        label="exact answers, sampled, gained over the warm start",
        higher_is_better=True,
        baselines=(WARM_START,),
        second_arm=False,
        sides=lambda arm, baseline: (arm, "its own warm start"),
    ),
}
