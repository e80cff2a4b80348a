"""Records and manifest -> findings, with the curves and tables that the report draws.

The contrasts of the manifest are primary; the same quantities for every other arm against
`transformer`, and the paper's slope ratio, are exploratory, corrected within
their study.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from compare.analysis import tables
from compare.analysis.ceiling import contrasts as ceiling_contrasts
from compare.analysis.ceiling.measure import CeilingStudy, study_ceiling
from compare.analysis.findings import QUANTITIES, Draft, Finding, judge
from compare.analysis.paired import final_difference, reward_gain, shift_difference
from compare.analysis.scaling.isoflop import Parabola, parabolas
from compare.analysis.shift import contrasts as ood_contrasts
from compare.analysis.shift.measure import OodStudy, study_ood
from compare.analysis.tables import BASELINE
from compare.analysis.thinking import contrasts as thinking_contrasts
from compare.analysis.thinking.measure import ThinkingStudy, study_thinking
from compare.analysis.tokens import contrasts as anatomy_contrasts
from compare.analysis.tokens.measure import AnatomyStudy, study_anatomy
from compare.stats.intervals import Array, from_bootstrap, percentile_interval
from compare.stats.power_law import MISFIT, VARIANTS, PowerLaw, Runs, gather, power_law, slope_degrees, slopes
from compare.stats.sigmoid import Sigmoid, sigmoid
from compare.store.evidence import Evidence, Run
from compare.store.manifest import (
    ANATOMY_QUANTITIES,
    CEILING_QUANTITIES,
    OOD_QUANTITIES,
    THINKING_QUANTITIES,
    WARM_START,
    Contrast,
    Manifest,
)

DRAWS = 2000
"""Bootstrap draws of every fit."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Slopes of log loss against log compute and the runs they come from."""

    runs: Runs
    slope_RA: Array


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything the report shows of one study."""

    name: str
    axis: str
    """What its runs vary, one of compare/store/manifest.py's AXES."""
    arms: tuple[str, ...]
    runs: tuple[Run, ...]
    loss: tuple[tables.Means, ...]
    error: tuple[tables.Means, ...]
    """Answer error, 1 - exact, each arm answering in its default way; empty without verifiable answers."""
    fits: dict[str, PowerLaw]
    """Joint fit of the loss by variant; empty when there is not enough."""
    accuracy: dict[str, Sigmoid]
    ceilings: dict[str, tables.Interval]
    """Fitted ceiling of exact answers by arm."""
    line: Line | None
    """The paper's straight lines; None when there is not enough."""
    isoflop: tuple[Parabola, ...]
    """Loss against size at equal FLOPs; empty unless the experiment's axis is `isoflop`."""
    fit_rows: tuple[tables.FitRow, ...]
    shift: tuple[tables.ShiftRow, ...]
    efforts: tuple[tables.EffortRow, ...]
    notes: tuple[str, ...]
    """What could not be fitted, and why."""
    ceiling: CeilingStudy | None
    """None if the experiment asks for no forecast, or no finished run was trained by reward."""
    anatomy: AnatomyStudy | None
    """None if no contrast of the study asks for it, or no finished run recorded it."""
    ood: OodStudy | None
    """None if no contrast of the study asks for it, or no finished run was measured under shift."""
    thinking: ThinkingStudy | None = None
    """None if no contrast of the experiment asks for it, or no finished run was evaluated."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything a report says."""

    evidence: Evidence
    studies: tuple[Study, ...]
    findings: tuple[Finding, ...]
    """Primary findings in the manifest's order, then exploratory ones."""


def analyse(
    evidence: Evidence,
    *,
    draws: int = DRAWS,
    variants: tuple[str, ...] = VARIANTS,
    progress: Callable[[str], None] | None = None,
) -> Results:
    """Findings, fits and tables of an experiment; deterministic for the same records.

    Args:
        draws: bootstrap draws of every fit.
        variants: of the joint fit; `shared` is what contrasts are read from, the others show sensitivity.
        progress: called with a line on what is being done.
    """
    studies: dict[str, Study] = {}
    contrasts = evidence.manifest.contrasts
    for name in evidence.studies:
        if progress is not None:
            progress(f"fitting {name}")
        planned = [c for c in contrasts if c.study == name]
        studies[name] = _study(name, evidence.study(name), planned, draws, evidence.manifest, variants)
        if {c.quantity for c in contrasts} & {*THINKING_QUANTITIES}:
            thinking = study_thinking(studies[name].runs, studies[name].arms)
            studies[name] = replace(studies[name], thinking=thinking)
    primary = [_primary(studies[contrast.study], contrast, evidence) for contrast in contrasts]
    asked = {_what(draft) for draft in primary}
    exploratory: tuple[Finding, ...] = ()
    for study in studies.values():
        others = [d for d in _explore(study) if d.estimate and _what(d) not in asked]
        exploratory += judge([_with_tuning(draft, evidence) for draft in others])
    return Results(evidence=evidence, studies=tuple(studies.values()), findings=judge(primary) + exploratory)


def _what(draft: Draft) -> tuple[str, ...]:
    """What a comparison is of; one that was named beforehand is not explored again."""
    return draft.study, draft.arm, draft.baseline, draft.quantity, draft.axis


def _primary(study: Study, contrast: Contrast, evidence: Evidence) -> Draft:
    if contrast.quantity in THINKING_QUANTITIES:
        draft = thinking_contrasts.compare(
            study.name,
            study.thinking,
            contrast.arm,
            contrast.baseline,
            contrast.quantity,
            contrast.severity,
            contrast.axis,
        )
    elif contrast.chooses:
        draft = final_difference(
            study.name,
            study.runs,
            contrast.arm,
            contrast.baseline,
            contrast.quantity,
            efforts=(contrast.effort, contrast.baseline_effort),
            severity=contrast.severity,
        )
    else:
        draft = _compare(study, contrast.arm, contrast.baseline, contrast.quantity, contrast.axis)
    lost = sum(
        trouble.planned.study == study.name and trouble.planned.arm in (contrast.arm, contrast.baseline)
        for trouble in evidence.troubles
    )
    caveats = draft.caveats + ((f"{lost} planned cells of these arms gave no result",) if lost else ())
    caveats += tables.unequal_parameters(study.runs, contrast.arm, contrast.baseline)
    caveats += tables.unequal_tuning(evidence.manifest, study.name, contrast.arm, contrast.baseline)
    return replace(draft, primary=True, margin=contrast.margin, caveats=caveats)


def _with_tuning(draft: Draft, evidence: Evidence) -> Draft:
    """A comparison that nobody named beforehand, with a caveat if its arms were tuned unequally."""
    unequal = tables.unequal_tuning(evidence.manifest, draft.study, draft.arm, draft.baseline)
    return replace(draft, caveats=draft.caveats + unequal)


def _study(
    name: str,
    runs: tuple[Run, ...],
    planned: list[Contrast],
    draws: int,
    manifest: Manifest,
    variants: tuple[str, ...],
) -> Study:
    order = list(dict.fromkeys(run.planned.arm for run in runs))
    arms = tuple(sorted(order, key=lambda arm: (arm != BASELINE, order.index(arm))))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    axis = manifest.axis
    wanted = {c.quantity for c in planned}
    loss = tables.points(runs, "loss", axis)
    exact = tables.points(runs, "exact", axis)
    fittable, notes = _fittable(runs, loss, planned)
    enough, short = tables.split(fittable, arms)
    notes += short
    fits: dict[str, PowerLaw] = {}
    line: Line | None = None
    if enough and axis != "isoflop":
        pooled = gather(enough)
        if axis == "flops":
            fits = {variant: power_law(pooled, draws, rng, variant) for variant in variants}
        # Loss bends towards E in log-log, so slopes compare only over the same stretch of compute.
        shared = set.intersection(*({p[1] for p in enough if p[0] == arm} for arm in pooled.arms))
        common, unshared = tables.split([p for p in enough if p[1] in shared], pooled.arms)
        if unshared:
            notes.append(f"too few budgets that all of {', '.join(pooled.arms)} have, for the paper's slopes")
        else:
            same = gather(common)
            line = Line(runs=same, slope_RA=slopes(same, draws, rng))
    accuracy: dict[str, Sigmoid] = {}
    ceilings: dict[str, tables.Interval] = {}
    for arm in arms if axis == "flops" else ():
        own, short = tables.split([point for point in exact if point[0] == arm], (arm,))
        notes += [note for note in short if note not in notes]
        if own:
            pooled = gather(own)
            accuracy[arm] = sigmoid(pooled, draws, rng)
            ceilings[arm] = tables.interval(accuracy[arm].ceiling_R, accuracy[arm].ceiling_degrees)
    curves, few = parabolas(runs, draws, rng) if axis == "isoflop" else ((), [])
    notes += few
    return Study(
        name=name,
        axis=axis,
        isoflop=curves,
        arms=arms,
        runs=runs,
        loss=tables.means(loss),
        error=tables.means([(arm, budget, flops, 1 - value) for arm, budget, flops, value in exact]),
        fits=fits,
        line=line,
        accuracy=accuracy,
        ceilings=ceilings,
        fit_rows=(
            *(tables.line_rows(line.runs, line.slope_RA) if line else ()),
            *(row for fit in fits.values() for row in tables.law_rows(fit)),
        ),
        shift=tuple(tables.shift_rows(arms, runs)),
        efforts=tuple(tables.effort_rows(arms, runs)),
        notes=tuple(notes),
        ceiling=study_ceiling(runs, arms, manifest.fit_share, draws) if manifest.fit_share else None,
        anatomy=study_anatomy(runs, arms) if wanted & {*ANATOMY_QUANTITIES} else None,
        ood=study_ood(runs, arms) if wanted & {*OOD_QUANTITIES} else None,
    )


def _fittable(
    runs: tuple[Run, ...], loss: list[tables.Point], planned: list[Contrast]
) -> tuple[list[tables.Point], list[str]]:
    """Losses that belong into the joint fit, and notes on those that do not.

    An arm trained by reward, or by contrast, minimises no loss in the end: its likelihood is no scaling
    curve and would bend the shared E of all others. It enters only if a primary contrast asks for it.
    """
    named = {
        arm
        for contrast in planned
        if contrast.quantity in ("compute_multiplier", "exponent")
        for arm in (contrast.arm, contrast.baseline)
    }
    rewarded = {run.planned.arm for run in runs if any(e.stage == WARM_START for e in run.record.evaluations)}
    notes = [
        f"{arm}: its last stage minimises no likelihood, left out of the loss fits"
        for arm in sorted(rewarded - named)
    ]
    kept = [point for point in loss if point[0] not in rewarded - named]
    for arm in dict.fromkeys(point[0] for point in kept if point[3] <= 0):
        notes.append(f"{arm}: losses of 0 cannot enter a power law and are left out of the fits")
    return [point for point in kept if point[3] > 0], notes


def _compare(study: Study, arm: str, baseline: str, quantity: str, axis: str = "") -> Draft:
    """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made."""
    if quantity == "reward_gain":
        return reward_gain(study.name, study.runs, arm)
    if quantity in ("final_loss", "final_error"):
        return final_difference(study.name, study.runs, arm, baseline, quantity)
    if quantity in ("shift_loss", "shift_error"):
        return shift_difference(study.name, study.runs, arm, baseline, quantity)
    if quantity in CEILING_QUANTITIES:
        return ceiling_contrasts.compare(study.name, study.ceiling, study.runs, arm, baseline, quantity)
    if quantity in ANATOMY_QUANTITIES:
        return anatomy_contrasts.compare(study.name, study.anatomy, study.runs, arm, baseline, quantity)
    if quantity in OOD_QUANTITIES:
        return ood_contrasts.compare(study.name, study.ood, arm, baseline, quantity, axis)
    blank = Draft(study=study.name, arm=arm, baseline=baseline, quantity=quantity, estimate=None)
    if quantity == "slope_ratio":
        return _slope_ratio(blank, study)
    fit = study.fits.get("shared")
    absent = [name for name in (arm, baseline) if fit is None or name not in fit.runs.arms]
    if fit is None or absent:
        reasons = [note for note in study.notes if note.split(":")[0] in absent]
        return replace(blank, caveats=tuple(reasons or [f"{', '.join(absent)}: no fitted curve"]))
    if fit.at_bound(arm, baseline):
        # Where a curve could not be resolved its bootstrap is stuck as well, and too sure of itself.
        return replace(blank, caveats=("an exponent lies at its bound: the curve is not resolved",))
    if quantity == "exponent":
        rows_R, caveats = fit.alpha(arm) - fit.alpha(baseline), ()
    else:
        rows_R, outside = fit.log_multiplier(arm, baseline)
        caveats = ("extrapolated beyond the measured range",) if outside else ()
    misfit = fit.misfit(arm, baseline)
    if misfit > MISFIT:
        caveats += (
            f"the law does not describe these losses: a budget's mean is {misfit:.2g} off in log loss",
        )
    return _fitted(blank, study, fit.runs, rows_R, fit.degrees(rows_R, arm, baseline), caveats)


def _slope_ratio(blank: Draft, study: Study) -> Draft:
    """The paper's reading: slope of log loss on the log of the axis, arm over baseline, less 1."""
    pair = (blank.arm, blank.baseline)
    absent = [name for name in pair if study.line is None or name not in study.line.runs.arms]
    if study.line is None or absent:
        reasons = [note for note in study.notes if note.split(":")[0] in absent]
        return replace(blank, caveats=tuple(reasons or ["too few points that all arms share"]))
    arms, slope_RA = study.line.runs.arms, study.line.slope_RA
    mine, theirs = (slope_RA[:, arms.index(name)] for name in pair)
    low, high = percentile_interval(theirs[1:], slope_degrees(study.line.runs, slope_RA[0], blank.baseline))
    if np.isfinite(low) and low <= 0 <= high:
        return replace(
            blank, caveats=(f"the slope of {blank.baseline} is not told from 0: no ratio to it is resolved",)
        )
    degrees = slope_degrees(study.line.runs, slope_RA[0], *pair)
    return _fitted(blank, study, study.line.runs, mine / theirs - 1, degrees)


def _fitted(
    blank: Draft,
    study: Study,
    runs: Runs,
    rows_R: Array,
    degrees: float,
    caveats: tuple[str, ...] = (),
) -> Draft:
    """A comparison of two fitted curves from its bootstrap rows."""
    pair = (blank.arm, blank.baseline)
    n = runs.fewest(*pair)
    if n < 2 and degrees >= 1:
        caveats = (*caveats, "some budgets have a single run; their spread is borrowed from the others")
    cells = tuple(r.planned.cell for r in study.runs if r.planned.arm in pair and r.find("loss") is not None)
    estimate = from_bootstrap(float(rows_R[0]), rows_R[1:], degrees=degrees, n=n)
    return replace(blank, estimate=estimate, caveats=caveats, records=cells)


def _explore(study: Study) -> list[Draft]:
    """Every quantity against BASELINE, every arm against its own warm start, and what sections compare.

    Nothing where sizes are compared with one another: no one of them stands for an arm.
    """
    if study.axis == "isoflop":
        return []
    against = [arm for arm in study.arms if arm != BASELINE and BASELINE in study.arms]
    own = ("reward_gain", *CEILING_QUANTITIES, *ANATOMY_QUANTITIES, *OOD_QUANTITIES, *THINKING_QUANTITIES)
    quantities = [name for name in QUANTITIES if name not in own]
    gains = [_compare(study, arm, WARM_START, "reward_gain") for arm in study.arms]
    others = [_compare(study, arm, BASELINE, quantity) for arm in against for quantity in quantities]
    return [
        *gains,
        *others,
        *ceiling_contrasts.explore(study.name, study.ceiling, study.runs),
        *anatomy_contrasts.explore(study.name, study.anatomy, study.runs),
        *ood_contrasts.explore(study.name, study.ood, BASELINE),
        *thinking_contrasts.explore(study.name, study.thinking),
    ]
