"""Run a plan: a pool of workers, claims on the store, one display with the time left."""

import dataclasses
import multiprocessing
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from compare.config import Logger
from compare.plan import Planned, blank_record
from compare.store import Store

RETRY_AFTER = 2.0
"""Seconds before a cell that another process runs is looked at again."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one cell ended."""

    planned: Planned
    status: str
    """done, failed, or busy: another process is on it."""
    reason: str = ""
    headline: str = ""
    """Its main metric, for the display."""
    seconds: float = 0.0


_progress: Any = None


def _start_worker(channel: Any, threads: int) -> None:
    global _progress
    _progress = channel
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this worker when the process that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(planned: Planned, root: str, commit: str, logger: Logger, again: bool) -> Outcome:
    """Body of a worker: claim a cell, run it, say how it went."""
    store = Store(root)
    with store.claim(planned.identity) as ours:
        if not ours:
            return Outcome(planned=planned, status="busy")
        record = store.record(planned.identity)
        if record is None or (again and record.status == "failed"):
            from compare.cell import run_cell

            def tell(flops: float) -> None:
                _progress.put((planned.identity, flops))

            record = run_cell(planned, store, commit, logger, tell)
    return Outcome(
        planned=planned,
        status=record.status,
        reason=record.reason,
        headline=_headline(record),
        seconds=record.seconds.get("total", 0.0),
    )


def _headline(record: Any) -> str:
    exact, loss = record.find("exact"), record.find("loss")
    parts = [f"loss {loss.value:.3f}"] if loss else []
    return ", ".join([*parts, f"exact {exact.value:.1%}"] if exact else parts)


def workers_by_default(threads: int) -> int:
    """One worker a CPU core; with a GPU, which cells would share, one in all."""
    gpu = any(os.path.exists(p) for p in ("/dev/nvidia0", "/dev/kfd"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if gpu else max(1, cores // threads)


def run(
    plan: list[Planned],
    store: Store,
    *,
    commit: str,
    logger: Logger,
    workers: int,
    again: bool,
    ended: Callable[[Outcome], None],
    spent: Callable[[str, float], None],
) -> list[Outcome]:
    """Run every cell of a plan once, most expensive first, and return how each ended.

    A worker that dies takes no other cell down: its cell becomes a failed outcome and the pool is
    built anew. A cell that another process claims is waited for.

    Args:
        ended: called as each cell ends.
        spent: called with (identity, FLOPs) as cells progress.
    """
    context = multiprocessing.get_context("spawn")
    channel = context.Queue()
    threads = plan[0].cell.trainer.threads
    # The longest first, so that no worker is left alone with a long cell at the end.
    waiting = deque(sorted(plan, key=lambda p: p.cell.budget.flops, reverse=True))
    outcomes: list[Outcome] = []
    not_before: dict[str, float] = {}
    strikes: dict[str, int] = {}

    def pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, context, _start_worker, (channel, threads))

    def finish(outcome: Outcome) -> None:
        outcomes.append(outcome)
        ended(outcome)

    executor = pool()
    running: dict[Future[Outcome], Planned] = {}
    try:
        while waiting or running:
            for _ in range(len(waiting)):
                if len(running) >= workers:
                    break
                planned = waiting.popleft()
                if not_before.get(planned.identity, 0.0) > time.monotonic():
                    waiting.append(planned)
                    continue
                running[executor.submit(_work, planned, str(store.root), commit, logger, again)] = planned
            done, _ = wait(running, timeout=0.25, return_when=FIRST_COMPLETED) if running else (set(), None)
            if not running:
                time.sleep(0.25)
            _drain(channel, spent)
            broken: list[Planned] = []
            for future in done:
                planned = running.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    broken.append(planned)
                    continue
                except Exception as error:
                    # The cell's own errors are in its record; this one kept the record from being written.
                    outcome = Outcome(
                        planned=planned, status="failed", reason=f"{type(error).__name__}: {error}"
                    )
                if outcome.status == "busy":
                    not_before[planned.identity] = time.monotonic() + RETRY_AFTER
                    waiting.append(planned)
                else:
                    finish(outcome)
            if broken:
                # Which worker died is not told: all that were in flight get one more try, alone.
                broken += running.values()
                running.clear()
                executor.shutdown(wait=False, cancel_futures=True)
                executor = pool()
                for planned in broken:
                    strikes[planned.identity] = strikes.get(planned.identity, 0) + 1
                    if strikes[planned.identity] < 2:
                        waiting.append(planned)
                        continue
                    reason = "its worker process died twice (out of memory?); lower task.batch or workers"
                    store.write(
                        dataclasses.replace(blank_record(planned, commit), status="failed", reason=reason)
                    )
                    finish(Outcome(planned=planned, status="failed", reason=reason))
    except BaseException:
        for process in list((executor._processes or {}).values()):
            process.terminate()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()
    _drain(channel, spent)
    return outcomes


def _drain(channel: Any, spent: Callable[[str, float], None]) -> None:
    while True:
        try:
            spent(*channel.get_nowait())
        except queue.Empty:
            return
