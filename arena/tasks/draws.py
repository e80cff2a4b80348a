"""What generators share: reproducible draws, and which split a content belongs to."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

from arena.tasks.base import stream

T = TypeVar("T")

HELD_OUT = {0: "val", 1: "test"}
"""Content hash modulo 20 of the held-out splits: 5% each."""
ATTEMPTS = 10_000
"""Draws before a generator gives up on a split."""


def split_of(*content: object) -> str:
    """The split that a content belongs to; nothing else decides."""
    return HELD_OUT.get(stream("held out", *content) % 20, "train")


def generator(*key: object) -> Random:
    """A generator that depends on `key` alone. Use its `random()` only: Python promises no other draw."""
    return Random(stream(*key))


def below(rng: Random, count: int) -> int:
    """A uniform integer in [0, count)."""
    return int(rng.random() * count)


def shuffled(rng: Random, items: Iterable[T]) -> list[T]:
    """The items in a random order."""
    return sorted(items, key=lambda _: rng.random())


class Dice:
    """Draws that depend on a key alone."""

    def __init__(self, *key: object) -> None:
        self.key, self.used = key, 0
        self.bits = stream(*key)
        self.left = 1 << 256

    def below(self, count: int) -> int:
        """A number from 0 to count - 1; its bias is below 2^-64."""
        if self.left < count << 64:
            self.used += 1
            self.bits, self.left = stream(*self.key, "more", self.used), 1 << 256
        self.bits, found = divmod(self.bits, count)
        self.left //= count
        return found

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.below(len(choices))]
