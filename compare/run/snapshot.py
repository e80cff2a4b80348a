"""A running cell on disk: written now and then, read back to go on as if nothing had happened.

`resume.ckpt` in the cell's folder and, against a torn or corrupt one, `resume.previous.ckpt`. Both go when
the record is there. A file is what torch.save writes, tensors and plain data alone, and its SHA-256.
"""

import hashlib
import io
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy
import torch
from torch import Tensor

from arena import ranks
from compare.run import stop, team
from compare.run.watch import Watch
from compare.store.claims import SNAPSHOT, SNAPSHOT_BEFORE
from compare.store.files import replacing

VERSION = 2
DIGEST = hashlib.sha256().digest_size
"""Bytes of the SHA-256 at a file's end."""
REST = 30
"""Seconds without a snapshot, at least, per second that the last one took: it costs 3% of the time."""


class Unusable(Exception):
    """A snapshot is whole, but of no use: of another version of the program, or of another cell."""


class Snapshots:
    """The snapshots of one cell."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.newest, self.before = folder / SNAPSHOT, folder / SNAPSHOT_BEFORE
        self.identity = identity

    def write(self, state: dict[str, Any]) -> None:
        """Write a snapshot, keeping the one before; it is there whole or not at all."""
        body = io.BytesIO()
        torch.save({"version": VERSION, "cell": self.identity, **state}, body)
        with replacing(self.newest, keep=self.before) as file:
            file.write(body.getbuffer())
            file.write(hashlib.sha256(body.getbuffer()).digest())

    def read(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest readable snapshot, none if there is none; and what was wrong with newer ones."""
        wrong: list[str] = []
        for path in filter(Path.exists, (self.newest, self.before)):
            try:
                content = path.read_bytes()
                body, digest = memoryview(content)[:-DIGEST], content[-DIGEST:]
                if hashlib.sha256(body).digest() != digest:
                    raise Unusable("is torn or corrupt")
                state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
                if (state["version"], state["cell"]) != (VERSION, self.identity):
                    raise Unusable("is of another version or cell")
                return state, wrong
            except Unusable as error:
                wrong.append(f"{path.name} {error}")
            except OSError as error:
                wrong.append(f"{path.name} cannot be read ({error.strerror})")
            except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError) as error:
                wrong.append(f"{path.name} cannot be read ({type(error).__name__})")
        return None, wrong

    def remove(self) -> None:
        """Delete both."""
        for path in (self.newest, self.before):
            path.unlink(missing_ok=True)


class Resume(lightning.Callback):
    """Restores a cell before its first step; saves it between two steps, now and then and when stopped."""

    def __init__(
        self,
        snapshots: Snapshots | None,
        state: dict[str, Any] | None,
        watch: Watch,
        seconds: Callable[[], dict[str, float]],
    ) -> None:
        """
        Args:
            snapshots: where to write; none: another process does.
            state: what `snapshots.read` found.
            watch: what has a state besides its contender.
            seconds: wall time so far, the attempts before this one included.
        """
        self.snapshots, self.state, self.watch, self.seconds = snapshots, state, watch, seconds
        self.contender, self.minutes = watch.contender, watch.contender.cell.trainer.checkpoint_minutes
        self.batches: int = state["batches"] if state else 0
        """Training batches that are done."""
        self._random: dict[str, Any] | None = None
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def on_fit_start(self, trainer: lightning.Trainer, *given: Any, **named: Any) -> None:
        state, self.state = self.state, None
        if state is None:
            return
        try:
            self.contender.load_state_dict(state["module"])
            trainer.optimizers[0].load_state_dict(state["optimizer"])
            trainer.precision_plugin.load_state_dict(state["precision"])
            self.contender.restore_training(state["contender"])
            self.watch.restore_training(state["watch"])
            saved = state["random"]
            # A snapshot by another number of processes: those it does not know go on from their own seeds.
            self._random = dict(enumerate(saved)).get(ranks.own())
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
            reason = str(error).strip().splitlines() or [""]
            raise Unusable(f"{type(error).__name__}: {reason[0]}") from error

    def on_train_start(self, *given: Any, **named: Any) -> None:
        # Lightning has put its own handler in place by now, which ends a process without saving.
        stop.listen_again()

    def on_train_batch_start(self, trainer: lightning.Trainer, *given: Any, **named: Any) -> None:
        if self._random is not None:
            # Only now: a data loader that starts draws a number, too.
            restore_random(self._random)
            self._random = None
        rest = max(60 * self.minutes, REST * self._cost) if self.minutes else 0.0
        stopped, due = team.agreed(stop.asked(), time.monotonic() - self._saved_at >= rest)
        if stopped:
            raise stop.Stopped
        if due:
            self.save(trainer)

    def on_train_batch_end(self, *given: Any, **named: Any) -> None:
        self.batches += 1

    def on_exception(self, trainer: lightning.Trainer, pl_module: Any, exception: BaseException) -> None:
        if isinstance(exception, stop.Stopped):
            self.save(trainer)

    def save(self, trainer: lightning.Trainer) -> None:
        """Write a snapshot. A disk that is full costs the snapshot, not the cell.

        Of several processes, which hold the same, the first writes, with the random states of all.
        """
        begun = time.monotonic()
        # Stopped before its first step here, a cell still has its old state to restore.
        states = ranks.gather(self._random or random_state())
        if self.snapshots is None:
            return
        state = {
            "batches": self.batches,
            "module": self.contender.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "precision": trainer.precision_plugin.state_dict(),
            "contender": plain(self.contender.training_state()),
            "watch": plain(self.watch.training_state()),
            "seconds": plain(self.seconds()),
            "random": states,
        }
        try:
            self.snapshots.write(state)
        except OSError as error:
            print(f"step {self.contender.steps}: no snapshot ({error.strerror})", flush=True)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - begun


def plain(content: Any) -> Any:
    """The same as tensors and plain data, which are all that a snapshot may hold.

    Raises:
        TypeError: it holds anything else.
    """
    if isinstance(content, numpy.generic):
        content = content.item()
    if content is None or isinstance(content, str | bool | int | float):
        return content
    if isinstance(content, Tensor):
        return content.detach()
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(plain(value) for value in content)
    raise TypeError(f"a snapshot cannot hold {type(content).__name__}")


def random_state() -> dict[str, Any]:
    """State of the generators that a process has one of: Python's, numpy's, torch's, its device's."""
    state: Any = numpy.random.get_state(legacy=True)
    name, keys, *rest = state
    return {
        "python": plain(random.getstate()),
        "numpy": [str(name), torch.from_numpy(keys.astype(numpy.int64)), *plain(rest)],
        "torch": torch.get_rng_state(),
        # Each of several processes has a device of its own.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def restore_random(state: dict[str, Any]) -> None:
    """Set those generators."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    numpy.random.set_state((name, keys.numpy().astype(numpy.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"][0])


def sweep(folder: Path) -> None:
    """Delete what a killed writer has left: its temporary files. The cell must be claimed."""
    for path in (*folder.glob(f".{SNAPSHOT}.*"), *folder.glob(".record.json.*")):
        path.unlink()
