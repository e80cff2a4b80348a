"""A cell mirrored elsewhere: Weights & Biases, TensorBoard or CSV, through Lightning's loggers.

The record in the store is the truth; nothing reads a mirror back, and a mirror that breaks costs no cell
its result. Every cell is a run of its own, also when many share a process.
"""

import contextlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.config import ConfigError
from compare.plan.config import Logger
from compare.plan.planned import Planned, portable
from compare.store.record import Evaluation, Record

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger

    from compare.run.watch import LawSoFar

DRAWN = {"loss": "loss, nats per token", "reward": "reward in training", "entropy": "entropy, nats per token"}
"""Columns of the history that a cell's figures show, against training FLOPs."""


def check(settings: Logger) -> None:
    """Raise ConfigError, before anything is trained, if this logger cannot work here."""
    if settings.name == "tensorboard" and not any(
        importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")
    ):
        raise ConfigError(
            "logger=tensorboard: TensorBoard is not installed; pip install 'ebt-arena[tensorboard]' (from a "
            "checkout: pip install -e '.[tensorboard]')"
        )
    if settings.name == "wandb" and settings.mode == "online":
        import wandb

        if wandb.api.api_key is None:
            raise ConfigError(
                "logger.mode=online: nobody is logged in to Weights & Biases here; run wandb login, or leave "
                "logger.mode=offline and wandb sync later"
            )


class Mirror:
    """Where one cell is mirrored; does nothing for logger=none."""

    def __init__(self, planned: Planned, settings: Logger, folder: Path) -> None:
        self.planned, self.settings, self.folder = planned, settings, folder
        self.logger: LightningLogger | None = None

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(self, *trouble: object) -> None:
        """End a run that is still open: its cell is on its way out without a record."""
        with contextlib.suppress(Exception):  # what stops the cell must get through
            self.close(failed=True)

    def open(self) -> "LightningLogger | None":
        """The logger for the trainer; one per cell."""
        planned, cell, settings = self.planned, self.planned.cell, self.settings
        if settings.name == "none" or self.logger is not None:
            return self.logger
        from lightning.pytorch import loggers  # here, since importing them takes seconds

        if settings.name == "csv":
            self.logger = loggers.CSVLogger(self.folder, name="csv", version="")
        elif settings.name == "tensorboard":
            self.logger = loggers.TensorBoardLogger(self.folder, name="tensorboard", version="")
        else:
            about = {"cell": planned.identity, "study": planned.study, "budget_flops": cell.budget.flops}
            self.logger = loggers.WandbLogger(
                project=settings.project,
                save_dir=self.folder,
                name=f"{cell.task.name}-{cell.arm.name}-{cell.budget.flops:g}-{cell.seed}",
                id=planned.identity,
                resume="allow",
                mode=settings.mode,
                group=settings.group or planned.study,
                job_type=cell.arm.name,
                tags=[planned.study, cell.task.name],
                config=portable(cell) | about,
            )
        return self.logger

    def keep(self, record: Record, path: Path, forecasts: "list[tuple[int, LawSoFar]]") -> None:
        """Log a record that has been written to `path`: history, evaluations, figures, and the file."""
        if self.logger is None:
            return
        log_history(self.logger, record.history, record.evaluations, forecasts)
        self.logger.log_metrics(headline(record))
        figures = draw(record.history)
        run: Any = self.logger.experiment  # pyright: ignore[reportAttributeAccessIssue]
        if self.settings.name == "tensorboard":
            for name, figure in figures.items():
                run.add_figure(name, figure)
        if self.settings.name == "wandb":
            import wandb

            run.log({f"figures/{name}": wandb.Image(figure) for name, figure in figures.items()})
            run.summary["status"] = record.status
            artifact = wandb.Artifact(
                f"cell-{record.cell}", type="record", metadata={"digest": record.digest}
            )
            artifact.add_file(str(path), name="record.json")
            run.log_artifact(artifact)

    def close(self, failed: bool) -> None:
        """End the run, so that the next cell of this process starts its own."""
        if self.logger is None:
            return
        self.logger.save()
        self.logger.finalize("failed" if failed else "success")
        if self.settings.name == "wandb":
            import wandb

            wandb.finish(exit_code=int(failed))
        self.logger = None


def headline(record: Record) -> dict[str, float]:
    """Loss and answer error in distribution, each arm in its default way: one name for all arms."""
    loss, exact = record.find("loss"), record.find("exact")
    numbers = {"headline/training_flops": record.flops}
    numbers |= {"headline/loss": loss.value} if loss else {}
    return numbers | ({"headline/answer_error": 1 - exact.value} if exact else {})


def log_history(
    logger: "LightningLogger",
    columns: dict[str, list[float | None]],
    evaluations: tuple[Evaluation, ...],
    forecasts: "list[tuple[int, LawSoFar]]",
) -> None:
    """Rows of the history at their steps, forecasts among them, and every evaluation at the end."""
    waiting = list(forecasts)
    for i, step in enumerate(columns.get("step", [])):
        row = {k: column[i] for k, column in columns.items() if k != "step"}
        # A mirror takes steps in rising order only, so a forecast goes with the first row after it.
        while waiting and waiting[0][0] <= (step or 0):
            e = waiting.pop(0)[1].ceiling
            row |= {
                f"entropy_law/{k}": v for k, v in (("ceiling", e.value), ("low", e.low), ("high", e.high))
            }
        logger.log_metrics({k: v for k, v in row.items() if v is not None}, step=int(step or 0))
    last = {f"{e.stage}/{e.metric}/{e.effort}/{e.axis}_{e.severity}": e.value for e in evaluations}
    logger.log_metrics(last)


def draw(columns: dict[str, list[float | None]]) -> dict[str, Any]:
    """Figures of a history: each column of DRAWN that was logged at least twice."""
    from matplotlib.figure import Figure

    figures = {}
    for name, label in DRAWN.items():
        rows = zip(columns.get("flops", []), columns.get(name, []), strict=False)
        points = [(x, y) for x, y in rows if x is not None and y is not None]
        if len(points) > 1:
            figure = Figure(figsize=(5.0, 3.2), layout="constrained")
            ax = figure.subplots()
            ax.plot(*zip(*points, strict=True), color="#0072B2")
            ax.set_xlabel("training FLOPs, counted")
            ax.set_ylabel(label)
            figures[name] = figure
    return figures
