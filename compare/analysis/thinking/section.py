"""What the templates need for the section on thinking."""

from dataclasses import dataclass

from compare.analysis.ceiling.words import Answer
from compare.analysis.drawing import Figure
from compare.analysis.findings import Finding
from compare.analysis.scaling.measure import Results, Study
from compare.analysis.thinking.chain import ChainPair, chain_pairs
from compare.analysis.thinking.figures import Look, of_thinking
from compare.analysis.thinking.measure import ThinkingStudy
from compare.analysis.thinking.words import answers
from compare.store.manifest import THINKING_QUANTITIES

BEWARE = (
    "FLOPs an answer are counted with everything in: all samples, steps, restarts, prompts and chains.",
    "The best of several efforts is chosen on one half of the held-out problems (the even ones, or the odd) "
    "and scored on the other, both ways round, run by run; for a loss, whose record keeps no problem's own "
    "value, on the arm's other seeds. So a gain can be negative, and is zero on average where no effort is "
    "better than another.",
    "A gain is over the arm's own cheapest effort: an arm whose cheapest effort is one it was hardly trained "
    "for (a single loop, a single step) gains much without being good. The comparison at equal FLOPs an "
    "answer is free of that, within the range of FLOPs that both arms span.",
    "All samples of a run are drawn once: the efforts of one arm share them, and the first of a larger "
    "number are those of a smaller one. Each effort is charged what it would have cost alone.",
    "One draw without a choice (`sample`) costs what the most probable answer costs: it is no rung of a "
    "ladder.",
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One study's part of the section."""

    name: str
    section: ThinkingStudy | None
    answers: tuple[Answer, ...]
    figures: tuple[Figure, ...]
    chains: tuple[ChainPair, ...]


def sections(results: Results, look: Look) -> tuple[Section, ...]:
    """One for each study, if a contrast of the experiment names a quantity of the section."""
    if not {c.quantity for c in results.evidence.manifest.contrasts} & {*THINKING_QUANTITIES}:
        return ()
    chains = chain_pairs(tuple((study.name, study.runs) for study in results.studies))
    return tuple(
        _section(study, results.findings, tuple(pair for pair in chains if pair.plain == study.name), look)
        for study in results.studies
    )


def _section(
    study: Study, findings: tuple[Finding, ...], chains: tuple[ChainPair, ...], look: Look
) -> Section:
    if study.thinking is None:
        return Section(name=study.name, section=None, answers=(), figures=(), chains=())
    return Section(
        name=study.name,
        section=study.thinking,
        answers=answers(study.name, study.thinking, findings, chains),
        figures=tuple(of_thinking(study.name, study.thinking, look)),
        chains=chains,
    )
