"""A finding: one claim with its estimate, interval, number of seeds and verdict.

Estimates come in the units of QUANTITIES. Verdicts follow compare/stats/intervals.py; a multiplier is judged
on its logarithm, where no difference is zero.
"""

import math
from dataclasses import dataclass, replace

from compare.stats.intervals import Estimate, holm, verdict
from compare.stats.power import seeds_needed
from compare.store.manifest import CHEAPEST, OWN_BASELINES, THINKING_SHIFT_QUANTITIES, WARM_START


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """How a compared quantity is named, signed and printed."""

    label: str
    """`{point}` stands for a draft's `point`."""
    unit: str
    """Printed after the number."""
    higher_is_better: bool
    ratio: bool = False
    """Estimated as a logarithm, printed as a factor whose null is 1."""
    digits: int = 3
    """Decimals, or significant digits of a ratio."""


QUANTITIES = {
    "compute_multiplier": Quantity(
        label="compute multiplier at equal loss", unit="×", higher_is_better=True, ratio=True
    ),
    "exponent": Quantity(label="difference of scaling exponents", unit="", higher_is_better=True, digits=4),
    "slope_ratio": Quantity(
        label="ratio of log-log slopes less 1 (the paper's reading)", unit="", higher_is_better=True
    ),
    "final_loss": Quantity(
        label="loss difference at the largest {point}", unit=" nats", higher_is_better=False, digits=4
    ),
    "final_error": Quantity(
        label="answer error difference at the largest {point}", unit="", higher_is_better=False
    ),
    "reward_gain": Quantity(
        label="exact answers, sampled, gained over the warm start", unit="", higher_is_better=True
    ),
    "shift_error": Quantity(
        label="difference in answer error added by the shift (less is better)",
        unit="",
        higher_is_better=False,
    ),
    "shift_loss": Quantity(
        label="difference in loss added by the shift (less is better)",
        unit=" nats",
        higher_is_better=False,
        digits=4,
    ),
    "entropy_held": Quantity(
        label="entropy kept through RL, as a ratio", unit="×", higher_is_better=True, ratio=True
    ),
    "ceiling": Quantity(label="difference of fitted entropy ceilings", unit="", higher_is_better=True),
    "final_reward": Quantity(
        label="difference of rewards over the last tenth of RL", unit="", higher_is_better=True
    ),
    "above_ceiling": Quantity(
        label="exact answers less the fitted entropy ceiling", unit="", higher_is_better=True
    ),
    "forecast_error": Quantity(
        label="difference of mean absolute forecast errors (less is better)", unit="", higher_is_better=False
    ),
    "extra_gain": Quantity(
        label="difference of exact answers, sampled, gained over the warm start",
        unit="",
        higher_is_better=True,
    ),
    "forking_excess": Quantity(
        label="share of planning tokens among the most uncertain fifth less that among all",
        unit="",
        higher_is_better=True,
    ),
    "entropy_lag": Quantity(
        label="half-fall of entropy, difference in shares of RL's compute", unit="", higher_is_better=True
    ),
    "error_lag": Quantity(
        label="half-fall of error, difference in shares of RL's compute", unit="", higher_is_better=True
    ),
    "decay_slope": Quantity(
        label="difference of exact answers lost a severity (less is better)", unit="", higher_is_better=False
    ),
    "decay_slope_loss": Quantity(
        label="difference of loss added a severity (less is better)", unit=" nats", higher_is_better=False
    ),
    "retained_share": Quantity(
        label="difference of shares of in-distribution answers kept under shift",
        unit="",
        higher_is_better=True,
    ),
    "thinking_shift": Quantity(
        label="rank correlation with severity of exact answers gained by thinking",
        unit="",
        higher_is_better=True,
    ),
    "thinking_shift_loss": Quantity(
        label="rank correlation with severity of loss saved by thinking", unit="", higher_is_better=True
    ),
    "thinking_gain": Quantity(
        label="exact answers (or nats) gained from the cheapest to the best effort",
        unit="",
        higher_is_better=True,
    ),
    "thinking_area": Quantity(
        label="mean advantage at equal FLOPs an answer (exact answers, or nats)",
        unit="",
        higher_is_better=True,
    ),
}


_DECAY = {
    "ahead": "decays slower than",
    "behind": "decays faster than",
}
_GAIN = {
    "ahead": "grows with",
    "behind": "shrinks with",
    "equivalent": "is, within the margin, uncorrelated with",
}
_ORDER = {"ahead": "settle later than", "behind": "settle earlier than"}
IN_WORDS = {
    "forking_excess": {"ahead": "are more uncertain than", "behind": "are less uncertain than"},
    "entropy_lag": _ORDER,
    "error_lag": _ORDER,
    "decay_slope": _DECAY,
    "decay_slope_loss": _DECAY,
    "retained_share": {"ahead": "keeps a larger share than", "behind": "keeps a smaller share than"},
    **dict.fromkeys(THINKING_SHIFT_QUANTITIES, _GAIN),
}
"""What a verdict means where neither side is an arm, or nothing is won."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A comparison that is measured but not yet judged: the correction needs its whole family."""

    study: str
    arm: str
    """As a claim names it, with effort and severity if the contrast chose them."""
    baseline: str
    quantity: str
    estimate: Estimate | None
    """Difference with null zero (a ratio's logarithm); None if it could not be measured."""
    margin: float = 0.0
    """Half-width of equivalence stated beforehand; 0 if none was."""
    primary: bool = False
    caveats: tuple[str, ...] = ()
    """Why it could not be measured, or what limits it."""
    records: tuple[str, ...] = ()
    """Cells it rests on."""
    axis: str = ""
    """Axis of shift; empty: none, or all of them."""
    point: str = "budget"
    """What tells the points of an arm apart: `budget`, or `rung` where the axis is not FLOPs."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One judged comparison; every number a report prints about it."""

    claim: str
    """A sentence that holds the estimate, the interval, n and the verdict."""
    study: str
    arm: str
    baseline: str
    quantity: str
    label: str
    estimate: float | None
    """In the quantity's unit; None if it could not be measured."""
    low: float
    high: float
    unit: str
    digits: int
    ratio: bool
    n: int
    """Seeds."""
    verdict: str
    """`ahead`, `behind`, `equivalent` or `undecided`."""
    p: float
    p_holm: float
    """Adjusted over all primary findings, or over the exploratory ones of its study."""
    primary: bool
    margin: float
    seeds_needed: int | None
    """Seeds that would decide an undecided finding, if that can be said."""
    caveats: tuple[str, ...]
    records: tuple[str, ...]
    single_run: bool
    degrees: float
    """Degrees of freedom of the interval."""
    axis: str = ""
    """Axis of shift; empty: none, or all of them."""

    @property
    def value_text(self) -> str:
        """Estimate with unit; a difference carries its sign."""
        return (
            "not measured"
            if self.estimate is None
            else number(self.estimate, self.digits, self.ratio) + self.unit
        )

    @property
    def interval_text(self) -> str:
        """95% interval in brackets."""
        if self.estimate is None or not math.isfinite(self.low) or not math.isfinite(self.high):
            return "no interval"
        return f"[{number(self.low, self.digits, self.ratio)}, {number(self.high, self.digits, self.ratio)}]"


def number(value: float, digits: int, ratio: bool = False) -> str:
    """Signed fixed-point text of a difference, or significant digits of a ratio."""
    if ratio:
        return f"{value:#.{digits}g}".rstrip(".") if 1e-3 < value < 1e4 else f"{value:.1e}"
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def judge(drafts: list[Draft]) -> tuple[Finding, ...]:
    """Verdicts of one family of comparisons, Holm-adjusted over all of it.

    One that could not be measured keeps its place in the family, at p = 1: a plan is not made
    easier by failing part of it.
    """
    p_values = [1.0 if draft.estimate is None else draft.estimate.p for draft in drafts]
    left = [sum(p <= other for other in p_values) for p in p_values]
    return tuple(
        _finding(draft, p_holm, comparisons)
        for draft, p_holm, comparisons in zip(drafts, holm(p_values), left, strict=True)
    )


def _finding(draft: Draft, p_holm: float, comparisons: int) -> Finding:
    """One verdict; `comparisons` are those of its family that Holm's correction has not settled before it."""
    spec = QUANTITIES[draft.quantity]
    label = spec.label.format(point=draft.point)
    e = draft.estimate
    if e is None:
        e = Estimate(value=0.0, low=-math.inf, high=math.inf, p=1.0, n=0, single_run=False)
    margin = math.log1p(draft.margin) if spec.ratio else draft.margin
    # One run shows nothing of what another seed would do, whatever its interval over problems.
    decision = (
        "undecided"
        if e.single_run
        else verdict(e.value, e.low, e.high, margin, p_holm, spec.higher_is_better)
    )
    scale = _exp if spec.ratio else float
    needed = seeds_needed(e, margin, comparisons) if decision == "undecided" and not e.single_run else None
    finding = Finding(
        claim="",
        study=draft.study,
        arm=draft.arm,
        baseline=draft.baseline,
        quantity=draft.quantity,
        label=f"{label}, axis {draft.axis}" if draft.axis else label,
        estimate=None if draft.estimate is None else scale(e.value),
        low=scale(e.low),
        high=scale(e.high),
        unit=spec.unit,
        digits=spec.digits,
        ratio=spec.ratio,
        n=e.n,
        verdict=decision,
        p=e.p,
        p_holm=p_holm,
        primary=draft.primary,
        margin=draft.margin,
        seeds_needed=needed,
        caveats=draft.caveats,
        records=draft.records,
        single_run=e.single_run,
        axis=draft.axis,
        degrees=e.degrees,
    )
    return replace(finding, claim=_claim(finding))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _sides(finding: Finding) -> tuple[str, str]:
    """What is compared with what, as a claim names them."""
    if finding.quantity == "forecast_error":
        method = finding.baseline.replace("_", " ")
        return f"the entropy law's forecast of {finding.arm}", f"the {method} forecast"
    if finding.quantity == "above_ceiling":
        return finding.arm, f"the entropy ceiling of {finding.baseline}"
    if finding.quantity == "forking_excess":
        return f"the planning tokens of {finding.arm} at the warm start", "all its tokens"
    if finding.quantity in THINKING_SHIFT_QUANTITIES:
        return f"the gain from thinking of {finding.arm}", "the severity of the shift"
    if finding.quantity in OWN_BASELINES:
        return f"the planning tokens of {finding.arm}", "its execution tokens"
    if finding.quantity == "thinking_gain":
        if finding.baseline == CHEAPEST:
            return f"{finding.arm}, thinking longer,", "its cheapest effort"
        return f"the gain of {finding.arm}", f"that of {finding.baseline}"
    if finding.baseline == WARM_START:
        start = "where its RL began" if finding.quantity == "entropy_held" else "its own warm start"
        return finding.arm, start
    return finding.arm, finding.baseline


def _claim(finding: Finding) -> str:
    arm, other = _sides(finding)
    if finding.estimate is None:
        reasons = "; ".join(finding.caveats)
        return f"Undecided, {arm} against {other}: {finding.label} could not be measured ({reasons})."
    opening = {
        "ahead": f"{arm} is ahead of {other}",
        "behind": f"{arm} is behind {other}",
        "equivalent": f"{arm} and {other} are equivalent within the margin {finding.margin:g}",
        "undecided": f"Undecided, {arm} against {other}",
    }[finding.verdict]
    said = IN_WORDS.get(finding.quantity, {}).get(finding.verdict)
    if said is not None:
        opening = f"{arm} {said} {other}"
    seeds = "a single run" if finding.single_run else f"n = {finding.n} seeds"
    text = f"{opening}: {finding.label} {finding.value_text}, 95% interval {finding.interval_text}, {seeds}"
    null = 1.0 if finding.ratio else 0.0
    told = finding.low > null or finding.high < null
    if finding.verdict == "undecided" and told and not finding.single_run:
        text += f"; that leaves out {null:g}, but Holm's correction makes p {finding.p_holm:.2g}"
    if finding.verdict == "equivalent" and told:
        text += f"; told from {null:g}, and still within the margin"
    if finding.verdict == "undecided" and finding.seeds_needed is not None:
        text += (
            f"; about {finding.seeds_needed} seeds would decide if it is what it looks like"
            if finding.seeds_needed <= 1000
            else ("; more than 1000 seeds would be needed to decide")
        )
    return text + "."
