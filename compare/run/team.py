"""Several processes on one cell: started together, ended together.

The worker that has claimed a cell is process 0: it owns snapshots, mirror, progress and record. It starts the
others, which compute their share of every batch (arena/ranks.py) and keep nothing. Each is on a device of its
own; they speak through torch.distributed, gloo between processors, nccl between GPUs.
"""

import contextlib
import datetime
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from arena import ranks
from arena.config import TrainerConfig, require
from compare.plan.planned import Planned
from compare.run import stop
from compare.store.redaction import scrub

Body = Callable[[Planned, dict[str, Any] | None], object]
"""What every process but the first does: train the cell from a state. A function of a module."""

PATIENCE = datetime.timedelta(days=30)
"""Timeout of a collective call. It is never reached: rank 0 notices when another process dies."""
GRACE = 20.0
"""Seconds after a death within which process 0 must have noticed by itself; then it is ended, too."""
LAST_WORDS = 5.0
"""Seconds rank 0 waits for another rank's error after losing the connection."""


class ProcessFailed(RuntimeError):
    """Another process of the cell raised an error. The message names it; its traceback follows."""


def device_kind(accelerator: str) -> str:
    """cpu, cuda or mps: what a cell with this setting runs on here."""
    if accelerator != "auto":
        return accelerator
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check(settings: TrainerConfig) -> None:
    """Raise ConfigError if this machine has not the devices that a cell asks for."""
    kind, asked = device_kind(settings.accelerator), settings.devices
    there = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, asked)
    require(
        asked <= there,
        f"trainer.devices={asked}: this machine has {there} of kind {kind}; lower trainer.devices, or set "
        "trainer.accelerator=cpu",
    )


class Team:
    """The other processes of a cell, as process 0 sees them."""

    def __init__(self, planned: Planned, body: Body) -> None:
        self.size = planned.cell.trainer.devices
        self.store = _store(0, self.size)
        self.processes: dict[int, Any] = {}
        self._pipes: dict[int, Any] = {}
        self._words: dict[int, tuple[str, float, str]] = {}
        """The last word of each: ready, or at its end done, stopped or error; when; the error's text."""
        self._closed = threading.Event()
        context = multiprocessing.get_context("spawn")
        with stop.deaf_children():
            for number in range(1, self.size):
                self._pipes[number], theirs = context.Pipe(duplex=False)
                arguments = (planned, body, number, self.store.port, theirs)
                process = context.Process(target=_member, args=arguments, daemon=True)
                process.start()
                theirs.close()
                self.processes[number], self._words[number] = process, ("", 0.0, "")
                threading.Thread(target=self._watch, args=(number, process), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Return when every process has started, or raise DistError."""
        for pipe in self._pipes.values():
            pipe.poll(None)  # until it has said something, or is gone
        self._listen()
        for number, (word, _, _) in self._words.items():
            if word != "ready":
                raise dist.DistError(f"process {number} of {self.size} did not start")

    def cause(self, error: BaseException) -> BaseException:
        """Why process 0 was interrupted by an error: that one, or what ended another process before."""
        if type(error) is not RuntimeError and not isinstance(error, dist.DistError):
            return error
        raised = time.monotonic()
        # Whoever is cut off ends, too; but one that only failed has said so before it did.
        wait([process.sentinel for process in self.processes.values()], LAST_WORDS)
        time.sleep(0.5)
        self._listen()
        if stop.asked() or any(word == "stopped" for word, _, _ in self._words.values()):
            return stop.Stopped()
        for number, process in self.processes.items():
            if process.exitcode is not None and self._words[number][0] in ("", "ready"):
                how = f"by signal {-process.exitcode}" if process.exitcode < 0 else "without a word"
                return stop.Lost(f"process {number} of {self.size} ended {how}")
        failed = [(when, number, text) for number, (_, when, text) in self._words.items() if text]
        when, number, text = min(failed, default=(raised, 0, ""))
        if when < raised and text.splitlines()[0] != f"{type(error).__name__}: {error}".splitlines()[0]:
            return ProcessFailed(f"process {number} of {self.size}: {text}")
        return error

    def close(self, finished: bool) -> None:
        """End the others: those that have finished as well leave by themselves."""
        for process in self.processes.values():
            if finished:
                process.join(GRACE)
            process.kill()
            process.join()
        self._closed.set()

    def _listen(self) -> None:
        """Take up what has been said."""
        for number, pipe in self._pipes.items():
            with contextlib.suppress(EOFError, OSError):
                while pipe.poll():
                    self._words[number] = pipe.recv()

    def _watch(self, number: int, process: Any) -> None:
        """End this process if another has failed and it does not notice: nccl waits for the dead."""
        wait([process.sentinel])
        process.join()
        if process.exitcode and not self._closed.wait(GRACE):
            self._listen()
            words = self._words[number][2] or f"exit status {process.exitcode}"
            print(f"process {number} of {self.size} ended: {words}", flush=True)
            os._exit(1)


@contextlib.contextmanager
def together(planned: Planned, state: dict[str, Any] | None, body: Body) -> Iterator[None]:
    """Within the block this process is the first of trainer.devices that train the cell; alone for one.

    Args:
        state: the snapshot to go on from, if any; the others get it, too.
    Raises:
        stop.Lost: another process was killed.
        ProcessFailed: another process raised an error.
        ConfigError: this machine has fewer devices.
    """
    if planned.cell.trainer.devices == 1:
        yield
        return
    check(planned.cell.trainer)
    team = Team(planned, body)
    finished, hook = False, sys.excepthook
    try:
        team.wait_until_ready()
        _join(team.store, 0, planned.cell.trainer)
        dist.broadcast_object_list([state], 0)
        yield
        dist.destroy_process_group()
        finished = True
    except BaseException as error:
        cause = team.cause(error)
        if cause is error:
            raise
        print(f"{type(cause).__name__}: {cause}".splitlines()[0], flush=True)
        raise cause from error
    finally:
        team.close(finished)
        if dist.is_initialized():
            dist.destroy_process_group()
        sys.excepthook = hook  # each group puts its own around the last


def by_the_first(work: Callable[[], None]) -> None:
    """Process 0 works, the others wait. If it is asked to stop meanwhile, all are stopped.

    Raises:
        stop.Stopped: so it was.
    """
    if ranks.count() == 1:
        work()
        return
    stopped = torch.zeros(1)
    if ranks.own() == 0:
        try:
            work()
        except stop.Stopped:
            stopped.fill_(1)
    dist.broadcast(stopped, 0)
    if stopped:
        raise stop.Stopped


def agreed(asked: bool, due: bool) -> tuple[bool, bool]:
    """Whether any process was asked to stop, and whether a snapshot is due by the clock of process 0."""
    if ranks.count() == 1:
        return asked, due
    flags = torch.tensor([float(asked), float(due and ranks.own() == 0)])
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags[0]), bool(flags[1])


def _store(number: int, size: int, port: int = 0) -> TCPStore:
    return TCPStore("127.0.0.1", port, size, is_master=number == 0, wait_for_workers=False)


def _join(store: TCPStore, number: int, settings: TrainerConfig) -> None:
    """Join the group of processes."""
    cuda = device_kind(settings.accelerator) == "cuda"
    if cuda:
        torch.cuda.set_device(number)
    # What is no gradient travels through the host's memory.
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=settings.devices, timeout=PATIENCE)


def _member(planned: Planned, body: Body, number: int, port: int, pipe: Any) -> None:
    """Body of every process but the first. What it says it says to process 0 alone."""
    stop.listen()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (open until the process ends)
    settings, word = planned.cell.trainer, ("done", 0.0, "")
    try:
        store = _store(number, settings.devices, port)
        pipe.send(("ready", 0.0, ""))
        _join(store, number, settings)
        handed: list[Any] = [None]
        dist.broadcast_object_list(handed, 0)
        body(planned, handed[0])
        dist.destroy_process_group()
    except (stop.Stopped, SystemExit):
        word = ("stopped", time.monotonic(), "")
    except BaseException as error:
        # Said before the connections break, so that what the others die of is younger.
        text = scrub(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        word = ("error", time.monotonic(), text)
    with contextlib.suppress(OSError):
        pipe.send(word)
    os._exit(word[0] == "error")
