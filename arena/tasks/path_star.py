"""The path-star task (Bachmann and Nagarajan 2024): arms of equal length, and the one that is asked for.

`ab,dc,ad,bx,cy,...:ay=` lists the edges, away from the centre and in random order, then the centre and
the goal, the end of one arm; the answer is that arm from the centre on, and the end token. Only the
first step is a choice, one of `arms`: from the second on, each node has one successor. So the blind
rate is 1 / arms, and next-token training is said not to beat it.

The length of the arms is the axis of shift: training has exactly `length` steps, severity s has s more.
All stars of one size are alike up to their letters, so what is held out is the labelled star and its
goal, in whatever order its edges are listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from arena.config import ConfigError, TaskConfig, require
from arena.tasks.base import Problem, Verdict, edit_distance
from arena.tasks.draws import ATTEMPTS, below, generator, shuffled, split_of
from arena.tasks.graph import END, LETTERS, Edge, GraphTask, is_path, prompt


@dataclass(frozen=True, kw_only=True)
class PathStar(TaskConfig):
    """Paths in a star; the length of its arms is the axis of shift."""

    kind: str = "path_star"
    arms: int = 3
    """Paths that leave the centre."""
    length: int = 4
    """Steps from the centre to an arm's end, in training; severity s tests s more."""

    def validate(self) -> None:
        super().validate()
        require(self.arms >= 2, f"task.arms={self.arms}: one arm leaves no choice; use at least 2")
        require(self.length >= 1, f"task.length={self.length}: must be at least 1")
        require(
            self.arms * self.length < LETTERS,
            f"task.arms={self.arms}, task.length={self.length}: {self.arms * self.length + 1} nodes and only "
            f"{LETTERS} letters; lower either",
        )


class PathStarTask(GraphTask):
    """See the module's text."""

    verifiable = PathStar.verifiable

    def __init__(self, config: PathStar) -> None:
        self.config = config
        self.axes = {"length": (LETTERS - 1) // config.arms - config.length + 1}

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        arms, length = self.config.arms, self.config.length + severity
        for attempt in range(ATTEMPTS):
            rng = generator("path star", split, seed, index, severity, attempt)
            centre, *others = shuffled(rng, range(LETTERS))[: arms * length + 1]
            paths = [[centre, *others[i * length : (i + 1) * length]] for i in range(arms)]
            asked = paths[below(rng, arms)]
            edges: list[Edge] = [e for path in paths for e in pairwise(path)]
            if split_of("path star", *sorted(edges), asked[-1]) == split:
                return Problem(
                    prompt=prompt(shuffled(rng, edges), centre, asked[-1]),
                    answer=(*asked, END),
                    axis="length",
                    severity=severity,
                )
        raise ConfigError(
            f"task.arms={arms}, task.length={self.config.length}: no star of severity {severity} belongs to "
            f"the {split} split; raise either"
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        length = self.config.length + severity
        return 3 * self.config.arms * length + 4, length + 2

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: one of the arms from the centre to its end."""
        self.placed(severity, axis)
        return 1 / self.config.arms

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        tokens = tuple(completion)
        ended = END in tokens
        answer = tokens[: tokens.index(END)] if ended else tokens
        return Verdict(
            correct=ended and is_path(problem, answer),
            chain_correct=True,
            plan_correct=True,
            edit_distance=edit_distance(tokens[: len(answer) + ended], problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "path star", "version": 1}
