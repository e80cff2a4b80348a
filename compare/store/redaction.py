"""Secrets stay out of everything that is kept: records, logs, manifests. So does who ran it, and where."""

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SHORTEST = 8
"""Characters from which a value counts as a secret: `true` and `1` are none."""
ANYBODY = {"root", "user", "admin", "ubuntu", "runner", "nobody", "localhost"}
"""Names of users and machines that say nothing, and are words besides."""


def redact(text: str) -> str:
    """Text in which the value of an environment variable named like a secret is its name in brackets, and
    the home folder is ~."""
    return _redact(text, _secrets(os.environ))


def redacted(content: Any) -> Any:
    """The same, for all strings of nested dictionaries and lists."""
    return _redacted(content, _secrets(os.environ))


def _secrets(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    found = [(v, f"[{k}]") for k, v in environment.items() if len(v) >= SHORTEST and SECRET.search(k)]
    found += [(home, "~") for home in _homes()]
    # The longest first: one may be a part of another.
    return sorted(found, key=lambda pair: -len(pair[0]))


def _redact(text: str, secrets: list[tuple[str, str]]) -> str:
    for value, name in secrets:
        text = text.replace(value, name)
    return text


def _homes() -> set[str]:
    with contextlib.suppress(RuntimeError):  # no home, as for some services
        home = Path.home()
        return {str(path) for path in (home, home.resolve()) if len(path.parts) > 1}
    return set()


def scrub(text: str) -> str:
    """Text without secrets, absolute paths, and names of user and machine, as an error's words may hold
    them: a file is named by its last three parts."""
    # A path begins where a word cannot: 3/4 and a/b are none, nor is what follows a host.
    short = r"(?<![\w./~\]-])~?(?:/[^\s/:\"',()]+)+"
    text = re.sub(short, lambda m: "/".join(m.group().lstrip("~").split("/")[-3:]).lstrip("/"), redact(text))
    for name, said in _names():
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said, text)
    return text


def _names() -> list[tuple[str, str]]:
    """What user and machine are called, where that tells anything."""
    names = []
    with contextlib.suppress(KeyError, OSError):  # no such user, as in some containers
        names.append((getpass.getuser(), "[user]"))
    machine = socket.gethostname()
    names += [(machine, "[machine]"), (machine.partition(".")[0], "[machine]")]
    return [(name, said) for name, said in names if len(name) > 2 and name.lower() not in ANYBODY]


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
