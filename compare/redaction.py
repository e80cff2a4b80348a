"""Secrets stay out of everything that is kept: records, logs, manifests."""

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any, TextIO

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SHORTEST = 8
"""Characters from which a value counts as a secret: `true` and `1` are none."""


def redact(text: str) -> str:
    """Text in which the value of an environment variable named like a secret is its name in brackets."""
    return _redact(text, _secrets(os.environ))


def redacted(content: Any) -> Any:
    """The same, for all strings of nested dictionaries and lists."""
    return _redacted(content, _secrets(os.environ))


def _secrets(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    found = [(v, k) for k, v in environment.items() if len(v) >= SHORTEST and SECRET.search(k)]
    # The longest first: one may be a part of another.
    return sorted(found, key=lambda pair: -len(pair[0]))


def _redact(text: str, secrets: list[tuple[str, str]]) -> str:
    for value, name in secrets:
        text = text.replace(value, f"[{name}]")
    return text


def _redacted(content: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(content, str):
        return _redact(content, secrets)
    if isinstance(content, dict):
        return {key: _redacted(value, secrets) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_redacted(value, secrets) for value in content)
    return content


class Redacting:
    """A text file that is written line by line, without secrets."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._line = file, ""

    def write(self, text: str) -> int:
        """Keep back what follows the last line's end: a secret may come in pieces."""
        done, end, self._line = (self._line + text).rpartition("\n")
        with contextlib.suppress(OSError):  # a full disk costs the log, not the cell
            self._file.write(redact(done + end))
        return len(text)

    def flush(self) -> None:
        """Whole lines reach the file."""
        with contextlib.suppress(OSError):
            self._file.flush()

    def close_line(self) -> None:
        """Write what is left of an unfinished line."""
        self._file.write(redact(self._line))
        self._line = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
