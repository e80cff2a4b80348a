"""What a contrast can compare: per quantity its unit, its words, and what a contrast may name beside it.

Light on purpose: a plan checks contrasts by it before anything heavy is imported.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from compare.store.manifest import Contrast

BASELINE = "transformer"
"""The arm that exploratory comparisons are made against."""

UNMANAGED = "rl_grpo"
"""The arm that others trained by reward are explored against: it learns from every token alike, and nothing
is done about its entropy."""

VERDICT_WORDS = {"ahead": "is ahead of", "behind": "is behind"}
"""How a claim words a verdict, unless its quantity has words of its own."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """How a compared quantity is named, signed, printed and asked for."""

    label: str
    """`{point}` stands for what tells the points of an arm apart, `budget` or `rung`."""
    higher_is_better: bool
    unit: str = ""
    """Printed after the number."""
    ratio: bool = False
    """Estimated as a logarithm, printed as a factor whose null is 1."""
    digits: int = 3
    """Decimals, or significant digits of a ratio."""
    sides: Callable[[str, str], tuple[str, str]] = lambda arm, baseline: (arm, baseline)
    """(arm, baseline) as a claim names what is compared with what."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Verdict -> verb phrase, where "is ahead of" would be wrong."""
    announced: bool = True
    """Whether a contrast may name it; otherwise it is only explored."""
    baselines: tuple[str, ...] = ()
    """Words that stand for a baseline that is no other arm, such as `warm_start`."""
    second_arm: bool = True
    """Whether the baseline may be another arm."""
    chooses: tuple[str, ...] = ()
    """Fields of a contrast that may be set: `effort` (of both sides), `severity`, `axis`; `shifted_axis` is
    an axis at a severity above 0 only."""
    needs_share: bool = False
    """Whether the experiment must have a `fit_share`."""
    largest_budget: bool = False
    """Whether it looks at the largest budget alone, so that FLOPs must be the experiment's axis."""
    shifted: bool = False
    """Whether it needs two severities or more."""
    thinks: bool = False
    """Whether the arm must be of a family that answers in more or fewer steps."""
    rewarded: tuple[str, ...] = ()
    """Sides, `arm` and `baseline`, that must be trained by reward."""


def check_contrasts(
    contrasts: Iterable[Contrast],
    arms: set[tuple[str, str]],
    fit_share: float,
    quantities: Mapping[str, Quantity],
) -> None:
    """Check the contrasts of an experiment.

    Args:
        arms: (study, arm) of everything it plans.

    Raises:
        ValueError: one asks for what cannot be compared. The message is one line.
    """
    if not 0 <= fit_share < 1:
        raise ValueError(f"fit_share={fit_share!r}: a share of reinforcement learning, 0 <= fit_share < 1")
    named = {name: quantity for name, quantity in quantities.items() if quantity.announced}
    for contrast in contrasts:
        if contrast.quantity not in named:
            raise ValueError(f"contrast quantity {contrast.quantity!r}: choose one of {', '.join(named)}")
        spec, baseline = named[contrast.quantity], contrast.baseline
        where = f"contrast {contrast.arm}: "
        if not (math.isfinite(contrast.margin) and contrast.margin >= 0):
            raise ValueError(f"contrast margin {contrast.margin!r} is not a non-negative number")
        if spec.needs_share and fit_share == 0:
            raise ValueError(
                f"{where}{contrast.quantity} needs fit_share, the first share of reinforcement learning that "
                "the entropy law may see, for example fit_share: 0.36"
            )
        if not spec.second_arm and baseline not in spec.baselines:
            raise ValueError(
                f"{where}{contrast.quantity} goes with baseline {' or '.join(spec.baselines)}, not {baseline}"
            )
        owners = [name for name, other in named.items() if baseline in other.baselines]
        if owners and contrast.quantity not in owners and (contrast.study, baseline) not in arms:
            every = ", ".join(owners)
            raise ValueError(f"{where}baseline {baseline} goes with {every}, not with {contrast.quantity}")
        for arm in (contrast.arm, *([] if baseline in spec.baselines else [baseline])):
            if (contrast.study, arm) not in arms:
                raise ValueError(f"contrast names arm {arm}, which study {contrast.study} does not plan")
        _check_choice(contrast, named)
        if contrast.arm == baseline and contrast.effort == contrast.baseline_effort:
            raise ValueError(f"{where}its baseline is the arm itself; name another, or another effort")


def _check_choice(contrast: Contrast, named: Mapping[str, Quantity]) -> None:
    """Raise ValueError if a contrast sets an effort, severity or axis that its quantity does not have."""
    spec, severity = named[contrast.quantity], contrast.severity

    def refuse(what: str, it: str = "it") -> None:
        raise ValueError(f"contrast {contrast.arm}: {what}, not with {contrast.quantity}; leave {it} out")

    def having(field: str) -> str:
        return ", ".join(name for name, other in named.items() if field in other.chooses)

    if (contrast.effort or contrast.baseline_effort) and "effort" not in spec.chooses:
        refuse(f"effort and baseline_effort go with {having('effort')}", "them")
    if severity < 0:
        raise ValueError(f"contrast {contrast.arm}: severity {severity}: must not be negative")
    if severity and "severity" not in spec.chooses:
        refuse(f"severity goes with {having('severity')}")
    free = "axis" in spec.chooses or ("shifted_axis" in spec.chooses and severity > 0)
    if contrast.axis and not free:
        shifted = f"{having('shifted_axis')} at a severity above 0"
        refuse(f"axis {contrast.axis} goes with {having('axis')}, and with {shifted}")
