"""Small cells and models of the transformer arms."""

from collections.abc import Callable, Iterator

import lightning
import pytest
import torch

from arena.config import Addition, Budget, Cell, Size, TrainerConfig
from arena.data import Problems
from arena.seeding import seed_everything
from arena.tasks import build_task
from arena.tasks.base import Task
from rl_baseline.config import RLArm, TransformerArm
from rl_baseline.module import RLModule
from rl_baseline.supervised import TransformerModule

SIZE = Size(name="7xs", layers=1, heads=2, width=32, lr=3e-3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on many threads, and sums then depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def size() -> Size:
    return SIZE


@pytest.fixture
def task() -> Task:
    return build_task(Addition(name="addition"))


@pytest.fixture
def make() -> Callable[..., TransformerModule]:
    """Build the module of an arm on two-digit addition."""

    def build(
        arm: TransformerArm | RLArm,
        flops: float,
        *,
        seed: int = 0,
        batch: int = 64,
        kind: type[TransformerModule] | None = None,
    ) -> TransformerModule:
        cell = Cell(
            arm=arm,
            task=Addition(name="addition", min_digits=1, max_digits=2, batch=batch),
            size=SIZE,
            budget=Budget(flops=flops),
            trainer=TrainerConfig(accelerator="cpu", problems=64),
            seed=seed,
        )
        cell.validate()
        seed_everything(seed)
        kind = kind or (RLModule if isinstance(arm, RLArm) else TransformerModule)
        return kind(cell, build_task(cell.task))

    return build


@pytest.fixture
def trainer() -> Callable[..., tuple[lightning.Trainer, Problems]]:
    """A Lightning trainer without side effects, and the data of a module's cell."""

    def build(
        module: TransformerModule, *callbacks: lightning.Callback
    ) -> tuple[lightning.Trainer, Problems]:
        cell = module.cell
        data = Problems(module.task, seed=cell.seed, batch=cell.task.batch, problems=cell.trainer.problems)
        return lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            max_epochs=-1,
            limit_val_batches=0,
            callbacks=list(callbacks),
        ), data

    return build
