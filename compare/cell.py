"""Train and evaluate one cell, and write its record whatever happens."""

import contextlib
import dataclasses
import errno
import logging
import re
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import lightning
import torch
from lightning.pytorch.loggers import Logger as LightningLogger

from arena.data import Problems
from arena.seeding import seed_everything
from arena.tasks import build_task
from compare import stop
from compare.arms import family
from compare.config import Logger
from compare.live import LawSoFar
from compare.plan import Planned, blank_record, portable
from compare.record import Evaluation, Record
from compare.redaction import Redacting, redact
from compare.resume import Resume, Snapshots, Unusable, sweep
from compare.run import Notice
from compare.store import SNAPSHOT, Store
from compare.watch import Watch

# What Lightning announces about devices and tips is the same for every cell.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)


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
    with (folder / "log.txt").open("a" if state or wrong else "w", encoding="utf-8") as log, _captured(log):

        def attempt() -> Record:
            if wrong or state:
                line = _goes_on(wrong, state)
                print(line, flush=True)
                if news is not None and wrong:
                    news(Notice(line))
            return _train(planned, folder, commit, logger, progress, news, started, snapshots, state)

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
    snapshots.remove()
    return record


def _goes_on(wrong: list[str], state: dict[str, Any] | None) -> str:
    where = f"goes on at step {state['contender']['steps']}" if state else "starts again"
    return f"{', '.join(wrong)}: {where}" if wrong else where


def _train(
    planned: Planned,
    folder: Path,
    commit: str,
    logger: Logger,
    progress: Callable[[float], None],
    news: Callable[[str], None] | None,
    started: float,
    snapshots: Snapshots,
    state: dict[str, Any] | None,
) -> Record:
    cell = planned.cell
    settings = cell.trainer
    torch.set_num_threads(settings.threads)
    seed_everything(cell.seed)
    task = build_task(cell.task)
    contender = family(cell).build(cell, task)
    before = state["seconds"] if state else {"train": 0.0, "evaluate": 0.0, "total": 0.0}
    watch = Watch(task, settings, progress, news)
    watch.seconds = before["evaluate"]
    begun = time.perf_counter()

    def seconds() -> dict[str, float]:
        now = time.perf_counter()
        evaluate = watch.seconds + contender.seconds_aside
        train = now - begun - (evaluate - before["evaluate"])
        total = before["total"] + now - started
        return {"train": before["train"] + train, "evaluate": evaluate, "total": total}

    resume = Resume(snapshots, state, watch, settings.checkpoint_minutes, seconds)
    data = Problems(
        task,
        seed=cell.seed,
        batch=cell.task.batch,
        problems=settings.problems,
        pool=settings.pool,
        first=resume.batches,
    )
    mirror = _mirror(planned, logger, folder)
    trainer = lightning.Trainer(
        accelerator=settings.accelerator,
        devices=1,
        precision=_precision(settings.accelerator, settings.precision),  # pyright: ignore[reportArgumentType]
        max_epochs=-1,
        logger=mirror or False,
        callbacks=[watch, resume],  # in this order: what watch does at a step is in the snapshot
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
    )
    try:
        begun = time.perf_counter()
        trainer.fit(contender, train_dataloaders=data.train_dataloader())
        trained = seconds()["train"]
        trainer.save_checkpoint(folder / "checkpoint.ckpt", weights_only=True)
        columns = contender.history.columns(settings.history)
        if mirror is not None:
            _log(mirror, columns, watch.evaluations, watch.forecasts)
    finally:
        if mirror is not None:
            import wandb

            wandb.finish()
    total = sum(p.numel() for p in contender.parameters())
    return dataclasses.replace(
        blank_record(planned, commit),
        environment=watch.environment,
        parameters={"total": total, "non_embedding": contender.non_embedding_parameters()},
        flops=contender.flops_spent,
        flops_by=contender.flops_by,
        steps=contender.steps,
        problems=contender.problems,
        reward_queries=contender.reward_queries,
        seconds={**seconds(), "train": trained},
        history=columns,
        evaluations=tuple(watch.evaluations),
    )


def _precision(accelerator: str, precision: str) -> str:
    if precision != "auto":
        return precision
    return "bf16-mixed" if accelerator in ("auto", "cuda") and torch.cuda.is_available() else "32-true"


def _mirror(planned: Planned, logger: Logger, folder: Path) -> LightningLogger | None:
    """A logger that mirrors the record; `none` imports nothing."""
    if logger.name == "none":
        return None
    from lightning.pytorch.loggers import WandbLogger

    cell = planned.cell
    return WandbLogger(
        project=logger.project,
        save_dir=folder,
        name=f"{cell.task.name}-{cell.arm.name}-{cell.budget.flops:g}-{cell.seed}",
        id=planned.identity,
        resume="allow",
        mode=logger.mode,
        group=planned.study,
        job_type=cell.arm.name,
        config={**portable(cell)["arm"], "budget": cell.budget.flops, "seed": cell.seed},
    )


def _log(
    mirror: LightningLogger,
    columns: dict[str, list[float | None]],
    evaluations: list[Evaluation],
    forecasts: list[tuple[int, LawSoFar]],
) -> None:
    waiting = list(forecasts)
    for i, step in enumerate(columns.get("step", [])):
        row = {k: c[i] for k, c in columns.items() if k != "step" and c[i] is not None}
        # A mirror takes steps in rising order only, so a forecast goes with the first row after it.
        while waiting and waiting[0][0] <= (step or 0):
            e = waiting.pop(0)[1].ceiling
            row |= {
                f"entropy_law/{k}": v for k, v in (("ceiling", e.value), ("low", e.low), ("high", e.high))
            }
        mirror.log_metrics({k: v for k, v in row.items() if v is not None}, step=int(step or 0))
    last = {f"{e.stage}/{e.metric}/{e.effort}/{e.axis}_{e.severity}": e.value for e in evaluations}
    mirror.log_metrics(last)


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


def scrub(text: str) -> str:
    """Text without secrets and absolute paths: a file is named by its last three parts."""
    short = r"(?:/[^\s/:\"',()]+)+"
    return re.sub(short, lambda m: "/".join(m.group().split("/")[-3:]).lstrip("/"), redact(text))
