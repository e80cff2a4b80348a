"""The few lines of a record that say how a cell went, read without the rest of it.

A record is mostly history and outcomes; ten thousand of them are looked at in seconds this way. Strict
reading is compare/store/record.py's.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from compare.store.record import VERSION, RecordError

CHUNK = 1 << 14
END = b'\n "history":'
"""Where the part begins that is left alone, in a record as `dump` writes it."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What is shown of a cell that has ended."""

    cell: str
    arm: str
    task: str
    budget: float
    seed: int
    status: str
    reason: str
    flops: float
    seconds: float
    """Wall time in all."""


def glance(path: Path) -> Glance:
    """Look at a record.

    Raises:
        RecordError: unreadable, of another version, or without what is shown.
    """
    try:
        raw = json.loads(_head(path))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a readable record ({error})") from error
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        raise RecordError(f"{path}: not a record of version {VERSION}")
    try:
        words = [raw[key] for key in ("cell", "arm", "task", "status", "reason")]
        numbers = [float(x) for x in (raw["budget"], raw["flops"], raw["seconds"].get("total", 0.0))]
        if not all(isinstance(word, str) for word in words) or not all(map(math.isfinite, numbers)):
            raise TypeError
        cell, arm, task, status, reason = words
        budget, flops, seconds = numbers
        return Glance(
            cell=cell,
            arm=arm,
            task=task,
            budget=budget,
            seed=int(raw["seed"]),
            status=status,
            reason=reason,
            flops=flops,
            seconds=seconds,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordError(f"{path}: a field is missing or of the wrong type") from error


def _head(path: Path) -> bytes:
    """The record up to its history as an object of its own; all of it, if it is laid out otherwise."""
    text = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            begin = max(0, len(text) - len(END))
            text += chunk
            end = text.find(END, begin)
            if end >= 0:
                return text[:end].rstrip().removesuffix(b",") + b"}"
    return text
