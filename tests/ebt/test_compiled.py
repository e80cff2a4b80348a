"""A compiled training step gives the losses and gradients of the plain one."""

import dataclasses
import shutil

import pytest
import torch
from torch import Tensor, nn

from arena.config import Addition, Size
from arena.data import collate
from arena.tasks import build_task
from ebt.compiled import compiled
from ebt.config import EBTArm
from ebt.energy import EnergyModel
from ebt.module import EBTModule
from ebt.objective import backward
from tests.ebt.test_energy import LENGTH, VOCABULARY, model, tokens

__all__ = ["model", "tokens"]


@pytest.mark.parametrize(
    "arm",
    [
        EBTArm(name="a", max_update=0.2, contrastive=0.5),
        EBTArm(name="a", graph="all", parametrisation="logits"),
        EBTArm(name="a", graph="last", loss="last", parametrisation="mirror"),
    ],
    ids=["step", "all", "last"],
)
def test_traced_equals_eager(model: EnergyModel, tokens: Tensor, arm: EBTArm) -> None:
    """Traced and differentiated ahead of time, but not compiled to machine code: fp64, in seconds."""
    random = torch.Generator().manual_seed(3)
    y = torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, generator=random)
    targets = torch.randint(VOCABULARY, (3, LENGTH), generator=random)
    weights = torch.full(targets.shape, 1 / targets.numel(), dtype=torch.float64)
    alpha = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))
    parameters = [*model.parameters(), alpha]
    found = []
    for options in ({}, {"take": compiled("aot_eager")}):
        for q in parameters:
            q.grad = None
        context = model.observe(tokens)
        trained = backward(
            arm, model, context, y, targets, weights, steps=2, alpha=alpha, parameters=parameters, **options
        )
        found.append([trained.losses, trained.logits_BMV, *(q.grad for q in parameters)])
    for a, b in zip(*found, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_compiled_equals_eager(tiny_cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code, through the option: fp32."""
    # One block, one step, no vector instructions: machine code for more takes minutes.
    monkeypatch.setattr("torch._inductor.config.cpp.simdlen", 1)
    size = Size(name="s", layers=1, heads=2, width=16, lr=1e-3)
    arm = EBTArm(name="ebt_one_step", steps=1, alpha=2.0, conditioning="none")
    cell = tiny_cell(arm, Addition(name="addition", batch=4), size=size)
    found = []
    for compile_ in (False, True):
        torch.manual_seed(0)
        trainer = dataclasses.replace(cell.trainer, compile=compile_)
        module = EBTModule(dataclasses.replace(cell, trainer=trainer), build_task(cell.task))
        batch = collate([module.task.problem("train", 0, i) for i in range(4)], module.task.pad)
        figures, _ = module.backpropagate(batch)
        found.append([figures["loss"], *(q.grad for q in module.parameters() if q.grad is not None)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
