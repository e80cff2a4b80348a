"""Two processes give one process's training; strategies under which that cannot hold are refused."""

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy

from arena.config import Addition, ConfigError, Text
from arena.data import Problems
from arena.seeding import seed_everything
from arena.tasks import build_task
from ebt.module import EBTModule
from tests.conftest import parameters_of, quiet_trainer

pytestmark = pytest.mark.usefixtures("quick_start")

STEPS = 5


def trained(arm_of, tiny_cell, name: str, ranks: int, **options) -> EBTModule:
    """`STEPS` steps on the same 8 windows each, by one process or by two."""
    task = Text(name="text", context=16, batch=8)
    arm = arm_of(name, **{"alpha": 3.0, **options})
    cell = tiny_cell(arm, task)
    seed_everything(0)
    module = EBTModule(cell, build_task(task))
    data = Problems(module.task, seed=0, batch=task.batch, problems=4)
    strategy = "ddp_spawn" if ranks > 1 else "auto"
    trainer = quiet_trainer(devices=ranks, strategy=strategy, max_steps=STEPS)
    trainer.fit(module, datamodule=data)
    return module


@pytest.mark.parametrize("name", ["ebt_s1", "ebt_gated"])
def test_two_processes_train_as_one(arm_of, tiny_cell, name: str) -> None:
    options = {"start": "zero"} if name == "ebt_s1" else {}
    one = trained(arm_of, tiny_cell, name, 1, **options)
    two = trained(arm_of, tiny_cell, name, 2, **options)
    seed_everything(0)
    start = parameters_of(EBTModule(one.cell, one.task))
    moved = (parameters_of(one) - start).norm()
    assert moved > 1e-2
    # Not to the last digit: sums in another order, which Adam magnifies where a gradient is almost zero, and
    # which decide at the gate between two positions of almost equal entropy.
    close = 0.01 if name == "ebt_s1" else 0.05
    assert (parameters_of(one) - parameters_of(two)).norm() < close * moved
    torch.testing.assert_close(one.cut, two.cut, rtol=1e-3, atol=0)
    assert one.ranks == 1


class Sharded(FSDPStrategy):
    """Stands in for FSDP where there is no GPU to build it on."""

    def __init__(self) -> None:
        pass


def test_sharding_is_refused(arm_of, tiny_cell, trainer, monkeypatch) -> None:
    cell = tiny_cell(arm_of("ebt_s1"), Addition(name="addition"))
    module = EBTModule(cell, build_task(cell.task))
    module.trainer = trainer
    monkeypatch.setattr(type(trainer), "strategy", Sharded())
    with pytest.raises(ConfigError, match=r"strategy=Sharded: .* use strategy=ddp, or one device"):
        module.setup("fit")
