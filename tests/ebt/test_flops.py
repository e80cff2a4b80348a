"""Counted FLOPs against torch's counter."""

import dataclasses
import math

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arena.config import Addition, Budget, Size, Text
from arena.data import Problems, collate
from arena.tasks import build_task
from ebt import cost
from ebt.config import EBTArm
from ebt.module import EBTModule
from tests.conftest import quiet_trainer
from tests.ebt.conftest import energy_arms

SIZES = (
    Size(name="a", layers=1, heads=2, width=32, lr=1e-3),
    Size(name="b", layers=3, heads=2, width=64, lr=1e-3),
)


class _NoModules:
    """Stands in for the counter's module tracker, whose hooks refuse gradients of a module's input."""

    parents = frozenset({"Global"})

    def __enter__(self) -> "_NoModules":
        return self

    def __exit__(self, *error: object) -> None:
        return None


def counted(call) -> int:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # pyright: ignore[reportAttributeAccessIssue]
    # Fused attention is not counted on the CPU.
    with sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


TASKS = {
    "text": Text(name="text", context=24, batch=3),
    "addition": Addition(name="addition", min_digits=3, max_digits=3, batch=6),
}
OPTIONS = {
    "four_steps_unrolled": EBTArm(name="a", steps=4, graph="all", loss="last"),
    "contrastive": EBTArm(name="a", contrastive=0.1, parametrisation="logits"),
    "tied_adaln": EBTArm(name="a", vocabulary_map="tied", conditioning="adaln_zero"),
}


@pytest.fixture(params=[*energy_arms(), *OPTIONS])
def arm(request, arm_of) -> EBTArm:
    return OPTIONS[request.param] if request.param in OPTIONS else arm_of(request.param)


@pytest.fixture(params=list(zip(SIZES, TASKS, strict=True)), ids=lambda p: f"{p[0].name}-{p[1]}")
def module(request, tiny_cell, arm: EBTArm) -> EBTModule:
    size, name = request.param
    task = TASKS[name]
    cell = tiny_cell(arm, task, size=size)
    module = EBTModule(cell, build_task(task))
    module.alpha.data.fill_(2.0)
    if arm.gate == "entropy":
        module.cut.fill_(math.log(module.task.vocabulary) - 0.35)
    return module


def batch_of(module: EBTModule):
    task = module.task
    return collate([task.problem("train", 0, i) for i in range(module.cell.task.batch)], task.pad)


def test_training(module: EBTModule) -> None:
    batch = batch_of(module)
    found = []
    module.backpropagate(batch)  # with a replay buffer the second batch is the larger one
    measured = counted(lambda: found.append(module.backpropagate(batch)))
    assert found[0][1] == pytest.approx(measured, rel=0.02)
    assert found[0][1] <= module.step_flops(batch) * (1 + 1e-12)


def test_thinking(module: EBTModule) -> None:
    batch = batch_of(module)
    for effort in module.likelihood_efforts():
        found = []
        measured = counted(lambda found=found, effort=effort: found.append(module.evaluate(batch, effort)))
        assert found[0].flops == pytest.approx(measured, rel=0.02)


def test_generation(module: EBTModule) -> None:
    problems = [module.task.problem("val", 0, i) for i in range(5)]
    for effort in (*module.efforts(), f"think_{module.arm.steps + 1}x2"):
        if module.arm.refiner == "head" and "x" in effort:
            continue  # nothing to choose between restarts by
        found = []
        measured = counted(lambda found=found, effort=effort: found.append(module.solve(problems, effort)))
        assert found[0].flops == pytest.approx(measured, rel=0.02)


def test_the_plan_knows_parameters_and_the_smallest_budget(module: EBTModule) -> None:
    total, inner = cost.parameters(module.cell, module.task)
    assert total == sum(p.numel() for p in module.parameters())
    assert inner == module.non_embedding_parameters()
    least = cost.minimum_flops(module.cell, module.task)
    for budget, steps in ((least, 1), (0.999 * least, 0)):
        cell = dataclasses.replace(module.cell, budget=Budget(flops=budget))
        own = EBTModule(cell, module.task)
        data = Problems(module.task, seed=0, batch=cell.task.batch, problems=4)
        quiet_trainer().fit(own, train_dataloaders=data.train_dataloader())
        assert own.steps == steps
        assert own.flops_spent <= budget
