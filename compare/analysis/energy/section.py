"""What the templates need for the section on pictures of thinking."""

from dataclasses import dataclass

from compare.analysis.ceiling.words import Answer
from compare.analysis.drawing import Figure
from compare.analysis.energy.figures import (
    SHOWN,
    board_figure,
    calibration_figure,
    chosen_steps,
    course_figure,
    solution,
)
from compare.analysis.energy.measure import BINS, FEWEST, Place, study_energies
from compare.analysis.energy.words import answers
from compare.analysis.scaling.measure import Results
from compare.analysis.tokens.figures import Look
from compare.store.descent import SOLVED, Example

ROWS = 8
"""Most steps in the table of an example."""

MEASURED = (
    "At the end of training an arm that descends on an energy answers the first held-out problems of the "
    "evaluation once more, in its default way, and every state on the way is kept: the most probable "
    "completion, the energy, and the entropy of the distributions. Entry 0 is the start.",
    "An autoregressive arm thinks once a token, after its own final tokens: step k of a completion is the "
    "row of states that its tokens had after k steps, and the last entry is its answer. Its energy is summed "
    "over the answer's tokens, that of the last step of thinking in every entry, so that a change along the "
    "steps is one of the state and not of the function. A parallel arm has one energy of the whole answer.",
    "Nothing in training asks that energies of different problems compare: an energy is trained only through "
    "its slope. Whether they do is what is measured here.",
    "AUROC: the probability that a right answer has lower energy than a wrong one of the same run and "
    f"severity; 1/2 is chance. A run counts if it has at least {FEWEST} answers of either outcome. Means "
    "over seeds, with Student's t intervals. Whether low energy means right is Holm-adjusted over all arms "
    "and severities of the study; every other interval stands for itself. Nobody named these beforehand: "
    "they are exploratory.",
    "A longer answer sums more energies. Where answers differ in length, the energy a token is given beside "
    "the sum: if only the sum tells right from wrong, length does.",
    f"Calibration: each run's problems, sorted by energy into {BINS} equal parts; shares over all seeds.",
    "Examples are the first solved and the first failed problem of the first seed that has one, not chosen "
    "for their looks.",
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One step of an example in print."""

    step: str
    parts: tuple[tuple[str, bool], ...]
    """The completion in pieces, and whether each differs from the step before it in the table."""
    energy: float
    entropy: float


@dataclass(frozen=True, kw_only=True)
class Story:
    """One example, step by step."""

    title: str
    cell: str
    prompt: str
    reference: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Album:
    """One arm's pictures."""

    arm: str
    figures: tuple[Figure, ...]
    stories: tuple[Story, ...]
    """Examples as tables, where they are no boards."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One study's part of the section."""

    name: str
    places: tuple[Place, ...]
    answers: tuple[Answer, ...]
    albums: tuple[Album, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Of all arms."""
        return tuple(figure for album in self.albums for figure in album.figures)


def sections(results: Results, look: Look) -> tuple[Section, ...]:
    """One for each study of which a finished run has traced its answers."""
    found = [(study, study_energies(study.runs, study.arms)) for study in results.studies]
    return tuple(
        Section(
            name=study.name,
            places=places,
            answers=answers(places),
            albums=tuple(
                _album(study.name, arm, [place for place in places if place.arm == arm], look)
                for arm in dict.fromkeys(place.arm for place in places)
            ),
        )
        for study, places in found
        if places
    )


def _album(study: str, arm: str, places: list[Place], look: Look) -> Album:
    figures = [course_figure(study, place) for place in places]
    stories: list[Story] = []
    for place in places:
        shown = examples(place)
        side = side_of(place, shown)
        if side:
            figures.append(board_figure(study, place, shown, side))
        else:
            stories += [_story(place, example) for example in shown]
    figures.append(calibration_figure(study, places, look[arm]))
    return Album(arm=arm, figures=tuple(figures), stories=tuple(stories))


def examples(place: Place) -> list[Example]:
    """The first solved and the first failed example of the first seeds that have one."""
    every = [example for _, descent in place.runs for example in descent.examples]
    firsts = [next((e for e in every if e.correct == solved), None) for solved in (True, False)]
    return [example for example in firsts if example is not None]


def side_of(place: Place, shown: list[Example]) -> int:
    """Cells a side of the boards that the examples print; 0: they print none."""
    task = place.runs[0][0].record.config.get("task")
    side = task.get("side") if isinstance(task, dict) and task.get("kind") == "sudoku" else None
    if side not in SHOWN or not shown:
        return 0
    fit = all(
        len(part) == side**2 and part.isdigit()
        for example in shown
        for part in (example.prompt[: side**2], solution(example, side**2))
    )
    alike = len({len(example.completions) for example in shown}) == 1
    return side if fit and alike else 0


def _story(place: Place, example: Example) -> Story:
    steps = chosen_steps(len(example.completions), ROWS)
    lines: list[Line] = []
    before = None
    for i in steps:
        text = example.completions[i]
        lines.append(
            Line(
                step="start" if i == 0 else str(i),
                parts=differences(text, before),
                energy=example.energy[i],
                entropy=example.entropy[i],
            )
        )
        before = text
    return Story(
        title=f"{place.name}: the first {SOLVED[example.correct]} problem",
        cell=place.cell_of(example),
        prompt=example.prompt,
        reference=example.reference,
        lines=tuple(lines),
    )


def differences(text: str, before: str | None) -> tuple[tuple[str, bool], ...]:
    """The text in runs of characters that are, or are not, those at the same places of the one before."""
    parts: list[tuple[str, bool]] = []
    for i, character in enumerate(text):
        changed = before is not None and before[i : i + 1] != character
        if parts and parts[-1][1] == changed:
            parts[-1] = (parts[-1][0] + character, changed)
        else:
            parts.append((character, changed))
    return tuple(parts)
