"""What the templates need for the section on tokens."""

from collections.abc import Callable
from dataclasses import dataclass

from compare.analysis.ceiling.words import Answer
from compare.analysis.drawing import Figure
from compare.analysis.findings import Finding
from compare.analysis.scaling.measure import Results, Study
from compare.analysis.tokens.figures import Look, of_anatomy
from compare.analysis.tokens.measure import CLASSES, AnatomyStudy, ArmAnatomy, RunAnatomy, Snapshot, mean_of
from compare.analysis.tokens.words import answers, end, start
from compare.stats.intervals import Estimate
from compare.store.manifest import ANATOMY_QUANTITIES

BEWARE = (
    "Entropies are those of the full next-token distribution at temperature 1, over tokens that the policy "
    "sampled itself. Shares are measured on fixed validation problems with the same random numbers each "
    "time, courses over training on each update's rollout.",
    "The class of a token is the task's own, of the place at which it stands; a sample that has left the "
    "chain's form has no classes from there on, but its tokens count among all.",
    "An error is the first token of a sample that differs from the reference, over the tokens that got that "
    "far: what only follows from an earlier error is not counted.",
    "A half-fall is when a curve, smoothed over 10% of the updates, is first half-way from its start (the "
    "first 5%) to its end (the last 10%). A curve that loses less than a fifth of its start has none.",
    "Under relabelling the same places are called planning and execution at random, as many of each, the "
    "same way for all seeds. A lag counts only if it is larger than those of other labellings, and differs "
    "from zero over seeds.",
    "Places differ in more than their class: a planning token that stands early in the chain is also early. "
    "The relabelling says whether an order this clear is rare among places, not why it is there.",
)


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class at one point of an arm's runs, means over seeds."""

    arm: str
    stage: str
    in_forks: Estimate | None
    """Share of all entropy held by the top fifth; on the first row of an arm and stage only."""
    name: str
    tokens: Estimate | None
    forks: Estimate | None
    entropy: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One study's part of the section."""

    name: str
    section: AnatomyStudy | None
    answers: tuple[Answer, ...]
    figures: tuple[Figure, ...]
    rows: tuple[ClassRow, ...]


def sections(results: Results, look: Look) -> tuple[Section, ...]:
    """One for each study of which a contrast names a quantity of the section."""
    asked = {c.study for c in results.evidence.manifest.contrasts if c.quantity in ANATOMY_QUANTITIES}
    return tuple(_section(study, results.findings, look) for study in results.studies if study.name in asked)


def _section(study: Study, findings: tuple[Finding, ...], look: Look) -> Section:
    if study.anatomy is None:
        return Section(name=study.name, section=None, answers=(), figures=(), rows=())
    main = study.anatomy.main
    rows = _rows(main, f"warm start, that of {main.arm}", start)
    for arm in study.anatomy.arms:
        rows += _rows(arm, "end", end)
    return Section(
        name=study.name,
        section=study.anatomy,
        answers=answers(study.name, study.anatomy, findings),
        figures=tuple(of_anatomy(study.name, study.anatomy, look)),
        rows=tuple(rows),
    )


def _rows(arm: ArmAnatomy, stage: str, look: Callable[[RunAnatomy], Snapshot]) -> list[ClassRow]:
    met = [name for name in CLASSES if any(name in look(run).tokens for run in arm.runs)] or [""]
    return [
        ClassRow(
            arm=arm.arm,
            stage=stage,
            in_forks=mean_of(arm.runs, lambda run: look(run).in_forks) if name == met[0] else None,
            name=name or "all tokens",
            tokens=mean_of(arm.runs, lambda run, name=name: look(run).tokens.get(name)),
            forks=mean_of(arm.runs, lambda run, name=name: look(run).forks.get(name)),
            entropy=mean_of(arm.runs, lambda run, name=name: look(run).entropy.get(name)),
        )
        for name in met
    ]
