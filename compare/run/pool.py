"""Run a plan: a pool of workers, claims on the store, one display with the time left."""

import contextlib
import dataclasses
import math
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import stop
from compare.run.outcome import Outcome, blank_record, outcome_of
from compare.store.claims import SNAPSHOT, Store, mark_retry, retried_by_a_living
from compare.store.record import Glance

Tell = Callable[[float | str], None]
"""Hears of a running cell: the FLOPs spent so far, or a line worth showing."""

RETRY_AFTER = 2.0
"""Seconds before a cell that another process runs is looked at again."""
DEATHS = 3
"""Workers that may die on a cell without getting it any further, before it counts as failed."""


def _serve(pipe: Connection, threads: int) -> None:
    """What a worker process does: cell after cell, until nobody is at the other end of its pipe."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    stop.listen()
    with contextlib.suppress(EOFError):
        while True:
            work, *arguments = pipe.recv()
            pipe.send(work(*arguments, pipe.send))


def _work(
    planned: Planned, root: str, commit: str, logger: Logger, failed: Glance | None, tell: Tell
) -> Outcome:
    """Claim a cell, run it, say how it went.

    Args:
        failed: the record to run it again for; any other was written since then and is its result.
    """
    try:
        return _claim_and_run(planned, Store(root), commit, logger, failed, tell)
    except (stop.Stopped, SystemExit):  # the latter is Lightning's, if it heard of the request first
        return Outcome(planned=planned, status="stopped")
    except stop.Lost as error:
        return Outcome(planned=planned, status="died", reason=str(error))
    except Exception as error:
        # The cell's own errors are in its record; this one kept the record from being written.
        reason = f"{type(error).__name__}: {error}; no record was written, the same command goes on with it"
        return Outcome(planned=planned, status="failed", reason=reason)


def _claim_and_run(
    planned: Planned, store: Store, commit: str, logger: Logger, failed: Glance | None, tell: Tell
) -> Outcome:
    with store.claim(planned.identity) as ours:
        if not ours:
            return Outcome(planned=planned, status="busy")
        record = store.record(planned.identity)
        retry = (
            record is not None
            and store.glance(planned.identity) == failed
            and not retried_by_a_living(store, planned.identity)
        )
        if record is None or retry:
            from compare.run.cell import run_cell

            record = run_cell(planned, store, commit, logger, tell)
            if retry:
                mark_retry(store, planned.identity)
    return outcome_of(planned, record)


def workers_by_default(threads: int) -> int:
    """As many workers as the CPU cores allow at so many threads each, those of all its processes; with a GPU,
    which cells would share, one in all."""
    gpu = any(os.path.exists(p) for p in ("/dev/nvidia0", "/dev/kfd"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        # A container may see every core of its host and be allowed a few.
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return 1 if gpu else max(1, cores // threads)


class _Lane:
    """One worker process and the pipe to it: when it dies, it is known which cell it was on."""

    def __init__(self, threads: int) -> None:
        # Within a job of joblib the default is joblib's own, of which a fresh interpreter has not heard.
        if multiprocessing.get_start_method(allow_none=True) not in (None, "fork", "forkserver", "spawn"):
            multiprocessing.set_start_method("spawn", force=True)
        self._context, self._threads = multiprocessing.get_context("spawn"), threads
        self.planned: Planned | None = None
        """The cell that it is on."""
        self.start()

    def start(self) -> None:
        """Start a fresh worker."""
        self.pipe, theirs = self._context.Pipe()
        self.process = self._context.Process(target=_serve, args=(theirs, self._threads))
        with stop.deaf_children():
            self.process.start()
        theirs.close()

    def submit(self, planned: Planned, *arguments: Any) -> None:
        """Put a cell on this lane. That its worker died while idle is noticed by `hear`."""
        with contextlib.suppress(OSError):
            self.pipe.send((_work, planned, *arguments))
        self.planned = planned

    def hear(self, told: Callable[[str, float | str], None]) -> Outcome | None:
        """Pass on what the worker has said; how its cell ended, if it has. A worker that died is replaced."""
        while self.planned is not None:
            try:
                if not self.pipe.poll():
                    return None
                what = self.pipe.recv()
            except (EOFError, OSError):
                self.start()
                what = Outcome(planned=self.planned, status="died", reason="its worker process died")
            if isinstance(what, Outcome):
                self.planned = None
                return what
            told(self.planned.identity, what)
        return None


def run(
    plan: list[Planned],
    store: Store,
    *,
    commit: str,
    logger: Logger,
    workers: int,
    again: dict[str, Glance],
    ended: Callable[[Outcome], None],
    told: Callable[[str, float | str], None],
) -> list[Outcome]:
    """Run every cell of a plan once, most expensive first, and return how each ended.

    A worker that dies takes no other cell down: it is replaced, and its cell goes on from its snapshot, or
    becomes a failed record if it has got no further several times. A cell that another process claims is
    waited for.

    Args:
        again: failed records to replace, by cell.
        ended: called as each cell ends.
        told: called with (identity, FLOPs) as cells progress, and with (identity, line) when one has news.

    Raises:
        stop.Interrupted: by Ctrl-C, SIGTERM or SIGUSR; running cells have been saved.
    """
    # The longest first, so that no worker is left alone with a long cell at the end.
    waiting = sorted(plan, key=lambda p: p.flops, reverse=True)
    not_before: dict[str, float] = {}
    outcomes: list[Outcome] = []
    deaths: Counter[tuple[str, int]] = Counter()  # of workers, by cell and snapshot
    passed_on, saved = False, 0
    with stop.Asked() as asked:
        lanes = [_Lane(plan[0].cell.trainer.threads) for _ in range(workers)]
        try:
            while waiting or any(lane.planned for lane in lanes):
                if asked.number and not passed_on:
                    passed_on = True
                    waiting.clear()
                    for lane in lanes:
                        lane.process.terminate()  # it saves its cell after the step it is in, and leaves it
                now = time.monotonic()
                for lane in lanes:
                    ready = (p for p in waiting if not_before.get(p.identity, 0.0) <= now)
                    if lane.planned is None and (planned := next(ready, None)) is not None:
                        waiting.remove(planned)
                        lane.submit(planned, str(store.root), commit, logger, again.get(planned.identity))
                wait([lane.pipe for lane in lanes if lane.planned is not None], timeout=0.25)
                for lane in lanes:
                    outcome = lane.hear(told)
                    if outcome is None:
                        continue
                    identity = outcome.planned.identity
                    if outcome.status == "died" and not asked.number:
                        snapshot = store.folder(identity) / SNAPSHOT
                        place = identity, snapshot.stat().st_mtime_ns if snapshot.exists() else 0
                        deaths[place] += 1
                        if deaths[place] >= DEATHS:
                            outcome = _record_death(outcome, store, commit)
                    if outcome.status in ("done", "failed"):
                        outcomes.append(outcome)
                        ended(outcome)
                    elif not asked.number:
                        waiting.append(outcome.planned)
                        if outcome.status == "busy":
                            not_before[identity] = time.monotonic() + RETRY_AFTER
                    if outcome.status == "stopped":
                        saved += 1
                        if not asked.number:  # somebody asked this worker alone, which leaves
                            lane.pipe.close()
                            lane.start()
        except BaseException:
            for lane in lanes:
                lane.process.kill()
            raise
        for lane in lanes:
            lane.pipe.close()
            lane.process.join()
        if asked.number:
            raise stop.Interrupted(asked.number, len(outcomes), saved)
    return outcomes


def _record_death(died: Outcome, store: Store, commit: str) -> Outcome:
    """A failed record for a cell that kills its workers."""
    planned = died.planned
    reason = f"{died.reason} (out of memory?); lower task.batch or workers"
    with store.claim(planned.identity) as ours:
        if not ours:
            return Outcome(planned=planned, status="busy")
        record = store.record(planned.identity)
        if record is None:
            record = dataclasses.replace(blank_record(planned, commit), status="failed", reason=reason)
            store.write(record)
    return outcome_of(planned, record)
