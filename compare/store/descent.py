"""How some held-out problems' answers came about by descent on an energy: what a record keeps of it.

Shapes: P problems; T entries along the steps of thinking, entry 0 the start.
"""

import math
from dataclasses import dataclass

from compare.store.strict import Amount, AtLeastOne, Bits, Count, require

LARGEST = 1e30
"""Beyond this, up or down, no number of a history or a trace was measured."""
SOLVED = {True: "solved", False: "failed"}


@dataclass(frozen=True, kw_only=True)
class Course:
    """Energy and entropy along the steps, over the problems of one outcome."""

    solved: bool
    """Of the problems answered correctly in the end, or of the others."""
    n: int
    energy: tuple[float, ...]
    """Mean over the problems, T entries."""
    energy_sd: tuple[Amount, ...]
    """Standard deviation over the problems; 0 for a single one."""
    entropy: tuple[Amount, ...]
    """Nats a token, likewise."""
    entropy_sd: tuple[Amount, ...]


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
    entropy: tuple[Amount, ...]


@dataclass(frozen=True, kw_only=True)
class Descent:
    """One set of held-out problems, at the end of training, answered at the default effort."""

    axis: str
    severity: Count
    correct: Bits
    energy: tuple[float, ...]
    """Energy of each answer, P: summed over its tokens, or one energy of the whole."""
    entropy: tuple[Amount, ...]
    """Entropy of the distributions that it was taken from, nats per token, P."""
    tokens: tuple[AtLeastOne, ...]
    """Length of each answer, P."""
    courses: tuple[Course, ...]
    """Of the solved problems and of the failed ones, where there are any."""
    examples: tuple[Example, ...]


def check_descent(descent: Descent) -> None:
    """Raise ValueError, naming the part and the value, unless everything fits together."""
    where = f"trace {descent.axis} {descent.severity}"
    n = len(descent.correct)
    require(n > 0, f"{where}: no problems")
    for name in ("energy", "entropy", "tokens"):
        entries = len(getattr(descent, name))
        require(entries == n, f"{where}: {entries} entries of {name} for {n} problems")
    largest = max(map(abs, (*descent.energy, *descent.entropy)))
    require(largest <= LARGEST, f"{where}: energy or entropy {largest:.4g}")
    lengths = {len(part.energy) for part in (*descent.courses, *descent.examples)}
    steps = max(lengths, default=0)
    same = len(lengths) == 1 and steps > 0
    require(same, f"{where}: courses and examples differ in their number of steps, or have none")
    outcomes = [course.solved for course in descent.courses]
    occurring = sorted({c == "1" for c in descent.correct})
    require(sorted(outcomes) == occurring, f"{where}: courses {outcomes} do not match the outcomes")
    for course in descent.courses:
        part, outcome = f"{where}, {SOLVED[course.solved]}", str(int(course.solved))
        energies = [e for e, c in zip(descent.energy, descent.correct, strict=True) if c == outcome]
        require(course.n == len(energies), f"{part}: n={course.n} does not match the outcomes")
        for name in ("energy", "energy_sd", "entropy", "entropy_sd"):
            entries = len(getattr(course, name))
            require(entries == steps, f"{part}: {entries} entries of {name}, {steps} of energy elsewhere")
        mean, last = math.fsum(energies) / len(energies), course.energy[-1]
        close = abs(last - mean) <= 1e-4 * (1 + max(map(abs, energies)))
        require(close, f"{part}: last energy {last} is not the mean of its problems, {mean:g}")
    for example in descent.examples:
        even = len(example.completions) == len(example.entropy) == steps
        require(even, f"{where}, example {example.prompt!r}: its entries differ in number")
    shown = [example.correct for example in descent.examples]
    for solved, word in SOLVED.items():
        few = shown.count(solved) <= descent.correct.count(str(int(solved)))
        require(few, f"{where}: more {word} examples than {word} problems")
