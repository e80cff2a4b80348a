"""Train and evaluate one cell, and write its record whatever happens."""

import contextlib
import dataclasses
import errno
import logging
import platform
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

from arena.config import TrainerConfig
from arena.contender import Contender
from arena.data import Batch, Problems, collate, held_out
from arena.seeding import seed_everything
from arena.tasks import build_task
from arena.tasks.base import Problem, Task
from compare import stop
from compare.arms import family
from compare.config import Logger
from compare.live import LawSoFar, law_so_far
from compare.plan import Planned, blank_record, portable
from compare.record import Evaluation, Record
from compare.redaction import Redacting, redact
from compare.resume import Resume, Snapshots, Unusable, sweep
from compare.run import Notice
from compare.stats import Estimate
from compare.store import SNAPSHOT, Store
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
    watch = _Watch(task, settings, progress, news)
    watch.seconds = before["evaluate"]
    begun = time.perf_counter()

    def seconds() -> dict[str, float]:
        now = time.perf_counter()
        train = now - begun - (watch.seconds - before["evaluate"])
        total = before["total"] + now - started
        return {"train": before["train"] + train, "evaluate": watch.seconds, "total": total}

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

    def training_state(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "stage": self._stage,
            "due": self._due,
            "evaluations": [dataclasses.asdict(e) for e in self.evaluations],
            "forecasts": [[step, dataclasses.asdict(found)] for step, found in self.forecasts],
        }

    def restore_training(self, state: dict[str, Any]) -> None:
        """From a snapshot."""
        self._stage, self._due = state["stage"], state["due"]
        self.evaluations = [Evaluation(**e) for e in state["evaluations"]]
        self.forecasts = [
            (step, LawSoFar(**{**found, "ceiling": Estimate(**found["ceiling"])}))
            for step, found in state["forecasts"]
        ]

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
        done = {(e.axis, e.severity) for e in self.evaluations if e.stage == stage}
        try:
            for axis, severity in self.task.shifts(self.settings.severities if stage == "final" else 1):
                if (axis, severity) in done:
                    continue
                with stop.at_once():
                    problems = held_out(
                        self.task, self.settings.split, self.settings.problems, severity, axis
                    )
                    self.evaluations += evaluate(contender, self.task, problems, axis, severity, stage)
        finally:
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
