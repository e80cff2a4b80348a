"""The store: one folder per cell, named by its identity; claims; atomic writes.

store/
  store.json             version of the layout
  cells/<identity>/      record.json, checkpoint.ckpt, log.txt; claim.json, resume*.ckpt while running
  experiments/<name>.json
  prereg/<name>-<digest>.json
  reports/<name>/
"""

import contextlib
import fcntl
import json
import multiprocessing
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from arena.config import ConfigError
from compare.store.files import open_folder, write_atomically
from compare.store.manifest import PLAIN
from compare.store.record import Glance, Record, RecordError, dump, glance, load

VERSION = 1
HEARTBEAT = 5.0
"""Seconds between two signs of life of a claim."""
DEAD_AFTER = 60.0
"""Seconds of silence after which a claim may be taken over."""
SNAPSHOT, SNAPSHOT_BEFORE = "resume.ckpt", "resume.previous.ckpt"
"""Snapshots of a cell that is under way: the newest, and the one before."""

_heard: dict[Path, tuple[tuple[int, int], float]] = {}
"""Claims of others: their last sign of life, and when this process first saw that one."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has claimed a cell, or has run it again."""

    host: str
    pid: int
    since: float = 0.0
    """When it claimed the cell, by the clock of its host."""
    token: str = ""
    """Tells two claims of one process apart."""
    born: str = ""
    """When the process started: its number may be given to another later."""


def owner_of(path: Path) -> Owner | None:
    """Whom a claim names; None if it is gone, torn or being written."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except (OSError, ValueError):
        return None


class Store:
    """Records on disk. Any number of processes may use one store."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def prepare(self) -> None:
        """Create the store, or check that it can be used.

        Raises:
            ConfigError: not a folder, written by another version, or not writable.
        """
        marker = self.root / "store.json"
        try:
            (self.root / "cells").mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                write_atomically(marker, json.dumps({"version": VERSION}))
            tempfile.NamedTemporaryFile(dir=self.root / "cells").close()
        except OSError as error:
            raise ConfigError(
                f"runs={self.root}: cannot be written ({error.strerror}); give a folder you may write to, "
                "runs=DIR"
            ) from error
        self.check()

    def check(self) -> None:
        """Raise ConfigError if the store exists and was written by another version."""
        marker = self.root / "store.json"
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(f"runs={self.root}: is a file; give a folder, runs=DIR")
        if not marker.exists():
            return
        try:
            version = json.loads(marker.read_text())["version"]
        except (OSError, ValueError, KeyError, TypeError):
            version = "unknown"
        if version != VERSION:
            raise ConfigError(
                f"runs={self.root}: store version {version}, this program writes {VERSION}; use another "
                "folder, runs=DIR, or the program that wrote it"
            )

    def folder(self, identity: str) -> Path:
        """The cell's folder. Raises ConfigError if the identity is no plain name."""
        if not re.fullmatch(PLAIN, identity):
            raise ConfigError(f"cell {identity!r}: not a plain folder name; take the one the plan gives")
        return self.root / "cells" / identity

    def record(self, identity: str) -> Record | None:
        """The cell's record, or None if there is none yet.

        Raises:
            RecordError: there is one and it cannot be read.
        """
        path = self.folder(identity) / "record.json"
        return load(path) if path.exists() else None

    def glance(self, identity: str) -> Glance | None:
        """The head of the cell's record, likewise."""
        path = self.folder(identity) / "record.json"
        return glance(path) if path.exists() else None

    def glances(self) -> Iterator[Glance]:
        """The head of every readable record."""
        for path in sorted((self.root / "cells").glob("*/record.json")):
            with contextlib.suppress(RecordError):
                yield glance(path)

    def write(self, record: Record) -> None:
        """Write a record; it is there whole or not at all."""
        write_atomically(self.folder(record.cell) / "record.json", dump(record))

    @contextmanager
    def claim(self, identity: str) -> Iterator[bool]:
        """Try to claim a cell; yields whether it is ours. The claim lives while the block runs."""
        folder = self.folder(identity)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "claim.json"
        if path.exists() and _dead(path):
            _remove_dead(path)
        owner = msgspec.json.encode(
            Owner(host=socket.gethostname(), pid=os.getpid(), since=time.time(), token=secrets.token_hex(8))
        )
        try:
            with path.open("xb") as file:
                file.write(owner)
        except FileExistsError:
            yield False
            return
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(path, owner, stop), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            stop.set()
            beat.join()
            if _holds(path, owner):
                path.unlink(missing_ok=True)


def _beat(path: Path, owner: bytes, stop: threading.Event) -> None:
    # After a long stall the claim may be another's by now: that one is left to its owner.
    while not stop.wait(HEARTBEAT) and _holds(path, owner):
        with contextlib.suppress(OSError):
            os.utime(path)


def _holds(path: Path, owner: bytes) -> bool:
    try:
        return path.read_bytes() == owner
    except OSError:
        return False


def _dead(path: Path) -> bool:
    """Whether a claim's owner is gone: its process on this host, or its heartbeat anywhere.

    Silence is what this process has watched by a clock that cannot be set: the clocks of hosts differ, and
    jump.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    # None: it is being written at this moment, or torn; only silence tells.
    owner = owner_of(path)
    if owner is not None and owner.host == socket.gethostname() and not running(owner.pid):
        return True
    sign, now = (stat.st_mtime_ns, stat.st_ino), time.monotonic()
    if path not in _heard or _heard[path][0] != sign:
        _heard[path] = sign, now
    return now - _heard[path][1] > DEAD_AFTER


def mark_retry(store: Store, identity: str) -> None:
    """Note which command has run a failed cell again."""
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent is not None and parent.pid is not None else os.getpid()
    mark = Owner(host=socket.gethostname(), pid=pid, born=_born(pid))
    write_atomically(store.folder(identity) / "retry.json", msgspec.json.encode(mark))


def retried_by_a_living(store: Store, identity: str) -> bool:
    """Whether a command that still runs on this host has run the failed cell again already."""
    mark = owner_of(store.folder(identity) / "retry.json")
    if mark is None or mark.host != socket.gethostname():
        return False
    return running(mark.pid) and mark.born == _born(mark.pid)


def _born(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty where there is no /proc."""
    return "".join(_stat(pid)[19:20])


def running(pid: int) -> bool:
    """Whether a process of this host runs; a zombie that nobody has collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _stat(pid)[:1] != ["Z"]  # without /proc the signal's answer stands


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; none if the process is gone, or there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _remove_dead(path: Path) -> None:
    """Take a dead claim away, one process at a time: a living one that took its place stays."""
    with open_folder(path.parent) as folder:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        if _dead(path):
            path.unlink(missing_ok=True)
            _heard.pop(path, None)
