"""What a contrast can compare of ways to answer: what an arm gains by thinking longer, and at equal FLOPs."""

from functools import partial

from compare.analysis.quantity import Quantity

CHEAPEST = "cheapest_effort"
"""Baseline of `thinking_gain`: the same arm with the least compute per answer."""


_quantity = partial(
    Quantity, higher_is_better=True, chooses=("severity", "shifted_axis"), largest_budget=True
)

QUANTITIES = {
    "thinking_gain": _quantity(
        label="exact answers (or nats) gained from the cheapest to the best effort",
        sides=lambda arm, baseline: (
            (f"{arm}, thinking longer,", "its cheapest effort")
            if baseline == CHEAPEST
            else (f"the gain of {arm}", f"that of {baseline}")
        ),
        baselines=(CHEAPEST,),
    ),
    "thinking_area": _quantity(label="mean advantage at equal FLOPs per answer (exact answers, or nats)"),
}
