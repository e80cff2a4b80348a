"""Parity of bits, with a share of the answers worked out and the others given at once.

`1101=` asks whether the number of ones is odd. The short completion is `>1.`; the long one writes the
parity of each prefix first, `1001>1.`. Which of the two supervises a problem is drawn, at `share` for
the long one, so next-token training learns to say either; only the long one can be learnt, and reward
is what tells them apart (arXiv 2510.11495). The number of bits is the axis of shift: severity s has
bits + s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arena.config import ConfigError, TaskConfig, require
from arena.tasks.base import Problem, Task, Verdict, edit_distance, stream
from arena.token_classes import EXECUTE, FORMAT

EQUALS, OPEN, END, PAD = 2, 3, 4, 5
HELD_OUT = {0: "val", 1: "test"}
"""Content hash modulo 20 of the held-out splits: 5% each."""
MOST_BITS = 200
"""A problem's bits come out of one draw of 256."""


@dataclass(frozen=True, kw_only=True)
class Parity(TaskConfig):
    """Whether the number of ones is odd; the number of bits is the axis of shift."""

    kind: str = "parity"
    bits: int = 16
    """Bits in training (paper: 50); severity s tests exactly bits + s."""
    share: float = 0.25
    """Share of problems whose completion is the long one (paper: 0.25 among others)."""

    def validate(self) -> None:
        super().validate()
        require(
            9 <= self.bits <= MOST_BITS,
            f"task.bits={self.bits}: must lie between 9, below which too few are left to hold out, and "
            f"{MOST_BITS}",
        )
        require(
            0 <= self.share <= 1,
            f"task.share={self.share}: a share, between 0 (answers only) and 1 (always worked out)",
        )


class ParityTask(Task):
    """See the module's text. Vocabulary 6: 0 1 = > end pad."""

    vocabulary = 6
    end = END
    pad = PAD
    verifiable = Parity.verifiable
    symbols = "01=>._"

    def __init__(self, config: Parity) -> None:
        self.config = config
        self.axes = {"bits": 9}

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        count = self.config.bits + severity
        for attempt in range(10_000):
            draw = stream("parity", split, seed, index, severity, attempt)
            bits = tuple(draw >> i & 1 for i in range(count))
            if member(bits) == split:
                long = (draw >> 224) / 2**32 < self.config.share
                return _problem(bits, long, severity)
        raise ConfigError(
            f"task.bits={self.config.bits}: no {count} bits in the {split} split; raise task.bits"
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        count = self.config.bits + severity
        # Also where no long completion is supervised: a sample may work the answer out all the same.
        return count + 1, count + 3

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: one bit."""
        self.placed(severity, axis)
        return 0.5

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        tokens = tuple(completion)
        ended = END in tokens
        if ended:
            tokens = tokens[: tokens.index(END) + 1]
        cut = tokens.index(OPEN) + 1 if OPEN in tokens else 0
        chain, answer = tokens[:cut], tokens[cut:]
        # Either form will do, whichever the problem was drawn with.
        right = chain in ((OPEN,), (*_running(problem.prompt[:-1]), OPEN))
        return Verdict(
            correct=ended and answer == problem.answer,
            chain_correct=right,
            plan_correct=right,
            edit_distance=edit_distance(answer, problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "parity", "version": 1}


def member(bits: Sequence[int]) -> str:
    """The split that these bits belong to: the content alone decides."""
    return HELD_OUT.get(stream("parity held out", *bits) % 20, "train")


def _problem(bits: tuple[int, ...], long: bool, severity: int) -> Problem:
    running = _running(bits)
    chain = running if long else ()
    return Problem(
        prompt=(*bits, EQUALS),
        chain=(*chain, OPEN),
        answer=(running[-1], END),
        classes=(EXECUTE,) * len(chain) + (FORMAT,),
        axis="bits",
        severity=severity,
    )


def _running(bits: Sequence[int]) -> tuple[int, ...]:
    """Parity of every prefix."""
    found, parity = [], 0
    for bit in bits:
        parity ^= bit
        found.append(parity)
    return tuple(found)
