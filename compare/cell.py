"""Train and evaluate one cell, and write its record whatever happens."""

import contextlib
import dataclasses
import io
import logging
import platform
import re
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import Logger as LightningLogger

from arena.config import TrainerConfig
from arena.contender import Contender
from arena.data import Batch, Problems, collate, held_out
from arena.seeding import seed_everything
from arena.tasks import build_task
from arena.tasks.base import Problem, Task
from compare.arms import family
from compare.config import Logger
from compare.live import LawSoFar, law_so_far
from compare.plan import Planned, blank_record, portable
from compare.record import Evaluation, Record
from compare.store import Store
from compare.trace import Unfit

# What Lightning announces about devices and tips is the same for every cell.
for _name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_name).setLevel(logging.WARNING)

EVALUATION_BATCH = 128
REPORT_EVERY = 0.5
"""Seconds between two reports of progress."""
FORECAST_AT = (0.4, 0.6, 0.8)
"""Shares of the budget after which a run that is trained by reward says where its entropy law leads."""


def run_cell(
    planned: Planned,
    store: Store,
    commit: str,
    logger: Logger,
    progress: Callable[[float], None],
    news: Callable[[str], None] | None = None,
) -> Record:
    """Train, evaluate, record. An error becomes a failed record; only interrupts pass through.

    Args:
        progress: told the FLOPs spent so far, now and then.
        news: told a line worth showing, a few times.
    """
    folder = store.folder(planned.identity)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with (folder / "log.txt").open("w", encoding="utf-8") as log, _captured(log):
        try:
            record = _train(planned, folder, commit, logger, progress, news, started)
        except Exception as error:
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
    return record


def _train(
    planned: Planned,
    folder: Path,
    commit: str,
    logger: Logger,
    progress: Callable[[float], None],
    news: Callable[[str], None] | None,
    started: float,
) -> Record:
    cell = planned.cell
    settings = cell.trainer
    torch.set_num_threads(settings.threads)
    seed_everything(cell.seed)
    task = build_task(cell.task)
    contender = family(cell).build(cell, task)
    data = Problems(
        task, seed=cell.seed, batch=cell.task.batch, problems=settings.problems, pool=settings.pool
    )
    watch = _Watch(task, settings, progress, news)
    mirror = _mirror(planned, logger, folder)
    trainer = lightning.Trainer(
        accelerator=settings.accelerator,
        devices=1,
        precision=_precision(settings.accelerator, settings.precision),  # pyright: ignore[reportArgumentType]
        max_epochs=-1,
        logger=mirror or False,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
    )
    try:
        begun = time.perf_counter()
        trainer.fit(contender, train_dataloaders=data.train_dataloader())
        trained = time.perf_counter() - begun - watch.seconds
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
        seconds={"train": trained, "evaluate": watch.seconds, "total": time.perf_counter() - started},
        history=columns,
        evaluations=tuple(watch.evaluations),
    )


class _Watch(lightning.Callback):
    """Reports progress, and evaluates whenever the contender leaves a stage of its training."""

    def __init__(
        self,
        task: Task,
        settings: TrainerConfig,
        progress: Callable[[float], None],
        news: Callable[[str], None] | None,
    ) -> None:
        self.task, self.settings, self.progress, self.news = task, settings, progress, news
        self.forecasts: list[tuple[int, LawSoFar]] = []
        """Optimiser step and the entropy law by then."""
        self.environment: dict[str, Any] = {}
        self.evaluations: list[Evaluation] = []
        self.seconds = 0.0
        self._stage: str | None = None
        self._told = 0.0
        self._due = list(FORECAST_AT)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Contender)
        if self._stage is not None and pl_module.stage != self._stage:
            self.evaluate(pl_module, self._stage)
        self._stage = pl_module.stage
        now = time.monotonic()
        if now - self._told > REPORT_EVERY:
            self._told = now
            self.progress(pl_module.flops_spent)
        if self._due and pl_module.share_spent >= self._due[0]:
            self._due.pop(0)
            self.forecast(pl_module)

    def forecast(self, contender: Contender) -> None:
        """Fit the entropy law on what was logged so far and tell it; silent for arms without rewards."""
        columns = contender.history.columns(self.settings.history)
        if "reward" not in columns:
            return
        try:
            found = law_so_far(columns)
        except Unfit:
            return
        self.forecasts.append((contender.steps, found))
        print(f"step {contender.steps}: {found.text}", flush=True)
        if self.news is not None:
            self.news(found.text)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, Contender)
        pl_module.history.flush()
        # Here, not after fit, which takes the module off the device that it was trained on.
        self.evaluate(pl_module, "final")
        self.environment = _environment(pl_module, trainer.precision)

    def evaluate(self, contender: Contender, stage: str) -> None:
        """Append the evaluations of a stage; before the final one, in distribution only."""
        begun = time.perf_counter()
        training = contender.training
        contender.eval()
        for axis, severity in self.task.shifts(self.settings.severities if stage == "final" else 1):
            problems = held_out(self.task, self.settings.split, self.settings.problems, severity, axis)
            self.evaluations += evaluate(contender, self.task, problems, axis, severity, stage)
        contender.train(training)
        self.seconds += time.perf_counter() - begun


def evaluate(
    contender: Contender, task: Task, problems: list[Problem], axis: str, severity: int, stage: str
) -> list[Evaluation]:
    """Likelihood and, where answers can be verified, exact match on held-out problems."""
    chunks = [problems[i : i + EVALUATION_BATCH] for i in range(0, len(problems), EVALUATION_BATCH)]
    found: list[Evaluation] = []
    with torch.no_grad():
        batches = [collate(chunk, task.pad).to(contender.device) for chunk in chunks]
        for effort in contender.likelihood_efforts():
            found.append(_loss(contender, batches, effort, axis, severity, stage))
        for effort in contender.efforts() if task.verifiable else ():
            outcomes, flops = "", 0.0
            for i, chunk in enumerate(chunks):
                solutions = contender.solve(chunk, effort, key=(stage, severity, i))
                flops += solutions.flops
                pairs = zip(chunk, solutions.completions, strict=True)
                outcomes += "".join("1" if task.verify(p, c).correct else "0" for p, c in pairs)
            share = outcomes.count("1") / len(outcomes)
            found.append(
                Evaluation(
                    stage=stage,
                    axis=axis,
                    severity=severity,
                    effort=effort,
                    metric="exact",
                    value=share,
                    n=len(outcomes),
                    sd=(share * (1 - share)) ** 0.5,
                    outcomes=outcomes,
                    flops=flops / len(outcomes),
                )
            )
    return found


def _loss(
    contender: Contender, batches: list[Batch], effort: str, axis: str, severity: int, stage: str
) -> Evaluation:
    parts = [contender.evaluate(batch, effort) for batch in batches]
    nats = torch.cat([p.nats_B for p in parts]).cpu().double()
    tokens = torch.cat([p.tokens_B for p in parts]).cpu().double()
    mean = float(nats.sum() / tokens.sum())
    if not torch.isfinite(nats).all():
        raise FloatingPointError(f"held-out loss is {mean} at effort {effort}, {axis} {severity}")
    # Residuals of the ratio estimator: problems differ in length.
    residuals = (nats - mean * tokens) / tokens.mean()
    return Evaluation(
        stage=stage,
        axis=axis,
        severity=severity,
        effort=effort,
        metric="loss",
        value=mean,
        n=len(nats),
        sd=float(residuals.std(unbiased=len(nats) > 1)),
        flops=sum(p.flops for p in parts) / len(nats),
    )


def _environment(contender: Contender, precision: str) -> dict[str, Any]:
    cuda = contender.device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": lightning.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if cuda else contender.device.type,
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


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
def _captured(log: io.TextIOBase | Any) -> Any:
    """What libraries print and warn during a cell goes into its log."""
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


def scrub(text: str) -> str:
    """Text without absolute paths: a file is named by its last three parts."""
    return re.sub(r"(?:/[^\s/:\"',()]+)+", lambda m: "/".join(m.group().split("/")[-3:]).lstrip("/"), text)
