"""Numbers as a report prints them. One way each, for tables, sentences, HTML and Markdown alike."""

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a running cell words its news without importing scipy
    from compare.stats.intervals import Interval


LONG = 1e6
"""From here on a number is printed with an exponent: none takes more than a dozen characters."""


def count_text(value: float) -> str:
    """A FLOP count in three digits, 1.25e+12 as 1.25e12."""
    return re.sub(r"e\+?(-?)0*(\d+)", r"e\1\2", f"{value:.3g}")


def interval_text(interval: "Interval | None", digits: int = 3) -> str:
    """Value and 95% interval; a dash where there is none."""
    if interval is None:
        return "–"
    value, low, high = (fixed(x, digits) for x in (interval.value, interval.low, interval.high))
    if math.isinf(interval.low) or math.isinf(interval.high):
        return f"{value} (single run, no interval)"
    return f"{value} [{low}, {high}]"


def big_interval_text(interval: "Interval | None") -> str:
    """The same for numbers that span decades."""
    if interval is None:
        return "–"
    return f"{count_text(interval.value)} [{count_text(interval.low)}, {count_text(interval.high)}]"


def fixed(value: float, digits: int, *, sign: bool = False) -> str:
    """Fixed-point text with a true minus sign, and none before a zero; if too long, an exponent."""
    if abs(value) >= LONG and math.isfinite(value):
        return f"{value:{'+' if sign else ''}.2e}".replace("-", "\u2212")
    return f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}".replace("-", "\u2212")


def p_text(value: float) -> str:
    """A p-value, never as zero."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def settings_text(settings: dict[str, float | None]) -> str:
    """A trial's settings on one line."""
    parts = (f"{key}={'?' if value is None else f'{value:g}'}" for key, value in settings.items())
    return ", ".join(parts) or "–"


def seconds_text(value: float) -> str:
    """A duration in the unit a reader thinks in."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{fixed(value / 3600, 1)} h"


def grouped(pairs: list[tuple[str, str]]) -> str:
    """(name, word) as one sentence, the names of one word together."""
    words = dict.fromkeys(word for _, word in pairs)
    parts = [f"{word} ({', '.join(name for name, w in pairs if w == word)})" for word in words]
    return "; ".join(parts) + "." if parts else "not measured."


def sentences(answers: Iterable[tuple[str, str, str]]) -> str:
    """(opening, name, word): a sentence per opening, such as `Against x: ahead (a, b).`"""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for opening, name, word in answers:
        pairs.setdefault(opening, []).append((name, word))
    return " ".join(f"{opening}: {grouped(own)}" for opening, own in pairs.items())


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
