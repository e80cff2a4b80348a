"""Countdown with three numbers: an expression that makes the target, each number used at most once.

`3,7,5:56=` asks for 56 from 3, 5 and 7; `(3+5)*7.` is one answer. With the chain, the operations come
first with their results, `3+5=8,8*7=56>`. Any expression of + - * / and brackets is right whose exact
value is the target; the supervised one stays within the positive integers up to LARGEST.

The size of the numbers is the axis of shift: in training they go up to max_number, in severity s the
largest of the three lies above s * max_number and at most at (s + 1) * max_number. What is held out is
the three numbers, in any order, with their target.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import permutations, product
from random import Random
from typing import Any

from arena.config import ConfigError, TaskConfig, require
from arena.tasks.base import EXECUTE, FORMAT, PLAN, Problem, Task, Verdict, edit_distance
from arena.tasks.draws import ATTEMPTS, below, generator, shuffled, split_of

LARGEST = 999
"""Largest target and largest result on the way to it, in the supervised expression."""
LARGEST_NUMBER = 99
"""Largest number given."""
GUESSED = 128
"""Problems over which the guess rate is averaged."""
OPERATORS = "+-*/"
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True, kw_only=True)
class Countdown(TaskConfig):
    """Make a target from three numbers; their size is the axis of shift."""

    kind: str = "countdown"
    max_number: int = 20
    """Largest number in training; severity s has numbers up to (s + 1) times that."""
    chain: bool = False
    """Whether the results on the way are written out (and supervised) before the expression."""

    def validate(self) -> None:
        super().validate()
        require(
            4 <= self.max_number <= LARGEST_NUMBER,
            f"task.max_number={self.max_number}: fewer than 4 leave nothing to hold out, and numbers have at "
            f"most two digits; use 4 to {LARGEST_NUMBER}",
        )


class CountdownTask(Task):
    """See the module's text. Vocabulary 32: digits, operators, brackets, marks; the rest spare."""

    vocabulary = 32
    symbols = "0123456789+-*/(),:=>._"
    end = symbols.index(".")
    pad = symbols.index("_")
    verifiable = Countdown.verifiable

    def __init__(self, config: Countdown) -> None:
        self.config = config
        self.axes = {"size": LARGEST_NUMBER // config.max_number}

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        low, high = severity * self.config.max_number, (severity + 1) * self.config.max_number
        for attempt in range(ATTEMPTS):
            rng = generator("countdown", split, seed, index, severity, attempt)
            numbers = [1 + below(rng, high) for _ in range(3)]
            steps = draw(numbers, rng) if max(numbers) > low else None
            if steps and split_of("countdown", *sorted(numbers), steps[-1].value) == split:
                return self._problem(numbers, steps, severity)
        raise ConfigError(
            f"task.max_number={self.config.max_number}: no problem of severity {severity} belongs to the "
            f"{split} split; raise it"
        )

    def _problem(self, numbers: Sequence[int], steps: "Sequence[Step]", severity: int) -> Problem:
        chain, classes = "", []
        if self.config.chain:
            for i, step in enumerate(steps):
                chosen, value = f"{step.left}{step.operator}{step.right}", str(step.value)
                last = ">" if i == len(steps) - 1 else ","
                chain += f"{chosen}={value}{last}"
                classes += [PLAN] * len(chosen) + [FORMAT] + [EXECUTE] * len(value) + [FORMAT]
        asked = f"{','.join(map(str, numbers))}:{steps[-1].value}="
        return Problem(
            prompt=tuple(self.tokens(asked)),
            chain=tuple(self.tokens(chain)),
            answer=tuple(self.tokens(written(steps) + ".")),
            classes=tuple(classes),
            axis="size",
            severity=severity,
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        number, result = len(str((severity + 1) * self.config.max_number)), len(str(LARGEST))
        chain = (3 * number + 2 + 2 * result + 5) if self.config.chain else 0
        return 3 * number + 2 + 1 + result + 1, 3 * number + 2 + 2 + 1 + chain

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: an expression of one, two or three of the numbers, each used once.

        The share of these that make the target, averaged over training problems.
        """
        self.placed(severity, axis)
        return _guess_rate(self.config, severity)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        """The answer is right if its exact value is the target and no number is used too often.

        `plan_correct`: the chain's operations, with what they truly make, lead to the target;
        `chain_correct`: and every result is written right.
        """
        text, opened, ended = self.text(completion), ">" in self.symbols, False
        text, dot, _ = text.partition(".")
        ended = bool(dot)
        chain, answer = "", text
        if problem.chain:
            chain, opened, answer = text.partition(">") if ">" in text else ("", "", text)
        numbers, target = asked(self.text(problem.prompt))
        planned, executed = _follow(chain, numbers, target) if problem.chain else (True, True)
        return Verdict(
            correct=ended and is_solution(answer, numbers, target),
            chain_correct=planned and executed,
            plan_correct=planned,
            edit_distance=edit_distance(
                self.tokens(answer + dot) if "?" not in answer else completion, problem.answer
            ),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "countdown", "version": 1}
