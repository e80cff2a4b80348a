"""Records whose traced answers have a known truth: how far energy tells right from wrong."""

from pathlib import Path

import numpy as np

from compare.calibrate import builders
from compare.store.descent import Course, Descent, Example
from compare.store.manifest import Manifest, PlannedCell, dump
from compare.store.record import Record

NAME = "pictures"
"""Of the experiment."""

PROBLEMS = 60
STEPS = 2
SOLUTION = "1234341221434321"
CLUES = "1030040001400301"


def board(correct: bool, steps: int = STEPS) -> Example:
    """A 4x4 Sudoku; each step sets two more cells right, a failed one keeps its last cell wrong."""
    states = []
    for k in range(steps + 1):
        wrong = [1, 3, 4, 6, 15][2 * k :] if correct or 2 * k < 5 else [15]
        digits = ["5" if i in wrong else d for i, d in enumerate(SOLUTION)]
        states.append("".join(digits) + ".")
    if correct:
        states[-1] = SOLUTION + "."
    else:
        states[-1] = SOLUTION[:-1] + "5."
    return Example(
        prompt=CLUES + "=",
        reference=SOLUTION + ".",
        correct=correct,
        completions=tuple(states),
        energy=tuple(-3.0 * k for k in range(steps + 1)),
        entropy=tuple(1.0 / (k + 1) for k in range(steps + 1)),
    )


def sums(correct: bool) -> Example:
    """A sum in reversed digits."""
    return Example(
        prompt="21+43=",
        reference="640.",
        correct=correct,
        completions=("944.", "640." if correct else "650.", "640." if correct else "650."),
        energy=(2.0, -1.0, -1.5),
        entropy=(1.2, 0.4, 0.1),
    )


def descent(
    separation: float,
    rng: np.random.Generator,
    *,
    axis: str = "blanks",
    severity: int = 0,
    right: float = 0.5,
    examples: tuple[Example, ...] | None = None,
    offset: float = 0.0,
) -> Descent:
    """Right answers have energies `separation` standard deviations below wrong ones; entropy is noise."""
    correct = rng.permutation(np.arange(PROBLEMS) < round(right * PROBLEMS))
    energy = np.round(offset + rng.standard_normal(PROBLEMS) - separation * correct, 6)
    entropy = np.round(rng.random(PROBLEMS), 6)
    courses = []
    for solved in (False, True):
        own = energy[correct == solved]
        if len(own):
            ends = (float(own.mean()) + 4.0 + solved, float(own.mean()) + 1.0, float(own.mean()))
            courses.append(
                Course(
                    solved=solved,
                    n=len(own),
                    energy=ends,
                    energy_sd=(1.0, 1.0, 1.0),
                    entropy=(2.0, 1.0, 0.5 - 0.2 * solved),
                    entropy_sd=(0.1, 0.1, 0.1),
                )
            )
    if examples is None:
        examples = tuple(board(c) for c in (False, True) if c in correct)
    return Descent(
        axis=axis,
        severity=severity,
        correct="".join("01"[int(c)] for c in correct),
        energy=tuple(map(float, energy)),
        entropy=tuple(map(float, entropy)),
        tokens=(17,) * PROBLEMS,
        courses=tuple(courses),
        examples=examples,
    )


def planned(arm: str, seed: int, study: str = "sudoku", budget: float = 1e11) -> PlannedCell:
    return builders.cell(arm, seed, study=study, budget=budget)


def record(cell: PlannedCell, traces: tuple[Descent, ...], **task: object) -> Record:
    """A finished record with traces, of a task of that configuration."""
    return builders.record(cell, (), traces=traces, config={"arm": {"name": cell.arm}, "task": task})


def manifest(cells: tuple[PlannedCell, ...]) -> Manifest:
    return builders.manifest(cells, name=NAME, title="Pictures")


def store(path: Path, seeds: int = 3) -> Path:
    """Sudoku: energy tells much (ebt_s1), nothing (ebt_one_step); a transformer without traces. Addition."""
    rng = np.random.default_rng(5)
    cells: list[PlannedCell] = []
    for seed in range(seeds):
        for arm, separation in (("ebt_s1", 2.0), ("ebt_one_step", 0.0)):
            small, large = planned(arm, seed, budget=1e10), planned(arm, seed)
            cells += [small, large]
            # The smaller budget says the opposite and must not be looked at.
            builders.write(path, record(small, (descent(-3.0, rng),), kind="sudoku", side=4))
            found = (
                descent(separation, rng, offset=100.0 * seed),
                descent(separation, rng, severity=1, right=0.02),
            )
            builders.write(path, record(large, found, kind="sudoku", side=4))
        plain = planned("transformer", seed)
        added = planned("ebt_s1", seed, "addition")
        cells += [plain, added]
        builders.write(path, record(plain, (), kind="sudoku", side=4))
        pair = (sums(False), sums(True))
        builders.write(
            path, record(added, (descent(1.0, rng, axis="digits", examples=pair),), kind="addition")
        )
    dump(path, manifest(tuple(cells)))
    return path
