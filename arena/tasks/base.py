"""What a task is: problems as pure functions of (split, seed, index), and a verifier.

Nothing here or in the task files imports torch: a plan must be drawn in no time.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arena.config import require

SPLITS = ("train", "val", "test")

PLAN, EXECUTE, FORMAT, ANSWER = "plan", "execute", "format", "answer"


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
    plan_correct: bool
    edit_distance: float
    """Levenshtein distance to the reference answer over the longer length, 0 to 1."""


class Task(ABC):
    """A family of problems with one axis (or more) of shift."""

    vocabulary: int
    """Number of token ids."""
    end: int | None
    """Token that ends a completion; none: completions have a fixed length."""
    pad: int
    """Token that fills up a batch; takes no part in loss or attention."""
    axis: str
    """Axis of shift measured by `severity`."""
    severities: int
    """Severities that exist, from 0 (in distribution, held out)."""
    verifiable: bool
    """Whether `verify` is a meaningful reward and exact match a meaningful metric."""
    symbols: str
    """Printable form of each token id, where there is one."""

    @abstractmethod
    def problem(self, split: str, seed: int, index: int, severity: int = 0) -> Problem:
        """The item: a pure function of its arguments, held out by the content's hash."""

    @abstractmethod
    def longest(self, severity: int = 0) -> tuple[int, int]:
        """Most tokens of a prompt and of a completion at this severity."""

    @abstractmethod
    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        """Check a completion; the tokens after the end token are ignored."""

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """What identifies the data: goes into the cell's identity and its record."""

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
