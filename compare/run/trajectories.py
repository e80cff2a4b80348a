"""Recording how answers come about: a fixed, small number of problems once per cell, at the end of training.

It costs one greedy decoding of at most PROBLEMS problems for each set, and counts as evaluation.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from arena.contender import Contender, Trajectory
from arena.tasks.base import Problem, Task
from compare.store.descent import Course, Descent, Example

PROBLEMS = 128
"""Most problems traced in a set: the first ones of the evaluation."""
EXAMPLES = 6
"""Most problems kept in print: half of them failed, half solved, as far as there are any."""


def traced(shifts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Which of the evaluated (axis, severity) to trace: in distribution, and the first axis's furthest."""
    axis = shifts[0][0]
    furthest = max(severity for name, severity in shifts if name == axis)
    return [(axis, 0)] + ([(axis, furthest)] if furthest else [])


def trace(
    contender: Contender, task: Task, problems: Sequence[Problem], axis: str, severity: int, stage: str
) -> Descent | None:
    """How the first problems' answers come about; none where nothing is refined or nothing can be verified.

    Raises:
        FloatingPointError: an energy or entropy is not finite.
    """
    if not task.verifiable:
        return None
    problems = problems[:PROBLEMS]
    # The key of the evaluation's first batch: the same starts, hence the same answers.
    paths = contender.trajectories(problems, key=(stage, severity, 0))
    if not paths:
        return None
    for path in paths:
        if not all(map(math.isfinite, (*path.energy, *path.entropy))):
            raise FloatingPointError(
                f"energies {path.energy}, entropies {path.entropy} along the steps, {axis} {severity}"
            )
    # Rounding may leave an entropy of zero below it.
    paths = [replace(path, entropy=tuple(max(h, 0.0) for h in path.entropy)) for path in paths]
    bits = [task.verify(p, path.completions[-1]).correct for p, path in zip(problems, paths, strict=True)]
    both = [[i for i, bit in enumerate(bits) if bit == outcome] for outcome in (False, True)]
    half = [i for indices in both for i in indices[: EXAMPLES // 2]]
    rest = [i for indices in both for i in indices[EXAMPLES // 2 :]]
    chosen = (half + rest)[:EXAMPLES]
    return Descent(
        axis=axis,
        severity=severity,
        correct="".join("01"[bit] for bit in bits),
        energy=_rounded(path.energy[-1] for path in paths),
        entropy=_rounded(path.entropy[-1] for path in paths),
        tokens=tuple(len(path.completions[-1]) for path in paths),
        courses=tuple(
            _course(outcome, [paths[i] for i in indices])
            for outcome, indices in zip((False, True), both, strict=True)
            if indices
        ),
        examples=tuple(_example(task, problems[i], paths[i], bits[i]) for i in chosen),
    )


def _course(solved: bool, paths: list[Trajectory]) -> Course:
    energies = list(zip(*(path.energy for path in paths), strict=True))
    entropies = list(zip(*(path.entropy for path in paths), strict=True))
    return Course(
        solved=solved,
        n=len(paths),
        energy=_rounded(map(statistics.fmean, energies)),
        energy_sd=_rounded(map(_spread, energies)),
        entropy=_rounded(map(statistics.fmean, entropies)),
        entropy_sd=_rounded(map(_spread, entropies)),
    )


def _example(task: Task, problem: Problem, path: Trajectory, correct: bool) -> Example:
    return Example(
        prompt=task.text(problem.prompt),
        reference=task.text(problem.completion),
        correct=correct,
        completions=tuple(map(task.text, path.completions)),
        energy=_rounded(path.energy),
        entropy=_rounded(path.entropy),
    )


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    """As many digits as single precision has."""
    return tuple(float(f"{value:.7g}") for value in values)
