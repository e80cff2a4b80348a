"""What generators share: reproducible draws, and which split a content belongs to."""

from collections.abc import Iterable
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
