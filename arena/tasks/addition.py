"""Addition of two numbers, digits reversed, with or without the chain of carries.

`321+654=` asks for 123 + 456; the answer is `9750.`: the sum's digits, least significant first, in
one place more than the operands have, then the end token. With the chain, the carry into each next
place is written first, least significant place first, and `>` opens the answer. The number of
digits is the axis of shift: severity 0 is held-out problems of the training lengths, severity s has
exactly max_digits + s digits.

a + b and b + a are held out together. Of two digits, as conf/task/addition.yaml has it, there are 8,100
problems: 7,306 in training, 419 (212 without their order) in validation, 375 (189) in test. A run sees
each of those in training many times, and of the test's 375, 371 are (a + 1) + (b - 1) or (a - 1) + (b + 1)
of one in training: what is measured there is carrying from neighbours, not addition at large.
"""

from collections.abc import Sequence
from typing import Any

from arena.config import Addition, ConfigError
from arena.tasks.base import Problem, Task, Verdict, edit_distance, stream
from arena.token_classes import EXECUTE, FORMAT

PLUS, EQUALS, OPEN, END, PAD = 10, 11, 12, 13, 14
HELD_OUT = {0: "val", 1: "test"}
"""Content hash modulo 20 of the held-out splits: 5% each."""


class AdditionTask(Task):
    """See the module's text. Vocabulary 16: ten digits, + = > end pad, one spare."""

    vocabulary = 16
    end = END
    pad = PAD
    verifiable = Addition.verifiable
    symbols = "0123456789+=>._ "

    def __init__(self, config: Addition) -> None:
        self.config = config
        self.axes = {"digits": 9}

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        self.placed(severity, axis, split)
        low, high = self.config.min_digits, self.config.max_digits
        digits = high + severity
        for attempt in range(10_000):
            bits = stream("addition", split, seed, index, severity, attempt)
            if not severity:
                bits, extra = divmod(bits, high - low + 1)
                digits = low + extra
            span = 10**digits - 10 ** (digits - 1) if digits > 1 else 10
            bits, a = divmod(bits, span)
            b = bits % span
            if digits > 1:
                a, b = a + 10 ** (digits - 1), b + 10 ** (digits - 1)
            if member(a, b) == split:
                return self._problem(a, b, digits, severity)
        raise ConfigError(
            f"task.min_digits={low}, task.max_digits={high}: no problem of {digits} digits belongs to "
            f"the {split} split; raise task.min_digits"
        )

    def _problem(self, a: int, b: int, digits: int, severity: int) -> Problem:
        first, second = _reversed(a, digits), _reversed(b, digits)
        chain: tuple[int, ...] = ()
        classes: tuple[str, ...] = ()
        if self.config.chain:
            chain = (*_carries(first, second), OPEN)
            classes = (*(EXECUTE for _ in range(digits)), FORMAT)
        return Problem(
            prompt=(*first, PLUS, *second, EQUALS),
            chain=chain,
            answer=(*_reversed(a + b, digits + 1), END),
            classes=classes,
            axis="digits",
            severity=severity,
        )

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        self.placed(severity, axis)
        digits = self.config.max_digits + severity
        return 2 * digits + 2, digits + 2 + (digits + 1 if self.config.chain else 0)

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        """Well-formed: any digits, one place more than the operands have."""
        self.placed(severity, axis)
        low, high = self.config.min_digits, self.config.max_digits
        lengths = [high + severity] if severity else range(low, high + 1)
        return sum(10.0 ** -(digits + 1) for digits in lengths) / len(lengths)

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        tokens = tuple(completion)
        ended = END in tokens
        if ended:
            tokens = tokens[: tokens.index(END) + 1]
        chain, answer = (), tokens
        if problem.chain and OPEN in tokens:
            cut = tokens.index(OPEN) + 1
            chain, answer = tokens[:cut], tokens[cut:]
        right = chain == problem.chain
        return Verdict(
            correct=ended and answer == problem.answer,
            chain_correct=right,
            plan_correct=right,
            edit_distance=edit_distance(answer, problem.answer),
        )

    def fingerprint(self) -> dict[str, Any]:
        return {"generator": "addition", "version": 2}


def member(a: int, b: int) -> str:
    """The split that a + b belongs to, and b + a with it: the content alone decides."""
    return HELD_OUT.get(stream("held out", min(a, b), max(a, b)) % 20, "train")


def _reversed(number: int, digits: int) -> tuple[int, ...]:
    return tuple(map(int, reversed(f"{number:0{digits}d}")))


def _carries(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    carries, carry = [], 0
    for x, y in zip(first, second, strict=True):
        carry = (x + y + carry) // 10
        carries.append(carry)
    return tuple(carries)
