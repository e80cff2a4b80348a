"""What a task is: problems as pure functions of (split, seed, index), and a verifier.

Nothing here or in the task files imports torch: a plan must be drawn in no time.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arena.config import ConfigError, require

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One item. The supervised completion is `chain + answer`."""

    prompt: tuple[int, ...]
    chain: tuple[int, ...] = ()
    answer: tuple[int, ...] = ()
    """Ends with the task's end token, if it has one."""
    classes: tuple[str, ...] = ()
    """plan, execute, format or answer, one for each token of `chain`."""
    axis: str = ""
    severity: int = 0

    @property
    def completion(self) -> tuple[int, ...]:
        """What a contender is to produce."""
        return self.chain + self.answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the verifier says of a completion."""

    correct: bool
    """The answer is exactly right (for a task with a chain: whatever the chain)."""
    chain_correct: bool
    """The whole chain is right: the reference's, or another where a task has several right ones."""
    plan_correct: bool
    """What the chain says is to be done is right."""
    edit_distance: float
    """Levenshtein distance to the reference answer over the longer length, 0 to 1."""
    execution_correct: bool | None = None
    """What the chain says has come out is right, whatever its plan; none: the task does not tell."""


class Task(ABC):
    """A family of problems with one axis (or more) of shift."""

    vocabulary: int
    """Number of token ids."""
    end: int | None
    """Token that ends a completion; none: completions have a fixed length."""
    pad: int
    """Token that fills up a batch; takes no part in loss or attention."""
    axes: dict[str, int]
    """Axes of shift, and how many severities each has: 0 (in distribution, held out, shared by all axes)
    and the ordered shifts above it. An `axis` of "" is the first one."""
    verifiable: bool
    """Whether `verify` is a meaningful reward and exact match a meaningful metric; as configured."""
    symbols: str
    """Printable form of each token id, one character each."""
    fixed: tuple[int, int] | None = None
    """Tokens of every prompt and of every completion, whatever the problem, axis and severity; none: they
    vary."""

    @abstractmethod
    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        """The item: a pure function of its arguments, held out by the content's hash.

        Severity 0 is the same item whatever the axis, and carries the first axis's name.

        Raises:
            ConfigError: no such split, axis or severity.
        """

    @abstractmethod
    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        """Most tokens of a prompt and of a completion at this severity.

        Raises:
            ConfigError: no such axis or severity.
        """

    @abstractmethod
    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Chance that a blind, uniform guess among well-formed answers is correct.

        What is well-formed, each task says.

        Raises:
            ConfigError: no such axis or severity.
        """

    @abstractmethod
    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        """Check a completion; the tokens after the end token are ignored."""

    def scores(self, problem: Problem, completion: Sequence[int]) -> dict[str, float]:
        """Metrics of the task's own, by name, each between 0 and 1; the same names whatever the problem."""
        return {}

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data: goes into the cell's identity and its record."""

    def placed(self, severity: int, axis: str, split: str = "train") -> str:
        """The axis that a severity is measured on: the first one for severity 0 and for "".

        Raises:
            ConfigError: no such split, axis or severity.
        """
        first = next(iter(self.axes))
        name = axis or first
        if split not in SPLITS or name not in self.axes or not 0 <= severity < self.axes[name]:
            ranges = ", ".join(f"{a} 0 to {count - 1}" for a, count in self.axes.items())
            raise ConfigError(
                f"split={split}, severity={severity}, axis={name}: splits are {', '.join(SPLITS)}; axes and "
                f"their severities are {ranges}"
            )
        return name if severity else first

    def shifts(self, severities: int) -> list[tuple[str, int]]:
        """(axis, severity) pairs to evaluate: severity 0 once, then every axis below `severities`."""
        first = next(iter(self.axes))
        return [(first, 0)] + [(a, s) for a, n in self.axes.items() for s in range(1, min(severities, n))]

    @classmethod
    def tokens(cls, text: str) -> list[int]:
        """Printable text as tokens. Raises ConfigError at symbols that the task does not know."""
        unknown = sorted(set(text) - set(cls.symbols))
        require(
            not unknown,
            f"prompt: {', '.join(map(repr, unknown))} not among this task's symbols, {cls.symbols!r}; "
            "write it in these",
        )
        return [cls.symbols.index(c) for c in text]

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as printable text."""
        return "".join(self.symbols[t] if t < len(self.symbols) else "?" for t in tokens)


def stream(*key: object) -> int:
    """256 pseudo-random bits that depend on `key` alone."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=32).digest(), "little")


def edit_distance(a: Sequence[int], b: Sequence[int]) -> float:
    """Levenshtein distance over the longer length, 0 (equal) to 1."""
    if list(a) == list(b):
        return 0.0
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1] / max(len(a), len(b))
