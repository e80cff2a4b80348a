"""Thinking (16 steps) against the dense two-stream formulation, in one run.

    python -m benchmarks.ebt_think [runs [steps]]

`ratio`: the dense formulation's time over ours; `memory_ratio`: likewise for peak memory.
"""

import sys

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from arena.config import Size
from benchmarks.common import device_in_use, last_line, peak_bytes, seconds_in_turn
from benchmarks.reference import dense_think
from ebt.config import Thinking
from ebt.energy import EnergyModel
from ebt.think import think

VOCABULARY, LENGTH, BATCH = 64, 64, 32
SIZE = Size(name="benchmark", layers=4, heads=4, width=128, lr=1e-3)


def main(runs: int = 5, steps: int = 16) -> None:
    """Time, measure, compare the outcomes, print."""
    device = device_in_use()
    torch.manual_seed(0)
    model = EnergyModel(SIZE, VOCABULARY, steps).to(device)
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH), device=device)
    y = torch.randn(BATCH, LENGTH, VOCABULARY, device=device)
    alpha = torch.tensor(1.0, device=device)

    def ours() -> Tensor:
        with torch.no_grad():
            context = model.observe(tokens)
            thought = think(model, lambda _: y, context, Thinking(steps=steps), alpha, "probs")
        return thought.logits_BMV

    def dense() -> Tensor:
        return dense_think(model, tokens, y, steps=steps, alpha=alpha)

    difference = float((ours() - dense()).abs().max())
    times = seconds_in_turn({"ours": ours, "dense": dense}, runs, device)
    memory = {"ours": peak_bytes(ours, device), "dense": peak_bytes(dense, device)}
    table = Table(title=f"{steps} steps of thinking: width 128, 4 layers, batch {BATCH} x {LENGTH}")
    for column in ("formulation", "seconds", "peak MB"):
        table.add_column(column)
    for name in times:
        table.add_row(name, f"{times[name]:.3f}", f"{memory[name] / 1e6:.0f}")
    Console().print(table)
    last_line(
        "ebt_think",
        device,
        ratio=round(times["dense"] / times["ours"], 3),
        memory_ratio=round(memory["dense"] / memory["ours"], 3),
        seconds={k: round(v, 4) for k, v in times.items()},
        largest_difference=difference,
        steps=steps,
        runs=runs,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
