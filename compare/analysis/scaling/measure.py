"""What is measured of learning in one study: curves of loss and error, joint fits, straight lines.

An arm trained by reward, or by contrast, minimises no loss in the end: its likelihood is no scaling curve. It
enters the joint fit only if a contrast asks for it.
"""

from dataclasses import dataclass

import numpy as np

from compare.analysis.cohort import Cohort
from compare.analysis.paired import complement, level
from compare.analysis.scaling.axes import READ
from compare.analysis.scaling.isoflop import Parabola, parabolas
from compare.stats.intervals import Estimate
from compare.stats.power_law import Lines, NotEnough, PowerLaw, gather, lines, power_law
from compare.stats.power_law_model import VARIANTS
from compare.stats.sigmoid import Sigmoid, sigmoid
from compare.store.manifest import WARM_START
from compare.store.record import Evaluation

DROPPED = "dropped"
"""Name of the joint fit of one E without the lowest rung."""

Point = tuple[str, float, float, float, int]
"""One run's metric: arm, rung (its budget, where FLOPs are the axis), place on the axis, value, seed."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """One metric of one arm at one rung."""

    arm: str
    budget: float
    """The rung."""
    compute: float
    """Mean place on the axis: FLOPs spent, or what the study varies instead."""
    values: tuple[float, ...]
    """Of the runs."""
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Everything about learning in one study."""

    cohort: Cohort
    loss: tuple[Means, ...]
    error: tuple[Means, ...]
    """Answer error, 1 - exact, each arm answering in its default way; empty without verifiable answers."""
    fits: dict[str, PowerLaw]
    """Joint fit of the loss by variant; empty when there is not enough. C is the axis, whichever it is."""
    accuracy: dict[str, Sigmoid]
    """Fitted sigmoid of exact answers by arm."""
    line: Lines | None
    """The paper's straight lines; None when there is not enough."""
    isoflop: tuple[Parabola, ...]
    """Loss against size at equal FLOPs; empty unless the experiment's axis is `isoflop`."""
    notes: tuple[str, ...]
    """What could not be fitted, and why."""

    def cells(self, *arms: str, metric: str = "loss") -> tuple[str, ...]:
        """Cells of the arms that have a metric."""
        runs = (run for run in self.cohort.runs if run.planned.arm in arms and run.find(metric) is not None)
        return tuple(run.planned.cell for run in runs)


def measure(cohort: Cohort) -> Scaling:
    """Fit what there is enough for; the same records give the same numbers."""
    runs, arms, axis = cohort.runs, cohort.arms, cohort.axis
    losses, exacts = _evaluations(cohort, "loss"), _evaluations(cohort, "exact")
    exact = [point for point, _ in exacts]
    fittable, notes = _fittable(cohort, [point for point, _ in losses])
    enough, short = _split(fittable, arms)
    notes += short
    fits: dict[str, PowerLaw] = {}
    line: Lines | None = None
    if enough and axis != "isoflop":
        pooled = gather(enough)
        fits = {variant: power_law(pooled, variant) for variant in VARIANTS}
        higher, few = _split([p for p in enough if p[1] > min(p[1] for p in enough)], pooled.arms)
        if not few:
            fits[DROPPED] = power_law(gather(higher))
        # Loss bends towards E in log-log, so slopes compare only over the same stretch of compute.
        shared = set.intersection(*({p[1] for p in enough if p[0] == arm} for arm in pooled.arms))
        common, unshared = _split([p for p in enough if p[1] in shared], pooled.arms)
        if unshared:
            notes.append(f"too few budgets that all of {', '.join(pooled.arms)} have, for the paper's slopes")
        else:
            line = lines(gather(common))
    accuracy: dict[str, Sigmoid] = {}
    for arm in arms if axis == "flops" else ():
        fitted, short = _split(exact, (arm,))
        notes += [note for note in short if note not in notes]
        if fitted:
            accuracy[arm] = sigmoid(gather(fitted))
    curves, few = parabolas(runs) if axis == "isoflop" else ((), [])
    return Scaling(
        cohort=cohort,
        isoflop=curves,
        loss=_means(losses),
        error=_means(exacts),
        fits=fits,
        line=line,
        accuracy=accuracy,
        notes=(*notes, *few),
    )


def _evaluations(cohort: Cohort, metric: str) -> list[tuple[Point, Evaluation]]:
    """Every run with the metric, in distribution, at the end."""
    out = []
    for run in cohort.runs:
        evaluation, place = run.find(metric), READ[cohort.axis].value(run)
        if evaluation is not None and place:
            point = (run.planned.arm, run.rung, place, evaluation.value, run.planned.seed)
            out.append((point, evaluation))
    return out


def _means(measured: list[tuple[Point, Evaluation]]) -> tuple[Means, ...]:
    """Every arm and rung, arms in order of appearance, rungs rising; of exact answers the error."""
    arms = list(dict.fromkeys(point[0] for point, _ in measured))
    out = []
    for number, rung in sorted({(arms.index(point[0]), point[1]) for point, _ in measured}):
        here = [(point, e) for point, e in measured if point[:2] == (arms[number], rung)]
        evaluations = [evaluation for _, evaluation in here]
        exact = evaluations[0].metric == "exact"
        out.append(
            Means(
                arm=arms[number],
                budget=rung,
                compute=float(np.mean([point[2] for point, _ in here])),
                values=tuple(1 - e.value if exact else e.value for e in evaluations),
                estimate=complement(level(evaluations)) if exact else level(evaluations),
            )
        )
    return tuple(out)


def _split(points: list[Point], arms: tuple[str, ...]) -> tuple[list[Point], list[str]]:
    """Points of the arms that have rungs enough for a fit, and a note on each that has not."""
    enough, notes = [], []
    for arm in arms:
        points_of = [point for point in points if point[0] == arm]
        try:
            gather(points_of).require_budgets()
            enough += points_of
        except NotEnough as error:
            notes.append(str(error))
    return enough, notes


def _fittable(cohort: Cohort, losses: list[Point]) -> tuple[list[Point], list[str]]:
    """Losses that belong into the joint fit, and notes on those that do not."""
    named = {
        arm
        for contrast in cohort.manifest.contrasts
        if contrast.study == cohort.study and contrast.quantity in ("compute_multiplier", "exponent")
        for arm in (contrast.arm, contrast.baseline)
    }
    rewarded = {r.planned.arm for r in cohort.runs for e in r.record.evaluations if e.stage == WARM_START}
    unasked = sorted(rewarded - named)
    notes = [f"{arm}: its last stage minimises no likelihood, left out of the loss fits" for arm in unasked]
    kept = [point for point in losses if point[0] not in unasked]
    for arm in dict.fromkeys(point[0] for point in kept if point[3] <= 0):
        notes.append(f"{arm}: losses of 0 cannot enter a power law and are left out of the fits")
    return [point for point in kept if point[3] > 0], notes
