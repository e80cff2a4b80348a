"""Train and evaluate one cell, and write its record whatever happens."""

import contextlib
import dataclasses
import errno
import logging
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from compare.plan.cells import blank_record
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import stop, team, train
from compare.run.live_law import LawSoFar
from compare.run.mirror import Mirror
from compare.run.pool import Notice
from compare.run.snapshot import Snapshots, Unusable, sweep
from compare.store.claims import SNAPSHOT, Store
from compare.store.record import Record
from compare.store.redaction import Redacting, scrub


def run_cell(
    planned: Planned,
    store: Store,
    commit: str,
    logger: Logger,
    progress: Callable[[float], None],
    news: Callable[[str], None] | None = None,
) -> Record:
    """Train, evaluate, record; go on from a snapshot if there is one. The cell must be claimed.

    An error becomes a failed record.

    Raises:
        stop.Stopped: it was asked to stop; a snapshot is there, no record.
        OSError: the disk is full; likewise.

    Args:
        progress: told the FLOPs spent so far, now and then.
        news: told a line worth showing, a few times.
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
                line = _goes_on(wrong, state)
                print(line, flush=True)
                if news is not None and wrong:
                    news(Notice(line))
            record, forecasts[:] = _train(
                planned, folder, commit, mirror, progress, news, started, snapshots, state
            )
            return record

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
            reason = scrub(f"{type(error).__name__}: {error}".splitlines()[0])
            record = dataclasses.replace(
                blank_record(planned, commit),
                status="failed",
                reason=reason,
                traceback=text,
                seconds={"total": time.perf_counter() - started},
            )
        store.write(record)
        _reflect(mirror, record, store, forecasts, news)
    snapshots.remove()
    return record


def _reflect(
    mirror: Mirror,
    record: Record,
    store: Store,
    forecasts: list[tuple[int, LawSoFar]],
    news: Callable[[str], None] | None,
) -> None:
    """Mirror a record. Whatever goes wrong with that, the record is there."""
    try:
        try:
            mirror.keep(record, store.folder(record.cell) / "record.json", forecasts)
        finally:
            mirror.close(failed=record.status == "failed")
    except Exception as error:
        line = scrub(f"not mirrored ({type(error).__name__}: {error})".splitlines()[0])
        print(line, flush=True)
        if news is not None:
            news(Notice(line))


def _goes_on(wrong: list[str], state: dict[str, Any] | None) -> str:
    where = f"goes on at step {state['contender']['steps']}" if state else "starts again"
    return f"{', '.join(wrong)}: {where}" if wrong else where


def _train(
    planned: Planned,
    folder: Path,
    commit: str,
    mirror: Mirror,
    progress: Callable[[float], None],
    news: Callable[[str], None] | None,
    started: float,
    snapshots: Snapshots,
    state: dict[str, Any] | None,
) -> tuple[Record, list[tuple[int, LawSoFar]]]:
    with team.together(planned, state, train.follow):
        done = train.train(
            planned.cell, snapshots, state, mirror.open() or False, progress, news, started=started
        )
    contender, watch = done.contender, done.watch
    done.trainer.save_checkpoint(folder / "checkpoint.ckpt", weights_only=True)
    columns = contender.history.columns(planned.cell.trainer.history)
    total = sum(p.numel() for p in contender.parameters())
    record = dataclasses.replace(
        blank_record(planned, commit),
        environment=watch.environment,
        parameters={"total": total, "non_embedding": contender.non_embedding_parameters()},
        flops=contender.flops_spent,
        flops_by=contender.flops_by,
        steps=contender.steps,
        problems=contender.problems,
        reward_queries=contender.reward_queries,
        seconds={**done.seconds(), "train": done.trained},
        history=columns,
        evaluations=tuple(watch.evaluations),
        traces=tuple(watch.traces),
    )
    return record, watch.forecasts


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
