"""What a contrast can compare of classes of tokens; naming one puts the section on tokens into the report."""

from functools import partial

from compare.analysis.quantity import Quantity

ALL_TOKENS, EXECUTE_TOKENS = "all_tokens", "execute_tokens"
"""Baselines of an arm's planning tokens."""

LAGS = {"entropy_lag": "entropy", "error_lag": "error"}
"""Quantity -> what is followed over time."""

_quantity = partial(Quantity, higher_is_better=True, largest_budget=True, rewarded=("arm", "baseline"))

_lag = partial(
    _quantity,
    baselines=(EXECUTE_TOKENS,),
    second_arm=False,
    sides=lambda arm, baseline: (f"the planning tokens of {arm}", "its execution tokens"),
    words={"ahead": "settle later than", "behind": "settle earlier than"},
)

QUANTITIES = {
    "extra_gain": _quantity(label="difference of exact answers, sampled, gained over the warm start"),
    "forking_excess": _quantity(
        label="share of planning tokens among the most uncertain fifth less that among all",
        baselines=(ALL_TOKENS,),
        second_arm=False,
        sides=lambda arm, baseline: (f"the planning tokens of {arm} at the warm start", "all its tokens"),
        words={"ahead": "are more uncertain than", "behind": "are less uncertain than"},
    ),
    "entropy_lag": _lag(label="half-fall of entropy, difference in shares of RL's compute"),
    "error_lag": _lag(label="half-fall of error, difference in shares of RL's compute"),
}
