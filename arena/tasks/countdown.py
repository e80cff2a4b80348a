"""Countdown with three numbers: an expression that makes the target, each number used at most once.

`3,7,5:56=` asks for 56 from 3, 5 and 7; `(3+5)*7.` is one answer. With the chain, the operations come
first with their results, `3+5=8,8*7=56>`. Any expression of + - * / and brackets is right whose exact
value is the target; the supervised one stays within the positive integers up to LARGEST.

The size of the numbers is the axis of shift: in training they go up to max_number, in severity s the
largest of the three lies above s * max_number and at most at (s + 1) * max_number. What is held out is
the three numbers, in any order, with their target.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from arena.config import ConfigError, TaskConfig, require
from arena.tasks.arithmetic import OPERATORS, apply, expression_values, follow, is_solution
from arena.tasks.base import Problem, Task, Verdict, edit_distance
from arena.tasks.draws import ATTEMPTS, below, generator, shuffled, split_of
from arena.token_classes import EXECUTE, FORMAT, PLAN

LARGEST = 999
"""Largest target and largest result on the way to it, in the supervised expression."""
LARGEST_NUMBER = 99
"""Largest number given."""
GUESSED = 128
"""Problems over which the guess rate is averaged."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One operation on two positive integers, with a positive integer as its result."""

    left: int
    operator: str
    right: int
    value: int


class CountdownTask(Task):
    """See the module's text. Vocabulary 22: digits, operators, brackets and marks."""

    symbols = "0123456789+-*/(),:=>._"
    vocabulary = len(symbols)
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
            drawn = draw(numbers, rng) if max(numbers) > low else None
            if drawn is not None and member(numbers, drawn[0][-1].value) == split:
                return self._problem(numbers, *drawn, severity)
        raise ConfigError(
            f"task.max_number={self.config.max_number}: no problem of severity {severity} belongs to the "
            f"{split} split; raise it"
        )

    def _problem(
        self, numbers: Sequence[int], steps: Sequence[Step], expression: str, severity: int
    ) -> Problem:
        chain, classes = "", []
        for i, step in enumerate(steps if self.config.chain else ()):
            chosen, value = f"{step.left}{step.operator}{step.right}", str(step.value)
            chain += f"{chosen}={value}{'>' if i == len(steps) - 1 else ','}"
            classes += [PLAN] * len(chosen) + [FORMAT] + [EXECUTE] * len(value) + [FORMAT]
        return Problem(
            prompt=tuple(self.tokens(f"{','.join(map(str, numbers))}:{steps[-1].value}=")),
            chain=tuple(self.tokens(chain)),
            answer=tuple(self.tokens(f"{expression}.")),
            classes=tuple(classes),
            axis="size",
            severity=severity,
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        number = len(str((severity + 1) * self.config.max_number))
        result = len(str(LARGEST))
        chain = 3 * number + 3 * result + 6 if self.config.chain else 0
        return 3 * number + result + 4, 3 * number + 5 + chain

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: one, two or three of the numbers, joined by operators in any order and bracketing.

        The share of these that make the target, averaged over training problems.
        """
        self.placed(severity, axis)
        return _guess_rate(self.config, severity)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        """The answer is right if its exact value is the target and no number is used too often.

        `plan_correct`: the chain's operations, with what they truly make, lead to the target;
        `chain_correct`: and every result is written right.
        """
        text, ended, _ = self.text(completion).partition(".")
        chain, answer = "", text
        if problem.chain and ">" in text:
            chain, _, answer = text.partition(">")
        numbers, target = question(self.text(problem.prompt))
        planned, executed = follow(chain, numbers, target) if problem.chain else (True, True)
        return Verdict(
            correct=bool(ended) and is_solution(answer, numbers, target),
            chain_correct=planned and executed,
            plan_correct=planned,
            execution_correct=executed if problem.chain else None,
            edit_distance=edit_distance(self.tokens(answer + ended), problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "countdown", "version": 1}


def member(numbers: Sequence[int], target: int) -> str:
    """The split that a problem belongs to, whatever the order of its numbers."""
    return split_of("countdown", *sorted(numbers), target)


def question(prompt: str) -> tuple[list[int], int]:
    """Numbers and target of a prompt."""
    numbers, _, target = prompt.rstrip("=").partition(":")
    return [int(n) for n in numbers.split(",")], int(target)


def draw(numbers: Sequence[int], rng: Random) -> tuple[list[Step], str] | None:
    """An expression of two or three of the numbers, as steps and written out; none if this try is no use.

    No use: a result that is not an integer from 1 to LARGEST, or a target that is one of the numbers.
    """
    first, second, third = shuffled(rng, numbers)
    inner = step(first, OPERATORS[below(rng, 4)], second)
    if inner is None:
        return None
    steps, expression = [inner], f"{first}{inner.operator}{second}"
    if below(rng, 2):
        operator, before = OPERATORS[below(rng, 4)], below(rng, 2)
        outer = step(third, operator, inner.value) if before else step(inner.value, operator, third)
        if outer is None:
            return None
        steps.append(outer)
        expression = f"{third}{operator}({expression})" if before else f"({expression}){operator}{third}"
    return None if steps[-1].value in numbers else (steps, expression)


def step(left: int, operator: str, right: int) -> Step | None:
    """The operation; none if its result is not an integer from 1 to LARGEST."""
    value = apply(operator, left, right)
    if value is None or value.denominator > 1 or not 1 <= value <= LARGEST:
        return None
    return Step(left=left, operator=operator, right=right, value=int(value))


@lru_cache
def _guess_rate(config: Countdown, severity: int) -> float:
    task, total = CountdownTask(config), 0.0
    for i in range(GUESSED):
        numbers, target = question(task.text(task.problem("train", 0, i, severity).prompt))
        values = expression_values(numbers)
        total += values.count(target) / len(values)  # pyright: ignore[reportArgumentType]
    return total / GUESSED
