"""What a contrast can compare of wall time."""

from compare.analysis.quantity import Quantity

QUANTITIES = {
    "wall_time": Quantity(
        label="wall time of training at the largest {point}, as a ratio",
        unit="×",
        higher_is_better=False,
        ratio=True,
        words={"ahead": "trains faster than", "behind": "trains slower than"},
    )
}
