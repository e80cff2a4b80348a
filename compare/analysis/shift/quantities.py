"""What a contrast can compare under shift: decay, shares kept, and whether thinking helps more there."""

from functools import partial

from compare.analysis.quantity import Quantity

SEVERITY = "severity"
"""Baseline of THINKING_SHIFT: the severity that an arm's gain from thinking is correlated with."""

_along = partial(Quantity, chooses=("axis",), largest_budget=True, shifted=True)
_slope = partial(
    _along,
    chooses=("axis", "effort"),
    higher_is_better=False,
    words={"ahead": "decays slower than", "behind": "decays faster than"},
)
_added = partial(Quantity, higher_is_better=False, announced=False)
_thinking = partial(
    _along,
    higher_is_better=True,
    sides=lambda arm, baseline: (f"the gain from thinking of {arm}", "the severity of the shift"),
    words={
        "ahead": "grows with",
        "behind": "shrinks with",
        "equivalent": "is, within the margin, uncorrelated with",
    },
    baselines=(SEVERITY,),
    second_arm=False,
    thinks=True,
)

DECAY = {
    "decay_slope": _slope(label="difference of exact answers lost per severity (less is better)"),
    "decay_slope_loss": _slope(label="difference of loss added per severity (less is better)", unit=" nats"),
    "retained_share": _along(
        label="difference of shares of in-distribution answers kept under shift",
        chooses=("axis", "effort"),
        higher_is_better=True,
        words={"ahead": "keeps a larger share than", "behind": "keeps a smaller share than"},
    ),
}
"""Of two arms along an axis of shift."""

THINKING_SHIFT = {
    "thinking_shift": _thinking(label="rank correlation with severity of exact answers gained by thinking"),
    "thinking_shift_loss": _thinking(label="rank correlation with severity of loss saved by thinking"),
}
"""Whether an arm's gain from thinking grows with the shift."""

ASKED = {**DECAY, **THINKING_SHIFT}
"""One of them puts the section on decay into the report."""

INCREASE = {
    "shift_error": _added(label="difference in answer error added by the shift (less is better)"),
    "shift_loss": _added(
        label="difference in loss added by the shift (less is better)", unit=" nats", digits=4
    ),
}
"""Of two arms from severity 0 to the largest of the first axis; explored wherever anything is shifted."""

QUANTITIES = {**ASKED, **INCREASE}
