"""A finding: one claim with its estimate, interval, number of seeds and verdict.

Estimates come in the units of their quantity (compare/analysis/registry.py). Verdicts follow
compare/stats/intervals.py; a ratio is judged on its logarithm, where no difference is zero.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from compare.analysis import registry
from compare.analysis.quantity import VERDICT_WORDS
from compare.stats.intervals import UNMEASURED, Estimate, holm, verdict
from compare.stats.power import seeds_needed


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared with what, and what limits it."""

    study: str
    arm: str
    """As a claim names it, with effort and severity if the contrast chose them."""
    baseline: str
    quantity: str
    axis: str = ""
    """Axis of shift; empty: none, or all of them."""
    margin: float = 0.0
    """Half-width of equivalence stated beforehand; 0 if none was."""
    primary: bool = False
    """Whether it was named beforehand."""
    caveats: tuple[str, ...] = ()
    """Why it could not be measured, or what limits it."""
    withheld: str = ""
    """Why no verdict can be given, whatever the interval: a law that does not describe the losses, say. Empty
    where one can."""
    records: tuple[str, ...] = ()
    """Cells it rests on."""


@dataclass(frozen=True, kw_only=True)
class Draft(Comparison):
    """A comparison that is measured but not yet judged: the correction needs its whole family."""

    estimate: Estimate | None = None
    """Difference with null zero (a ratio's logarithm); None if it could not be measured."""
    point: str = "budget"
    """What tells the points of an arm apart: `budget`, or `rung` where the axis is not FLOPs."""


@dataclass(frozen=True, kw_only=True)
class Finding(Comparison):
    """One judged comparison; every number a report prints about it."""

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
    seeds_needed: int | None
    """Seeds that would decide an undecided finding, if that can be said."""
    single_run: bool
    degrees: float
    """Degrees of freedom of the interval."""

    @property
    def value_text(self) -> str:
        """Estimate with unit; a difference carries its sign."""
        if self.estimate is None:
            return "not measured"
        return number(self.estimate, self.digits, self.ratio) + self.unit

    @property
    def interval_text(self) -> str:
        """95% interval in brackets."""
        if self.estimate is None or not math.isfinite(self.low) or not math.isfinite(self.high):
            return "no interval"
        return f"[{number(self.low, self.digits, self.ratio)}, {number(self.high, self.digits, self.ratio)}]"

    @property
    def claim(self) -> str:
        """A sentence that holds the estimate, the interval, n and the verdict."""
        spec = registry.quantities()[self.quantity]
        arm, other = spec.sides(self.arm, self.baseline)
        if self.estimate is None:
            reasons = "; ".join(self.caveats)
            return f"Undecided, {arm} against {other}: {self.label} could not be measured ({reasons})."
        opening = {
            "equivalent": f"{arm} and {other} are equivalent within the margin {self.margin:g}",
            "undecided": f"Undecided, {arm} against {other}",
            **{name: f"{arm} {verb} {other}" for name, verb in {**VERDICT_WORDS, **spec.words}.items()},
        }[self.verdict]
        seeds = "a single run" if self.single_run else f"n = {self.n} seeds"
        text = f"{opening}: {self.label} {self.value_text}, 95% interval {self.interval_text}, {seeds}"
        if self.withheld:
            return f"{text}; no verdict is given: {self.withheld}."
        null = 1.0 if self.ratio else 0.0
        excluded = self.low > null or self.high < null
        if self.verdict == "undecided" and excluded and not self.single_run:
            text += f"; that leaves out {null:g}, but Holm's correction makes p {self.p_holm:.2g}"
        if self.verdict == "equivalent" and excluded:
            text += f"; told from {null:g}, and still within the margin"
        if self.seeds_needed is not None:
            if self.seeds_needed <= 1000:
                text += f"; about {self.seeds_needed} seeds would decide if it is what it looks like"
            else:
                text += "; more than 1000 seeds would be needed to decide"
        return text + "."


def number(value: float, digits: int, ratio: bool = False) -> str:
    """Signed fixed-point text of a difference, or significant digits of a ratio."""
    if ratio:
        return f"{value:#.{digits}g}".rstrip(".") if 1e-3 < value < 1e4 else f"{value:.1e}"
    text = f"{value:+.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def judge(drafts: list[Draft]) -> tuple[Finding, ...]:
    """Verdicts of one family of comparisons, Holm-adjusted over all of it.

    One that could not be measured, is of a single run, or whose verdict is withheld, keeps its place in the
    family, at p = 1: a plan is not made easier by failing part of it.
    """
    p_values = [
        1.0 if d.estimate is None or d.estimate.single_run or d.withheld else d.estimate.p for d in drafts
    ]
    findings: list[Finding] = []
    for draft, p, p_holm in zip(drafts, p_values, holm(p_values), strict=True):
        # Those of the family that Holm's correction has not settled before this one.
        comparisons = sum(p <= other for other in p_values)
        spec = registry.quantities()[draft.quantity]
        label = spec.label.format(point=draft.point)
        e = draft.estimate or UNMEASURED
        margin = math.log1p(draft.margin) if spec.ratio else draft.margin
        # One run shows nothing of what another seed would do, whatever its interval over problems.
        decision, needed = "undecided", None
        if not e.single_run and not draft.withheld:
            decision = verdict(e.value, e.low, e.high, margin, p_holm, spec.higher_is_better)
            needed = seeds_needed(e, margin, comparisons) if decision == "undecided" else None
        scale = _exp if spec.ratio else float
        finding = Finding(
            **{field.name: getattr(draft, field.name) for field in fields(Comparison)},
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
            seeds_needed=needed,
            single_run=e.single_run,
            degrees=e.degrees,
        )
        findings.append(finding)
    return tuple(findings)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def grounds(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The findings in full, with their confidence: what an answer of a section rests on."""
    out = []
    for finding in findings:
        p = "below 0.001" if finding.p_holm < 0.001 else f"{finding.p_holm:.3f}"
        kind = "named beforehand" if finding.primary else "exploratory"
        out.append(f"{finding.claim} Holm-adjusted p {p}, {kind}.")
    return tuple(out)


def word(finding: Finding, words: Mapping[str, str]) -> str:
    """What a section calls a verdict."""
    return "not measured" if finding.estimate is None else words[finding.verdict]


def words(ahead: str, behind: str, equivalent: str) -> dict[str, str]:
    """What a section calls each verdict."""
    return {"ahead": ahead, "behind": behind, "equivalent": equivalent, "undecided": "undecided"}
