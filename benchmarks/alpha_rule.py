"""One calibration rule for the step size, three vocabularies: does each train without tuning?

    python -m benchmarks.alpha_rule [steps [problems]]

The standard library's sources as half-bytes (16), bytes (256) and frequent words and signs (8,192),
the same backbone and recipe. Beside the calibrated step size stand the calibrated value of the
256-token vocabulary carried over to the others, a thirtieth and thirty times the calibrated one, and
the plain transformer after as many steps. Losses are nats a token on held-out text; `unigram` is what
knowing the frequencies alone would give: a vocabulary counts as trained when the calibrated loss is
below it. `ratio`: the smallest unigram loss over calibrated loss of the three.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.table import Table

from arena.config import Budget, Cell, Size, Text, TrainerConfig
from arena.contender import Contender
from arena.data import Problems
from arena.seeding import seed_everything
from arena.tasks import corpus
from arena.tasks.base import SPLITS, Problem, Task, Verdict, stream
from benchmarks.common import device_in_use, last_line
from ebt.config import EBTArm
from ebt.module import EBTModule
from rl_baseline.config import TransformerArm
from rl_baseline.supervised import TransformerModule

SIZE = Size(name="6xs", layers=2, heads=2, width=64, lr=4e-3)
CONTEXT, BATCH = 32, 8


class Tokens(Task):
    """Next-token prediction on the standard library under a vocabulary of choice."""

    end, pad, verifiable, symbols = None, 0, False, ""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.axes = {"domain": 1}
        texts = {name: corpus.standard_library().split(name) for name in SPLITS}
        if vocabulary == 16:
            self.data = {k: [h for byte in v for h in divmod(byte, 16)] for k, v in texts.items()}
        elif vocabulary == 256:
            self.data = {k: list(v) for k, v in texts.items()}
        else:
            words = {k: re.findall(r"\w+|\s+|[^\w\s]", v.decode(errors="replace")) for k, v in texts.items()}
            common = Counter(words["train"]).most_common(vocabulary - 1)
            index = {word: i + 1 for i, (word, _) in enumerate(common)}
            self.data = {k: [index.get(word, 0) for word in v] for k, v in words.items()}

    def problem(self, split: str, seed: int, index: int, severity: int = 0, axis: str = "") -> Problem:
        data = self.data[split]
        start = stream("tokens", split, seed, index) % (len(data) - CONTEXT)
        return Problem(prompt=(data[start],), answer=tuple(data[start + 1 : start + CONTEXT + 1]))

    def longest(self, severity: int = 0, axis: str = "") -> tuple[int, int]:
        return 1, CONTEXT

    def guess_rate(self, severity: int = 0, axis: str = "") -> float:
        return float(self.vocabulary) ** -CONTEXT

    def verify(self, problem: Problem, completion: Sequence[int]) -> Verdict:
        right = tuple(completion) == problem.answer
        return Verdict(correct=right, chain_correct=True, plan_correct=True, edit_distance=float(not right))

    def fingerprint(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary}

    def unigram(self) -> float:
        """Nats a held-out token under the training text's frequencies, add-one smoothed."""
        counts, total = Counter(self.data["train"]), len(self.data["train"]) + self.vocabulary
        held = self.data["test"]
        return -sum(math.log((counts[t] + 1) / total) for t in held) / len(held)


def train(
    task: Tokens, steps: int, problems: int, alpha: float | None = None, *, plain: bool = False
) -> tuple[float, float]:
    """Held-out loss and the step size that training began with."""
    arm = TransformerArm(name="transformer") if plain else EBTArm(name="ebt_s1", alpha=alpha)
    text = Text(name="tokens", context=CONTEXT, batch=BATCH)
    trainer_config = TrainerConfig()
    cell = Cell(arm=arm, task=text, size=SIZE, budget=Budget(flops=1.0), trainer=trainer_config, seed=0)
    seed_everything(0)
    probe = TransformerModule(cell, task) if plain else EBTModule(cell, task)
    data = Problems(task, seed=0, batch=BATCH, problems=problems)
    batch = next(iter(data.train_dataloader()))
    # As many steps for each: the budget follows from the cost of one.
    budget = Budget(flops=(steps + 0.5) * probe.step_flops(batch))
    cell = Cell(arm=arm, task=text, size=SIZE, budget=budget, trainer=trainer_config, seed=0)
    seed_everything(0)
    module: Contender = TransformerModule(cell, task) if plain else EBTModule(cell, task)
    trainer = lightning.Trainer(
        max_epochs=-1,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    trainer.fit(module, train_dataloaders=data.train_dataloader())
    parts = [module.evaluate(b.to(module.device)) for b in data.test_dataloader()]
    loss = float(sum(p.nats_B.sum() for p in parts) / sum(p.tokens_B.sum() for p in parts))
    first = module.history.rows[0].get("alpha", 0.0) if module.history.rows else 0.0
    return loss, first


def main(steps: int = 400, problems: int = 256) -> None:
    """Train, print the table and the JSON line."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    tasks = {v: Tokens(v) for v in (16, 256, 8192)}
    calibrated = {v: train(task, steps, problems) for v, task in tasks.items()}
    for v, task in tasks.items():
        loss, alpha = calibrated[v]
        found[str(v)] = {
            "alpha": alpha,
            "loss": loss,
            "loss_alpha_of_256": train(task, steps, problems, calibrated[256][1])[0],
            "loss_alpha_over_30": train(task, steps, problems, alpha / 30)[0],
            "loss_alpha_times_30": train(task, steps, problems, alpha * 30)[0],
            "transformer": train(task, steps, problems, plain=True)[0],
            "unigram": task.unigram(),
        }
    table = Table(title=f"EBT S1 after {steps} steps of {BATCH} x {CONTEXT} tokens, nats a held-out token")
    table.add_column("vocabulary")
    for column in next(iter(found.values())):
        table.add_column(column, justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{x:.3f}" for x in row.values()))
    Console(width=130).print(table)
    ratio = min(row["unigram"] / row["loss"] for row in found.values())
    figures = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 4))
    last_line("alpha_rule", device_in_use(), ratio=round(ratio, 3), steps=steps, vocabularies=figures, n=1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
