"""Generation of 128 tokens against the dense two-stream formulation, in one run.

    python -m benchmarks.ebt_generate [runs [tokens]]

The dense formulation recomputes the whole prefix, and a candidate for each of its positions, at every
step of every token, as the public code does. `ratio`: its time over ours; `flat`: our time for a
token after a prompt of 384 tokens over one after 16.
"""

import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from arena.config import Size
from benchmarks.common import device_in_use, last_line, peak_bytes, seconds_in_turn
from benchmarks.reference import dense_think
from ebt.config import EBTArm, Thinking
from ebt.decode import Decoder
from ebt.energy import EnergyModel
from ebt.infer import EBT, Noise

VOCABULARY, PROMPT, BATCH, STEPS = 64, 16, 4, 2
SIZE = Size(name="benchmark", layers=4, heads=4, width=128, lr=1e-3)


def main(runs: int = 3, tokens: int = 128) -> None:
    """Time, measure, compare the tokens, print."""
    device = device_in_use()
    torch.manual_seed(0)
    model = EnergyModel(SIZE, VOCABULARY, STEPS).to(device)
    arm = EBTArm(name="benchmark", start="zero", steps=STEPS)
    one = torch.tensor(1.0, device=device)
    ebt = EBT(arm=arm, model=model, alpha=one, cut=one)
    prompts = torch.randint(VOCABULARY, (BATCH, 384), device=device)

    def ours(length: int = PROMPT, limit: int = tokens) -> Tensor:
        decoder = Decoder(ebt, SIZE, noise=Noise(device, 0))
        return decoder.run(prompts[:, :length], limit=limit, thinking=Thinking(steps=STEPS))

    def dense() -> Tensor:
        rows = prompts[:, :PROMPT]
        for _ in range(tokens):
            y = torch.zeros((*rows.shape, VOCABULARY), device=device)
            logits = dense_think(model, rows, y, steps=STEPS, alpha=one)
            rows = torch.cat((rows, logits[:, -1:].argmax(-1)), dim=1)
        return rows[:, PROMPT:]

    equal = float((ours() == dense()).float().mean())
    times = seconds_in_turn({"ours": ours, "dense": dense}, runs, device)
    # The difference between two lengths leaves the prompt's own pass out.
    calls: dict[str, Callable[[], object]] = {}
    for length in (PROMPT, 384):
        for limit in (4, 36):
            calls[f"{length}+{limit}"] = lambda length=length, limit=limit: ours(length, limit)
    parts = seconds_in_turn(calls, 2 * runs + 1, device)
    flat = (parts["384+36"] - parts["384+4"]) / (parts[f"{PROMPT}+36"] - parts[f"{PROMPT}+4"])
    memory = {"ours": peak_bytes(ours, device), "dense": peak_bytes(dense, device)}
    table = Table(title=f"{tokens} tokens of {STEPS} steps: width 128, 4 layers, batch {BATCH}")
    for column in ("formulation", "seconds", "ms a token", "peak MB"):
        table.add_column(column)
    for name in times:
        milliseconds = 1e3 * times[name] / tokens
        table.add_row(name, f"{times[name]:.2f}", f"{milliseconds:.1f}", f"{memory[name] / 1e6:.0f}")
    Console().print(table)
    last_line(
        "ebt_generate",
        device,
        ratio=round(times["dense"] / times["ours"], 3),
        memory_ratio=round(memory["dense"] / memory["ours"], 3),
        flat=round(flat, 3),
        seconds={k: round(v, 4) for k, v in times.items()},
        equal_tokens=round(equal, 4),
        tokens=tokens,
        runs=runs,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
