"""Secrets stay out of everything that is kept: records, logs, manifests. So does who ran it, and where."""

import contextlib
import getpass
import os
import re
import socket
from pathlib import Path
from typing import Any, TextIO, TypeVar

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SHORTEST = 8
"""Characters from which a value counts as a secret: `true` and `1` are none."""
ANYBODY = {"root", "user", "admin", "ubuntu", "runner", "nobody", "localhost"}
"""Names of users and machines that say nothing, and are words besides."""
NAME = r"""[^\s/\\"'<>|,;:()]+"""
ABSOLUTE = re.compile(rf"(?<![\w./\\~\]<…-])(?:[A-Za-z]:(?:[/\\]{NAME})+|~?(?:/{NAME})+)[/\\]?")
"""An absolute path, which begins where a word cannot: 3/4 and a/b are none, nor is what follows a host."""
T = TypeVar("T")


def redact(content: T) -> T:
    """The same text, or nested dictionaries and lists of texts, in which the value of an environment variable
    named like a secret is its name in brackets, and the home folder is ~."""
    secrets = [(v, f"[{k}]") for k, v in os.environ.items() if len(v) >= SHORTEST and SECRET.search(k)]
    with contextlib.suppress(RuntimeError):  # no home, as for some services
        home = Path.home()
        secrets += [(str(path), "~") for path in (home, home.resolve()) if len(path.parts) > 1]
    # The longest first: one may be a part of another.
    return _replaced(content, sorted(secrets, key=lambda pair: -len(pair[0])))


def _replaced(content: Any, secrets: list[tuple[str, str]]) -> Any:
    if isinstance(content, str):
        for value, name in secrets:
            content = content.replace(value, name)
        # What no encoding can write, such as half a character of a file's name, no reader takes either.
        return content.encode(errors="replace").decode()
    if isinstance(content, dict):
        return {key: _replaced(value, secrets) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_replaced(value, secrets) for value in content)
    return content


def scrub(text: str) -> str:
    """Text without secrets, absolute paths, and names of user and machine, as an error's words may hold
    them: a file is named by its last three parts."""
    text = ABSOLUTE.sub(lambda match: "/".join(_parts(match)[-3:]), redact(text))
    names = []
    with contextlib.suppress(KeyError, OSError):  # no such user, as in some containers
        names.append((getpass.getuser(), "[user]"))
    machine = socket.gethostname()
    names += [(machine, "[machine]"), (machine.partition(".")[0], "[machine]")]
    for name, instead in names:
        if len(name) > 2 and name.lower() not in ANYBODY:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", instead, text)
    return text


def without_paths(text: str) -> str:
    """Text with absolute paths cut to their last part: a report travels, machines' folders do not."""
    return ABSOLUTE.sub(
        lambda match: f"…/{_parts(match)[-1]}" if len(_parts(match)) > 1 else match.group(), text
    )


def _parts(path: re.Match[str]) -> list[str]:
    """Names of the folders and the file of a path, without the drive and the home."""
    return [part for part in re.split(r"[/\\]", path.group().lstrip("~")) if part and part[1:] != ":"]


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
