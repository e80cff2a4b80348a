"""What the templates need for the section on the ceiling."""

from dataclasses import dataclass

from compare.analysis.ceiling.figures import Look, of_ceiling
from compare.analysis.ceiling.forecast import LABELS
from compare.analysis.ceiling.measure import ArmCeiling, CeilingStudy
from compare.analysis.ceiling.words import Answer, answers
from compare.analysis.drawing import Figure
from compare.analysis.findings import Finding
from compare.analysis.scaling.measure import Results, Study
from compare.stats.intervals import Estimate

BEWARE = (
    "The law is no identity: a softmax policy that follows the exact gradient on a one-state bandit fits it "
    "with R² above .9 and can have a ceiling far above the largest reward. A good fit shows nothing; what "
    "counts is the forecast against simpler ones, and a ceiling outside [0, 1] is impossible.",
    "R is the mean reward of an update's rollout at temperature 1 on training problems, verified but for "
    "rl_random_reward, whose reward is a coin and says nothing of answers; H is the "
    "entropy of the same rollout; levels are exact answers on held-out problems, each arm answering in its "
    "default way. At no entropy sampling and greedy answering are the same, so a ceiling compares with a "
    "level as far as training problems are no easier than held-out ones.",
    "Entropy is measured, not set, and its noise flattens the fitted line.",
    "Rows are fitted by least squares, run by run; intervals over runs are Student's t over seeds, which "
    "holds whatever the dependence of neighbouring updates.",
    "The law, linear and quadratic forecasts are told the entropies of what came after; carry-last and the "
    "sigmoid in the compute of reinforcement learning are not.",
)


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """One forecast of one arm."""

    arm: str
    label: str
    mean: Estimate
    end: Estimate
    finding: Finding | None
    """The law against it; None for the law itself."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One study's part of the section."""

    name: str
    section: CeilingStudy | None
    answers: tuple[Answer, ...]
    figures: tuple[Figure, ...]
    errors: tuple[ErrorRow, ...]


def sections(results: Results, look: Look) -> tuple[Section, ...]:
    """One for each study that trained by reward, if the experiment asks for a forecast.

    A study that names no arm trained by reward, such as one of text, has none; if none has finished
    anything, every study says so.
    """
    if results.evidence.manifest.fit_share == 0:
        return ()
    found = [study for study in results.studies if study.ceiling is not None]
    return tuple(_section(study, results.findings, look) for study in found or results.studies)


def _section(study: Study, findings: tuple[Finding, ...], look: Look) -> Section:
    if study.ceiling is None:
        return Section(name=study.name, section=None, answers=(), figures=(), errors=())
    return Section(
        name=study.name,
        section=study.ceiling,
        answers=answers(study.name, study.ceiling, findings),
        figures=tuple(of_ceiling(study.name, study.ceiling, look)),
        errors=tuple(row for arm in study.ceiling.arms for row in _rows(study.name, arm, findings)),
    )


def _rows(study: str, arm: ArmCeiling, findings: tuple[Finding, ...]) -> list[ErrorRow]:
    against = {
        f.baseline: f
        for f in findings
        if (f.study, f.arm, f.quantity) == (study, arm.arm, "forecast_error") and f.estimate is not None
    }
    return [
        ErrorRow(
            arm=arm.arm,
            label=label,
            mean=arm.mean_error[method],
            end=arm.end_error[method],
            finding=against.get(method),
        )
        for method, label in LABELS.items()
        if method in arm.mean_error
    ]
