"""The records of one experiment as a file small enough to commit, and back: one record on each line of it.

DIR/
  records.jsonl.xz  records without what no analysis reads, in the plan's order
  manifest.json     of the experiment
  prereg.json       what it promised before it ran, if it did

A line is a record like any other, under its own digest, and names the digest of the record it was cut from.
Wherever a store is read an archive serves, and nothing in it is executed.
"""

import dataclasses
import json
import lzma
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from compare.store import manifest as manifests
from compare.store import prereg
from compare.store import record as records
from compare.store.files import write_atomically
from compare.store.manifest import Name
from compare.store.record import UNSIGNED, Record, RecordError
from compare.store.redaction import scrub, without_paths

RECORDS, MANIFEST, FREEZE = "records.jsonl.xz", "manifest.json", "prereg.json"
UNPACKED = ".unpacked"
"""Marks a store that was made of an archive for the moment."""
LARGEST = 2**29
"""Bytes that an archive may unpack to."""
MEMORY = 2**27
"""Bytes that unpacking may take besides."""
DIGITS = 9
"""Of rounded floats: enough for single precision. With six, one page in several prints another last digit."""
UNREAD = re.compile(
    r"loss|first_loss|alpha|gradient_norm|response_length|selected|signal"
    r"|(covariance|kl|logp|entropy_change|clip_fraction)(_\w+)?"
)
"""Columns of a history that no analysis reads; what is not named is kept."""


class _Named(msgspec.Struct):
    """The name of a cell, which becomes one of a folder."""

    cell: Name


class _Titled(msgspec.Struct):
    """The name of an experiment, likewise."""

    name: Name


def pack(store: Path, name: str, folder: Path) -> Path:
    """Write the records of experiment `name`, finished and failed, and its manifest to `folder`.

    Raises:
        ManifestError: the store has no such experiment, or its manifest is unreadable.
    """
    plan, lines, remarks = manifests.load(store, name), list[str](), list[str]()
    for cell in dict.fromkeys(planned.cell for planned in plan.cells):
        path = store / "cells" / cell / "record.json"
        if not path.exists():
            continue
        try:
            lines.append(_dense(records.dump(cut(records.load(path)))))
        except RecordError as error:
            reason = str(error).replace(str(path), "record.json")
            remarks.append(f"cell {cell} had a record that could not be used: {reason}")
    shown = {"command": plan.command, "remarks": (*plan.remarks, *remarks)}
    plan = dataclasses.replace(plan, **_shareable(shown))
    write_atomically(folder / MANIFEST, _dense(manifests.text_of(plan)))
    write_atomically(folder / RECORDS, lzma.compress("".join(lines).encode(), preset=9))
    if (freeze := prereg.best(store, plan)) is not None:
        write_atomically(folder / FREEZE, freeze.read_bytes())
    return folder


def cut(record: Record) -> Record:
    """A record without what no analysis reads, and without paths and names of user and machine.

    Times, history and traces are rounded; evaluations stay exact. Cutting it again changes nothing.
    """
    history = {name: column for name, column in record.history.items() if not UNREAD.fullmatch(name)}
    if not history.keys() - {"step", "flops"}:
        history = {}
    return dataclasses.replace(
        record,
        traceback="",
        config=_shareable(record.config),
        data=_shareable(record.data),
        environment=_shareable(record.environment),
        seconds=_rounded(record.seconds),
        history=_rounded(history),
        traces=tuple(_rounded(trace) for trace in record.traces),
        original=record.original or record.digest or UNSIGNED,
    )


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A store as it is, or an archive as a store that is there while the block runs.

    Raises:
        RecordError: the archive is truncated, too large, or holds what is no record. One line.
    """
    if not (path / RECORDS).is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as parent:
        store = Path(parent) / path.resolve().name
        _unpack(path, store)
        yield store


def is_unpacked(store: Path) -> bool:
    """Whether a store is what `unpacked` made of an archive: no link to its records would last."""
    return (store / UNPACKED).exists()


def _unpack(path: Path, store: Path) -> None:
    seen = set[str]()
    for number, line in enumerate(_lines(path / RECORDS), 1):
        where = f"{path / RECORDS}, line {number}"
        cell = _name(line, _Named, where).cell
        if cell in seen:
            raise RecordError(f"{where}: cell {cell} a second time; take the archive from where it was made")
        seen.add(cell)
        target = store / "cells" / cell / "record.json"
        target.parent.mkdir(parents=True)
        target.write_bytes(line)
    try:
        plan = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise RecordError(
            f"{path / MANIFEST}: {error.strerror}; the records are nothing without it"
        ) from error
    write_atomically(manifests.path_of(store, _name(plan, _Titled, str(path / MANIFEST)).name), plan)
    prereg.keep(path / FREEZE, store)
    (store / UNPACKED).touch()


def _lines(path: Path) -> list[bytes]:
    """The lines of a compressed file that is whole and not too large."""
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
    try:
        text = unpacking.decompress(path.read_bytes(), LARGEST)
    except (lzma.LZMAError, OSError) as error:
        raise RecordError(f"{path}: not readable ({error}); take it from where it was made") from error
    if not unpacking.eof or unpacking.unused_data:
        what = "something follows its end" if unpacking.eof else f"truncated, or more than {LARGEST} bytes"
        raise RecordError(f"{path}: {what}; take it from where it was made")
    return text.splitlines()


def _name(text: bytes, kind: type[Any], where: str) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not readable ({error}); take it from where it was made") from error


def _dense(text: str) -> str:
    """JSON on one line."""
    return json.dumps(json.loads(text), separators=(",", ":")) + "\n"


def _shareable(content: Any) -> Any:
    """Text, or nested texts, that say nothing of who ran it and where."""
    if isinstance(content, str):
        return scrub(without_paths(content))
    if isinstance(content, dict):
        return {key: _shareable(value) for key, value in content.items()}
    return type(content)(map(_shareable, content)) if isinstance(content, list | tuple) else content


def _rounded(content: Any) -> Any:
    """Floats with DIGITS digits, however deep they lie."""
    if isinstance(content, float):
        return float(f"{content:.{DIGITS}g}")
    if dataclasses.is_dataclass(content) and not isinstance(content, type):
        return dataclasses.replace(content, **{name: _rounded(x) for name, x in vars(content).items()})
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return type(content)(map(_rounded, content)) if isinstance(content, list | tuple) else content
