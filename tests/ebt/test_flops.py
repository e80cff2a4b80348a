"""Counted FLOPs against torch's counter."""

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arena.config import Addition, Size, Text
from arena.data import collate
from arena.tasks import build_task
from ebt import cost
from ebt.config import EBTArm
from ebt.module import EBTModule, shape
from ebt.objective import s1_backward

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


@pytest.fixture(
    params=[(s, t) for s in SIZES for t in ("text", "addition")], ids=lambda p: f"{p[0].name}-{p[1]}"
)
def module(request, tiny_cell) -> EBTModule:
    size, name = request.param
    task = Text(name="text", context=24, batch=3) if name == "text" else Addition(name="addition", batch=6)
    cell = tiny_cell(EBTArm(name="ebt_s1", alpha=2.0), task, size=size)
    return EBTModule(cell, build_task(task))


def batch_of(module: EBTModule):
    task = module.task
    return collate([task.problem("train", 0, i) for i in range(module.cell.task.batch)], task.pad)


def test_training(module: EBTModule) -> None:
    batch = batch_of(module)
    parameters = [*module.model.parameters(), module.alpha]

    def step() -> None:
        s1_backward(
            module.model,
            module.observe(batch),
            module.start(batch),
            batch.targets_BM,
            batch.supervised_BM,
            steps=2,
            alpha=module.alpha,
            parametrisation="probs",
            parameters=parameters,
        )

    assert module.step_flops(batch) == pytest.approx(counted(step), rel=0.02)


def test_thinking(module: EBTModule) -> None:
    batch = batch_of(module)
    found = []
    measured = counted(lambda: found.append(module.evaluate(batch)))
    assert found[0].flops == pytest.approx(measured, rel=0.02)


def test_generation(module: EBTModule) -> None:
    problems = [module.task.problem("val", 0, i) for i in range(5)]
    found = []
    measured = counted(lambda: found.append(module.solve(problems, "think_2")))
    assert found[0].flops == pytest.approx(measured, rel=0.02)


def test_the_plan_knows_parameters_and_the_smallest_budget(module: EBTModule) -> None:
    batch = batch_of(module)
    total, inner = cost.parameters(module.cell, module.task)
    assert total == sum(p.numel() for p in module.parameters())
    assert inner == module.non_embedding_parameters()
    longest = max(len(p.prompt + p.completion) for p in batch.problems)
    if longest == sum(module.task.longest()):
        assert cost.minimum_flops(module.cell, module.task) == pytest.approx(module.step_flops(batch))
    assert shape(batch)["candidates"] == batch.targets_BM.numel()
