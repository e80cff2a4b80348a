"""How some held-out problems' answers came about by descent on an energy: what a record keeps of it.

Shapes: P problems; T entries along the steps of thinking, entry 0 the start.
"""

import math
from dataclasses import dataclass

SOLVED = {True: "solved", False: "failed"}


@dataclass(frozen=True, kw_only=True)
class Course:
    """Energy and entropy along the steps, over the problems of one outcome."""

    solved: bool
    """Of the problems answered correctly in the end, or of the others."""
    n: int
    energy: tuple[float, ...]
    """Mean over the problems, T entries."""
    energy_sd: tuple[float, ...]
    """Standard deviation over the problems; 0 for a single one."""
    entropy: tuple[float, ...]
    """Nats a token, likewise."""
    entropy_sd: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One problem in print."""

    prompt: str
    reference: str
    """The task's own completion; others may be right as well."""
    correct: bool
    completions: tuple[str, ...]
    """T entries."""
    energy: tuple[float, ...]
    entropy: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One set of held-out problems, at the end of training, answered at the default effort."""

    axis: str
    severity: int
    correct: str
    """One character per problem, 1 for a correct answer."""
    energy: tuple[float, ...]
    """Energy of each answer, P: summed over its tokens, or one energy of the whole."""
    entropy: tuple[float, ...]
    """Entropy of the distributions that it was taken from, nats per token, P."""
    tokens: tuple[int, ...]
    """Length of each answer, P."""
    courses: tuple[Course, ...]
    """Of the solved problems and of the failed ones, where there are any."""
    examples: tuple[Example, ...]


def check_descent(descent: Descent) -> None:
    """Raise ValueError, naming the part and the value, unless everything fits together."""
    where = f"trace {descent.axis} {descent.severity}"
    n = len(descent.correct)
    if descent.severity < 0 or n == 0 or set(descent.correct) - {"0", "1"}:
        raise ValueError(f"{where}: severity below 0, or correct={descent.correct!r} is no row of 0 and 1")
    for name in ("energy", "entropy", "tokens"):
        values = getattr(descent, name)
        if len(values) != n:
            raise ValueError(f"{where}: {len(values)} entries of {name} for {n} problems")
    if min(descent.tokens) < 1 or min(descent.entropy) < 0:
        raise ValueError(f"{where}: an answer without tokens, or an entropy below 0")
    parts = [*descent.courses, *descent.examples]
    entries = {len(part.energy) for part in parts}
    if len(entries) != 1 or entries == {0}:
        raise ValueError(f"{where}: courses and examples differ in their number of steps, or have none")
    (steps,) = entries
    for course in descent.courses:
        _check_course(f"{where}, {SOLVED[course.solved]}", course, descent, steps)
    outcomes = [course.solved for course in descent.courses]
    if sorted(outcomes) != sorted({c == "1" for c in descent.correct}):
        raise ValueError(f"{where}: courses {outcomes} do not match the outcomes")
    for example in descent.examples:
        if not len(example.completions) == len(example.entropy) == steps:
            raise ValueError(f"{where}, example {example.prompt!r}: its entries differ in number")
    shown = [example.correct for example in descent.examples]
    for solved, word in SOLVED.items():
        if shown.count(solved) > descent.correct.count(str(int(solved))):
            raise ValueError(f"{where}: more {word} examples than {word} problems")


def _check_course(where: str, course: Course, descent: Descent, steps: int) -> None:
    energies = [
        e for e, c in zip(descent.energy, descent.correct, strict=True) if (c == "1") == course.solved
    ]
    if course.n != len(energies):
        raise ValueError(f"{where}: n={course.n} does not match the outcomes")
    for name in ("energy", "energy_sd", "entropy", "entropy_sd"):
        values = getattr(course, name)
        if len(values) != steps:
            raise ValueError(f"{where}: {len(values)} entries of {name}, {steps} of energy elsewhere")
        if name != "energy" and min(values) < 0:
            raise ValueError(f"{where}: {name} below 0")
    mean = math.fsum(energies) / len(energies)
    last = course.energy[-1]
    if abs(last - mean) > 1e-4 * (1 + max(map(abs, energies))):
        raise ValueError(f"{where}: last energy {last} is not the mean of its problems, {mean:g}")
