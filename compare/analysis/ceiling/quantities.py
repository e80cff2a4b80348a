"""What a contrast can compare of entropy, rewards and the ceiling, if the experiment has a `fit_share`."""

from functools import partial

from compare.analysis.quantity import Quantity
from compare.store.manifest import WARM_START

FORECASTS = ("linear", "quadratic", "carry_last", "exponential", "power_law", "sigmoid", "pass_at_k")
"""What the entropy law's forecast is held against."""


_quantity = partial(
    Quantity, higher_is_better=True, needs_share=True, largest_budget=True, rewarded=("arm", "baseline")
)

QUANTITIES = {
    "entropy_held": _quantity(
        label="entropy kept through RL, as a ratio",
        unit="×",
        ratio=True,
        baselines=(WARM_START,),
        sides=lambda arm, baseline: (arm, "where its RL began" if baseline == WARM_START else baseline),
    ),
    "ceiling": _quantity(label="difference of fitted entropy ceilings"),
    "final_reward": _quantity(label="difference of rewards over the last tenth of RL"),
    "above_ceiling": _quantity(
        label="exact answers less the fitted entropy ceiling",
        # A measured level may be anybody's.
        rewarded=("baseline",),
        sides=lambda arm, baseline: (arm, f"the entropy ceiling of {baseline}"),
    ),
    "forecast_error": _quantity(
        label="difference of mean absolute forecast errors (less is better)",
        higher_is_better=False,
        baselines=FORECASTS,
        second_arm=False,
        sides=lambda arm, baseline: (
            f"the entropy law's forecast of {arm}",
            f"the {baseline.replace('_', ' ')} forecast",
        ),
    ),
}
