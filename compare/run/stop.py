"""Stopping: who asked for it, and how a running cell hears of it. Nothing heavy is imported.

Ctrl-C and SIGTERM reach the process that a person started; it asks its workers by SIGTERM. A worker ends
the step it is in, saves and leaves; while it evaluates, which changes nothing, it leaves at once. SIGUSR1 and
SIGUSR2, by which Slurm announces the end of a job's time to all its processes, are requests like SIGTERM.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

TWICE_AFTER = 0.3
"""Seconds within which a second signal is the same request: wrappers such as `timeout` pass theirs on."""

ANNOUNCED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Requests to stop, of a batch system or a person."""


class Stopped(BaseException):
    """A cell was asked to stop between two steps. No error: no record is written."""


class Lost(BaseException):
    """A process that trained a cell together with this one has died. No error of the cell, which goes on."""


class Interrupted(BaseException):
    """The command was asked to stop, and did."""

    def __init__(self, number: int, done: int, saved: int) -> None:
        super().__init__(number, done, saved)
        self.number = number
        """The signal."""
        self.done, self.saved = done, saved
        """Cells that ended under this command, and cells that were stopped on the way."""


_requested = False
_listening = False
_leave_at_once = False


def listen() -> None:
    """Take ANNOUNCED as requests to stop the running cell, and leave with the parent; called by workers, from
    their main thread."""
    global _listening
    _listening = True
    listen_again()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ANNOUNCED)  # what came since it was started is heard now


def listen_again() -> None:
    """Once more, after a library has put a handler of its own in place."""
    if _listening and threading.current_thread() is threading.main_thread():
        for number in ANNOUNCED:
            signal.signal(number, _ask)


def _ask(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = True
    if _leave_at_once:
        raise Stopped


def asked() -> bool:
    """Whether somebody asked for it."""
    return _requested


def leave_if_asked() -> None:
    """Raise Stopped if somebody asked for it."""
    if _requested:
        raise Stopped


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """A block during which nothing changes that would have to be saved: a request ends it at once."""
    global _leave_at_once
    _leave_at_once = True
    try:
        leave_if_asked()
        yield
    finally:
        _leave_at_once = False


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Asked:
    """Within the block the first request to stop is noted in `number`; a second one stops at once.

    After a block that ends by Interrupted, when all is saved, a launcher's handler of the same signal is
    called: submitit's of SIGUSR2 puts the job back into Slurm's queue and leaves, that of SIGTERM does
    nothing. Python's own for Ctrl-C is not.
    """

    def __init__(self) -> None:
        self.number = 0
        self._first = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Asked":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ANNOUNCED):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        before = self._before.get(self.number)
        if isinstance(error, Interrupted) and self.number in ANNOUNCED and callable(before):
            before(self.number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number and now - self._first > TWICE_AFTER:
            raise KeyboardInterrupt
        if not self.number:
            self.number, self._first = number, now


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C: a terminal sends it to all, their parent decides.

    Other requests wait for them to `listen`. Python's helpers never do: Slurm's signals would end them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *ANNOUNCED})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
