"""The training of one cell, as each of its processes goes through it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from arena import ranks
from arena.config import Cell
from arena.contender import Contender
from arena.data import TrainingStream
from arena.seeding import seed_everything
from arena.tasks import build_task
from arena.tasks.base import stream
from compare.plan.families import family
from compare.plan.planned import Planned
from compare.run.snapshot import Resume, Snapshots
from compare.run.team import device_kind
from compare.run.watch import Watch

# What Lightning announces about devices and tips is the same for every cell.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A cell that is trained and evaluated."""

    contender: Contender
    watch: Watch
    trainer: lightning.Trainer
    seconds: Callable[[], dict[str, float]]
    """Wall time until now, earlier attempts included."""
    trained: float
    """Seconds of training, likewise."""


def train(
    cell: Cell,
    snapshots: Snapshots | None,
    state: dict[str, Any] | None,
    logger: Logger | bool,
    tell: Callable[[float | str], None],
    *,
    started: float,
) -> Done:
    """Train a cell from its start or a snapshot, and evaluate it.

    Every process of a cell computes the same but for its share of the forward and backward passes.

    Args:
        snapshots: where to keep some; none for every process but the first.
        state: what a snapshot held.
        started: when this attempt began, by time.perf_counter.
    """
    settings = cell.trainer
    torch.set_num_threads(settings.threads)
    seed_everything(cell.seed)
    task = build_task(cell.task)
    contender = family(cell).build(cell, task)
    if ranks.own() > 0:
        # The same parameters, but dropout of its own.
        seed_everything(stream("process", cell.seed, ranks.own()) % 2**32)
    before = state["seconds"] if state else {"train": 0.0, "evaluate": 0.0, "total": 0.0}
    watch = Watch(contender, tell)
    watch.seconds = before["evaluate"]
    begun = time.perf_counter()

    def seconds() -> dict[str, float]:
        now = time.perf_counter()
        evaluate = watch.seconds + contender.seconds_aside
        train = now - begun - (evaluate - before["evaluate"])
        total = before["total"] + now - started
        return {"train": before["train"] + train, "evaluate": evaluate, "total": total}

    resume = Resume(snapshots, state, watch, seconds)
    batches = TrainingStream(task, cell.seed, cell.task.batch, pool=settings.pool, first=resume.batches)
    precision, several = settings.precision, settings.devices > 1
    if precision == "auto":
        cuda = settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if cuda else "32-true"
    trainer = lightning.Trainer(
        accelerator=settings.accelerator,
        # To Lightning each process trains alone: the contender divides batches and sums gradients itself.
        devices=[ranks.own()] if several and device_kind(settings.accelerator) == "cuda" else 1,
        precision=precision,  # pyright: ignore[reportArgumentType]
        max_epochs=-1,
        logger=logger,
        callbacks=[watch, resume],  # in this order: what watch does at a step is in the snapshot
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
    )
    begun = time.perf_counter()
    trainer.fit(contender, train_dataloaders=DataLoader(batches, batch_size=None))
    trained = seconds()["train"]
    return Done(contender=contender, watch=watch, trainer=trainer, seconds=seconds, trained=trained)


def follow(planned: Planned, state: dict[str, Any] | None) -> None:
    """What every process of a cell but the first does."""
    train(planned.cell, None, state, False, lambda what: None, started=time.perf_counter())
