"""Strict reading of JSON into dataclasses: no field missing or unknown, every value of its declared type."""

import dataclasses
import re
import reprlib
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import msgspec

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
"""A number that is not negative."""
Positive = Annotated[float, msgspec.Meta(gt=0)]
Bits = Annotated[str, msgspec.Meta(pattern=r"^[01]*\Z")]
"""One character per problem, 1 for a correct answer."""


def load(
    path: Path,
    kind: type[T],
    *,
    version: int,
    check: Callable[[T, dict[str, Any]], None],
    error: type[ValueError],
    remedy: str,
    may_lack: Collection[str] | None = None,
) -> T:
    """Read a versioned file.

    Args:
        check: raises ValueError if values do not fit together; it gets the JSON object, too.
        error: what is raised, with a message of one line: which file, field and value, and the remedy.
        may_lack: fields younger than the first files, whose defaults stand in; None: all that have one.
    """
    noun = kind.__name__.lower()
    try:
        raw: Any = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, RecursionError) as reason:
        raise error(f"{path}: not a readable {noun} ({reason}); {remedy}") from reason
    check_version(path, noun, raw.get("version") if isinstance(raw, dict) else None, version, error)
    try:
        content = typed(kind, raw, may_lack)
        check(content, raw)
    except (ValueError, OverflowError) as reason:
        raise error(f"{path}: {reason}; {remedy}") from reason
    return content


def check_version(path: Path, noun: str, given: Any, version: int, error: type[ValueError]) -> None:
    """Raise the error if a file was written by another version."""
    if given != version:
        raise error(
            f"{path}: {noun} version {given!r}, this program reads {version}; "
            "use another store (runs=DIR) or the program that wrote it"
        )


def require(condition: bool, complaint: str) -> None:
    """Raise ValueError(complaint) unless values fit together."""
    if not condition:
        raise ValueError(complaint)


def typed(kind: type[T], raw: Any, may_lack: Collection[str] | None = None) -> T:
    """A dataclass from what JSON holds; whole numbers serve where it declares floats.

    Raises:
        ValueError: naming the field and its value, in one line.
    """
    _check_keys(kind, raw, may_lack)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), kind, raw)) from error


def _check_keys(kind: type, raw: Any, may_lack: Collection[str] | None) -> None:
    """Raise ValueError for a field that is missing or unknown, at any depth."""
    if not isinstance(raw, dict):
        raise ValueError(f"{kind.__name__} is not an object")
    names, defaulted, nested = _fields(kind)
    for name in names - raw.keys() - (defaulted if may_lack is None else set(may_lack)):
        raise ValueError(f"field {name} is missing")
    for name in raw.keys() - names:
        raise ValueError(f"field {name} is unknown")
    for name, part in nested.items():
        items = raw.get(name)
        for item in items if isinstance(items, list | tuple) else ():
            _check_keys(part, item, may_lack)


@cache
def _fields(kind: type) -> tuple[set[str], set[str], dict[str, type]]:
    """Fields of a dataclass, those that have a default, and those that hold dataclasses, with which."""
    fields = dataclasses.fields(kind)
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    names = {f.name for f in fields}
    return names, names - needed, {f.name: part for f in fields for part in _dataclasses_in(f.type)}


def _dataclasses_in(kind: Any) -> list[type]:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return [kind]
    return [inner for part in get_args(kind) for inner in _dataclasses_in(part)]


def _in_words(message: str, kind: type, raw: Any) -> str:
    """msgspec's message, such as "Expected `int`, got `str` - at `$.cells[0].seed`", with the value."""
    what, _, path = message.partition(" - at `$")
    name = ""
    for place in re.findall(r"[^.\[\]]+|\.{3}", path.rstrip("`")):
        if place == "...":  # some key of a dictionary, which a dataclass of ours holds itself
            declared = next(f.type for f in dataclasses.fields(kind) if f.name == name)
            place = next(key for key, value in raw.items() if not _fits({key: value}, declared))
        name += f"[{place}]" if isinstance(raw, list | tuple) else f".{place}" if name else place
        raw = raw[int(place) if isinstance(raw, list | tuple) else place]
    expected = re.fullmatch(r"Expected `(.+)`, got `.+`", what)
    if expected is None:
        return f"field {name}={reprlib.repr(raw)}: {what}"
    words = {"array": "a list", "object": "an object"}.get(expected[1], f"of type {expected[1]}")
    return f"field {name}={reprlib.repr(raw)} is not {words}"


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
