"""What a contrast can compare of ways to answer: what an arm gains by thinking longer, and at equal FLOPs."""

from functools import partial

from compare.analysis.quantity import Quantity

CHEAPEST = "cheapest_effort"
"""Baseline of `thinking_gain`: the same arm with the least compute per answer."""


def _sides(arm: str, baseline: str) -> tuple[str, str]:
    if baseline == CHEAPEST:
        return f"{arm}, thinking longer,", "its cheapest effort"
    return f"the gain of {arm}", f"that of {baseline}"


_quantity = partial(
    Quantity, higher_is_better=True, chooses=("severity", "shifted_axis"), largest_budget=True
)

QUANTITIES = {
    "thinking_gain": _quantity(
        label="exact answers (or nats) gained from the cheapest to the best effort",
        sides=_sides,
        baselines=(CHEAPEST,),
    ),
    "thinking_area": _quantity(label="mean advantage at equal FLOPs per answer (exact answers, or nats)"),
}
