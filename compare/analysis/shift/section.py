"""What the templates need for the section on decay."""

from dataclasses import dataclass

from compare.analysis.ceiling.words import Answer
from compare.analysis.drawing import Figure
from compare.analysis.findings import Finding
from compare.analysis.scaling.measure import Results, Study
from compare.analysis.shift.figures import Look, of_ood
from compare.analysis.shift.measure import ERRORS, Errors, OodStudy
from compare.analysis.shift.thinking_gain import places
from compare.analysis.shift.words import answers
from compare.analysis.tables import BASELINE
from compare.stats.intervals import Estimate
from compare.store.manifest import OOD_QUANTITIES

BEWARE = (
    "A slope is the least-squares line through a metric at severities 0, 1, 2 and so on. Severities are "
    "ordered but have no unit: slopes compare arms on one axis, not axes with one another.",
    "An arm that starts at 60% cannot lose as much as one that starts at 100%, and one that has nothing left "
    "after the first severity loses nothing more: read slopes beside the retained share and the levels.",
    "Levels, slopes, retained shares and correlations of exact answers carry the variance of the held-out "
    "problems, which seeds share; those of the loss and of edit distances are Student's t over seeds alone.",
    "An answer is right or wrong whatever its chain. A plan is what the chain says is to be done, an "
    "execution what it says has come out, each judged by itself against the reference or whatever the task "
    "accepts.",
    "An arm trained by reward on answers alone was not paid for its chain: its chain errors say what it gave "
    "up, not what it cannot do; and it minimises no loss, so that its loss says less than the others'.",
    "The gain from thinking is bounded by what is left to gain: it is zero where everything, or nothing, is "
    "right. A correlation over seeds asks whether it grows with the severity, not how large it is.",
)


@dataclass(frozen=True, kw_only=True)
class SlopeRow:
    """One metric of one arm along one axis."""

    arm: str
    axis: str
    metric: str
    within: Estimate
    """In distribution."""
    last: Estimate
    """At the largest severity."""
    slope: Estimate
    retained: Estimate | None
    finding: Finding | None
    """Its slope against that of BASELINE; None for the baseline itself."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One study's part of the section."""

    name: str
    section: OodStudy | None
    answers: tuple[Answer, ...]
    figures: tuple[Figure, ...]
    slopes: tuple[SlopeRow, ...]
    told: tuple[str, ...]
    """Names of the errors that the task tells."""
    errors: tuple[tuple[str, Errors], ...]
    """Arm and its errors, place by place."""


def sections(results: Results, look: Look) -> tuple[Section, ...]:
    """One for each study of which a contrast names a quantity of the section."""
    asked = {c.study for c in results.evidence.manifest.contrasts if c.quantity in OOD_QUANTITIES}
    return tuple(_section(study, results.findings, look) for study in results.studies if study.name in asked)


def _section(study: Study, findings: tuple[Finding, ...], look: Look) -> Section:
    if study.ood is None:
        return Section(name=study.name, section=None, answers=(), figures=(), slopes=(), told=(), errors=())
    told = {name for arm in study.ood.arms for each in arm.errors for name in each.of}
    return Section(
        name=study.name,
        section=study.ood,
        answers=answers(study.name, study.ood, findings),
        figures=tuple(of_ood(study.name, study.ood, look)),
        slopes=tuple(_rows(study.name, study.ood, findings)),
        told=tuple(name for name in ERRORS if name in told),
        errors=tuple(
            (arm.arm, errors)
            for place in places(study.ood.axes)
            for arm in study.ood.arms
            for errors in arm.errors
            if (errors.axis, errors.severity) == place
        ),
    )


def _rows(study: str, section: OodStudy, findings: tuple[Finding, ...]) -> list[SlopeRow]:
    quantities = {"exact": "decay_slope", "loss": "decay_slope_loss"}
    against = {
        (f.arm, f.axis, f.quantity): f
        for f in findings
        if (f.study, f.baseline) == (study, BASELINE) and f.estimate is not None
    }
    return [
        SlopeRow(
            arm=arm.arm,
            axis=axis,
            metric=metric,
            within=decay.levels[0],
            last=decay.levels[-1],
            slope=decay.slope,
            retained=decay.retained,
            finding=against.get((arm.arm, axis, quantity)),
        )
        for axis in section.axes
        for metric, quantity in quantities.items()
        for arm in section.arms
        if (decay := arm.decay(metric, axis)) is not None
    ]
