"""The page on extending shows a whole task and a whole arm; both work as printed. The family and the analysis
that it shows are tested in tests/examples."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf

import arena.tasks
from arena.config import ConfigError
from arena.data import Problems
from arena.seeding import seed_everything
from rl_baseline.config import RLArm, TransformerArm
from rl_baseline.supervised import TransformerModule
from tests.conftest import quiet_trainer

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()


def block(language: str, holding: str) -> str:
    """The one block of code in a language that holds a text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = (block for block in blocks if holding in block)
    return found


@pytest.fixture
def page(monkeypatch, tmp_path) -> ModuleType:
    (tmp_path / "repeat_task.py").write_text(block("python", "class RepeatTask"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("repeat_task")
    monkeypatch.delitem(sys.modules, "repeat_task")
    monkeypatch.setitem(arena.tasks.TASKS, module.Repeat, module.RepeatTask)
    return module


def test_the_task_keeps_its_splits_apart_and_is_learnt(page, tiny_cell) -> None:
    task = arena.tasks.build_task(page.Repeat(name="repeat", length=4))
    seen = {s: {task.problem(s, 0, i).prompt for i in range(200)} for s in ("train", "val", "test")}
    assert not seen["train"] & (seen["val"] | seen["test"])
    problem = task.problem("test", 0, 1, severity=2)
    assert len(problem.prompt) == task.longest(2)[0]
    assert task.verify(problem, problem.answer).correct
    assert not task.verify(problem, problem.answer[1:]).correct
    with pytest.raises(ConfigError, match=r"task.length=2"):
        page.Repeat(name="repeat", length=2).validate()
    cell = tiny_cell(
        TransformerArm(name="transformer"),
        page.Repeat(name="repeat", length=4, batch=32),
        flops=2e8,
    )
    seed_everything(0)
    module = TransformerModule(cell, task)
    data = Problems(task, seed=0, batch=32, problems=16)
    quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
    losses = module.history.columns(1000)["loss"]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0] - 0.3


def test_the_arm_is_one_that_trains() -> None:
    settings = OmegaConf.to_container(OmegaConf.create(block("yaml", "name: rl_dr_grpo")))
    assert isinstance(settings, dict)
    settings.pop("defaults")
    RLArm(**settings).validate()  # pyright: ignore[reportArgumentType, reportCallIssue]
