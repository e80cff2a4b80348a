"""EBT training step (S1) against the dense two-stream formulation, in one run.

    python -m benchmarks.ebt_step [runs [compile]]

`ratio`: the dense formulation's time over ours; `memory_ratio`: likewise for peak memory. With `compile`
the same for trainer.compile=true: `ratio_compiled`, and the seconds that its first step took.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from arena import flops
from arena.config import Size
from benchmarks.common import device_in_use, last_line, peak_bytes, seconds_in_turn
from benchmarks.reference import dense_s1_backward
from ebt.compiled import compiled
from ebt.config import EBTArm
from ebt.energy import EnergyModel
from ebt.objective import backward

VOCABULARY, LENGTH, BATCH, STEPS = 64, 64, 32, 2
SIZE = Size(name="benchmark", layers=4, heads=4, width=128, lr=1e-3)


def main(runs: int = 7, *, compile_too: bool = False) -> None:
    """Time, measure, compare the two gradients, print."""
    device = device_in_use()
    torch.manual_seed(0)
    model = EnergyModel(SIZE, VOCABULARY, STEPS).to(device)
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH), device=device)
    targets = torch.randint(VOCABULARY, (BATCH, LENGTH), device=device)
    weights = torch.full(targets.shape, 1 / targets.numel(), device=device)
    arm = EBTArm(name="ebt_s1", steps=STEPS)
    y = torch.randn(BATCH, LENGTH, VOCABULARY, device=device)
    alpha = torch.nn.Parameter(torch.tensor(10.0, device=device))
    parameters = [*model.parameters(), alpha]

    def clear() -> None:
        for parameter in parameters:
            parameter.grad = None

    def ours(**options: Any) -> None:
        clear()
        backward(
            arm,
            model,
            model.observe(tokens),
            y,
            targets,
            weights,
            steps=STEPS,
            alpha=alpha,
            parameters=parameters,
            **options,
        )

    def dense() -> None:
        clear()
        dense_s1_backward(model, tokens, y, targets, steps=STEPS, alpha=alpha, parameters=parameters)

    calls: dict[str, Callable[[], object]] = {"ours": ours, "dense": dense}
    if compile_too:
        calls["compiled"] = lambda: ours(take=compiled())
    gradients, first = {}, {}
    for name, call in calls.items():
        start = time.perf_counter()
        call()
        first[name] = time.perf_counter() - start
        gradients[name] = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    difference = {
        name: float((own - gradients["dense"]).norm() / gradients["dense"].norm())
        for name, own in gradients.items()
    }
    times = seconds_in_turn(calls, runs, device)
    memory = {"ours": peak_bytes(ours, device), "dense": peak_bytes(dense, device)}

    pairs = BATCH * LENGTH * LENGTH
    counted = flops.ebt_train(
        SIZE,
        VOCABULARY,
        tokens=BATCH * LENGTH,
        context_pairs=pairs,
        candidates=BATCH * LENGTH,
        pairs=pairs,
        steps=STEPS,
    )
    a = torch.randn(2048, 2048, device=device)
    matrix = 2 * 2048**3 / seconds_in_turn({"mm": lambda: a @ a}, runs, device)["mm"]
    share = counted / times["ours"] / matrix

    table = Table(
        title=f"EBT training step: width 128, 4 layers, batch {BATCH} x {LENGTH}, vocabulary {VOCABULARY}"
    )
    for column in ("formulation", "seconds", "peak MB"):
        table.add_column(column)
    for name in times:
        table.add_row(name, f"{times[name]:.3f}", f"{memory[name] / 1e6:.0f}" if name in memory else "-")
    Console().print(table)
    extra: dict[str, float] = {}
    if compile_too:
        extra["ratio_compiled"] = round(times["dense"] / times["compiled"], 3)
        extra["seconds_of_compilation"] = round(first["compiled"], 1)
        extra["gradient_difference_compiled"] = difference["compiled"]
    last_line(
        "ebt_step",
        device,
        ratio=round(times["dense"] / times["ours"], 3),
        memory_ratio=round(memory["dense"] / memory["ours"], 3),
        seconds={k: round(v, 4) for k, v in times.items()},
        gradient_difference=difference["ours"],
        gflops=round(counted / times["ours"] / 1e9, 1),
        share_of_matrix_rate=round(share, 3),
        **extra,
        runs=runs,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), compile_too=sys.argv[2:3] == ["compile"])
