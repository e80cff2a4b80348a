"""Every test runs on one thread: cells do, and two cores are shared."""

import logging
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from hypothesis import settings

from arena.config import Budget, Cell, Size, TaskConfig, TrainerConfig
from arena.contender import Contender
from tests import fresh

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that a test starts
# The same examples on every machine, however slow it is.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

TINY = Size(name="tiny", layers=2, heads=2, width=16, lr=3e-3)


@pytest.fixture
def tiny_cell() -> Callable[..., Cell]:
    """Builds a cell of the tiny size: tiny_cell(arm, task, flops=..., seed=...)."""

    def build(arm: Any, task: TaskConfig, *, flops: float = 1e9, seed: int = 0, size: Size = TINY) -> Cell:
        trainer = TrainerConfig(problems=16)
        return Cell(arm=arm, task=task, size=size, budget=Budget(flops=flops), trainer=trainer, seed=seed)

    return build


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that this one starts have their imports done."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: fresh.SERVER)


@pytest.fixture
def trainer() -> lightning.Trainer:
    """A quiet CPU trainer that stops when the contender says so."""
    return quiet_trainer()


def quiet_trainer(precision: Any = "32-true", **options: Any) -> lightning.Trainer:
    """What the fixture gives, for tests that need several, another precision or other options."""
    return lightning.Trainer(
        accelerator="cpu",
        precision=precision,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        num_sanity_val_steps=0,
        **options,
    )


def parameters_of(contender: Contender) -> torch.Tensor:
    """All parameters in one vector."""
    return torch.cat([p.detach().flatten() for p in contender.parameters()])
