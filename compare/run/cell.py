"""Train and evaluate one cell, and write its record whatever happens."""

import contextlib
import dataclasses
import errno
import logging
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from arena.tasks.base import Task
from compare.plan.config import Logger
from compare.plan.planned import Planned, training_code
from compare.run import stop, team, train
from compare.run.mirror import Mirror
from compare.run.outcome import Notice, blank_record
from compare.run.snapshot import Snapshots, Unusable, sweep
from compare.run.watch import LawSoFar
from compare.store.claims import SNAPSHOT, Store
from compare.store.record import Record
from compare.store.redaction import Redacting, scrub


def run_cell(
    planned: Planned, store: Store, commit: str, logger: Logger, tell: Callable[[float | str], None]
) -> Record:
    """Train, evaluate, record; go on from a snapshot if there is one. The cell must be claimed.

    An error becomes a failed record.

    Args:
        tell: told the FLOPs spent so far, now and then, and a line worth showing, a few times.

    Raises:
        stop.Stopped: it was asked to stop; a snapshot is there, no record.
        OSError: the disk is full; likewise.
    """
    folder = store.folder(planned.identity)
    folder.mkdir(parents=True, exist_ok=True)
    stop.leave_if_asked()
    sweep(folder)
    started = time.perf_counter()
    snapshots = Snapshots(folder, planned.identity)
    state, wrong = snapshots.read()
    forecasts: list[tuple[int, LawSoFar]] = []
    mode = "a" if state or wrong else "w"
    with (
        (folder / "log.txt").open(mode, encoding="utf-8") as log,
        _captured(log),
        Mirror(planned, logger, folder) as mirror,
    ):

        def attempt() -> Record:
            if wrong or state:
                where = f"goes on at step {state['contender']['steps']}" if state else "starts again"
                line = f"{', '.join(wrong)}: {where}" if wrong else where
                print(line, flush=True)
                if wrong:
                    tell(Notice(line))
            with team.together(planned, state, train.follow):
                to_mirror = mirror.open() or False
                done = train.train(planned.cell, snapshots, state, to_mirror, tell, started=started)
            done.trainer.save_checkpoint(folder / "checkpoint.ckpt", weights_only=True)
            forecasts[:] = done.watch.forecasts
            return _record(planned, commit, done)

        try:
            try:
                record = attempt()
            except Unusable as error:
                state, wrong = None, [*wrong, f"{SNAPSHOT} does not fit this program ({error})"]
                record = attempt()
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # says nothing of the cell: it goes on when there is room
            text = scrub(traceback.format_exc())
            print(text, flush=True)
            record = dataclasses.replace(
                blank_record(planned, commit),
                status="failed",
                reason=_first_line(error),
                traceback=text,
                seconds={"total": time.perf_counter() - started},
            )
        store.write(record)
        # Whatever goes wrong with a mirror, the record is there.
        try:
            try:
                mirror.keep(record, folder / "record.json", forecasts)
            finally:
                mirror.close(failed=record.status == "failed")
        except Exception as error:
            line = f"not mirrored ({_first_line(error)})"
            print(line, flush=True)
            tell(Notice(line))
    snapshots.remove()
    return record


def _first_line(error: Exception) -> str:
    return scrub(f"{type(error).__name__}: {error}".splitlines()[0])


def _record(planned: Planned, commit: str, done: train.Done) -> Record:
    contender = done.contender
    total = sum(p.numel() for p in contender.parameters())
    return dataclasses.replace(
        blank_record(planned, commit),
        environment=done.watch.environment | {"code": training_code()},
        parameters={"total": total, "non_embedding": contender.non_embedding_parameters()},
        flops=contender.flops_spent,
        flops_by=contender.flops_by,
        steps=contender.steps,
        problems=contender.problems,
        reward_queries=contender.reward_queries,
        seconds={**done.seconds(), "train": done.trained},
        history=contender.history.columns(planned.cell.trainer.history),
        evaluations=tuple(done.watch.evaluations),
        guess_rates=_guess_rates(contender.task, planned.cell.trainer.severities),
        traces=tuple(done.watch.traces),
    )


def _guess_rates(task: Task, severities: int) -> dict[str, list[float]]:
    """Axis -> chance that a blind guess is right, by severity from 0 up; empty without verifiable answers."""
    axes = task.axes.items() if task.verifiable else ()
    return {a: [task.guess_rate(s, a) for s in range(max(1, min(severities, n)))] for a, n in axes}


@contextlib.contextmanager
def _captured(file: TextIO) -> Any:
    """What libraries print and warn during a cell goes into its log."""
    log: Any = Redacting(file)
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log), warnings.catch_warnings():
        # A training stream has no length, so no workers are worth their start-up.
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        try:
            yield
        finally:
            root.removeHandler(handler)
            log.close_line()
