"""The energy-based arm as a LightningModule."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arena import flops, optim
from arena.config import Cell
from arena.contender import Contender, Likelihood, Solutions
from arena.data import Batch, collate
from arena.seeding import generator
from arena.tasks.base import Problem, Task
from ebt.config import EBTArm
from ebt.cost import CALIBRATION_PROBLEMS
from ebt.energy import Context, EnergyModel
from ebt.generate import generate
from ebt.objective import s1_backward
from ebt.think import descend, initial_candidate, think

MIN_ALPHA = 1e-4


class EBTModule(Contender):
    """Autoregressive EBT, recipe S1 (arXiv 2507.02092)."""

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task)
        assert isinstance(cell.arm, EBTArm)
        self.arm = cell.arm
        self.model = EnergyModel(cell.size, task.vocabulary, self.arm.steps, self.arm.step_embedding)
        start = torch.tensor(float("nan") if self.arm.alpha is None else self.arm.alpha)
        self.alpha = nn.Parameter(start, requires_grad=self.arm.alpha_lr > 0)

    def on_fit_start(self) -> None:
        if torch.isnan(self.alpha):
            self.calibrate()

    def calibrate(self) -> None:
        """Set alpha so that the first update has the root mean square arm.alpha_target.

        The gradient's scale follows from the vocabulary, the width and the initialisation; measuring
        it on one small batch spares a user from tuning alpha for each.
        """
        problems = [
            self.task.problem("train", self.cell.seed, i)
            for i in range(min(CALIBRATION_PROBLEMS, self.cell.task.batch))
        ]
        batch = collate(problems, self.task.pad).to(self.device)
        context = self.observe(batch)
        y = self.start(batch, "calibrate")
        one = torch.ones((), device=self.device)
        _, _, gradient = descend(self.model, y, context, 0, one, self.arm.parametrisation, create_graph=False)
        scale = gradient[batch.supervised_BM].square().mean().sqrt()
        with torch.no_grad():
            self.alpha.fill_(float(self.arm.alpha_target / scale.clamp_min(1e-12)))
        self.spend(
            "calibrate", flops.ebt_think(self.cell.size, self.task.vocabulary, steps=1, **shape(batch))
        )
        rates = self.optimizers()
        assert not isinstance(rates, list)
        rates.optimizer.param_groups[-1]["peak_lr"] = self.alpha_rate()

    def alpha_rate(self) -> float:
        """Peak learning rate of alpha."""
        scale = float(self.alpha.detach())
        return self.arm.alpha_lr * self.cell.size.lr * (scale if scale == scale else 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        model = list(self.model.parameters())
        alpha = {"params": [self.alpha], "lr": self.alpha_rate()}
        return optim.adamw(model, self.cell.size.lr, self.cell.trainer, undecayed=alpha)

    def observe(self, batch: Batch) -> Context:
        """Context of a batch's supervised positions."""
        return self.model.observe(batch.tokens_BS, None if batch.everywhere else batch.positions_BM)

    def start(self, batch: Batch, *key: object) -> Tensor:
        """First candidates of a batch; the noise follows from the cell's seed and `key`."""
        size = (*batch.targets_BM.shape, self.task.vocabulary)
        noise = generator(self.device, self.cell.seed, "candidate", *key)
        return initial_candidate(size, self.arm.start, self.device, noise)

    def step_flops(self, batch: Batch) -> float:
        return flops.ebt_train(self.cell.size, self.task.vocabulary, steps=self.arm.steps, **shape(batch))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        cost = self.step_flops(batch)
        factor = optim.schedule(self.share_spent, self.cell.trainer)
        parameters = [*self.model.parameters(), *([self.alpha] if self.alpha.requires_grad else [])]
        losses = s1_backward(
            self.model,
            self.observe(batch),
            self.start(batch, "train", self.steps),
            batch.targets_BM,
            batch.supervised_BM,
            steps=self.arm.steps,
            alpha=self.alpha,
            parametrisation=self.arm.parametrisation,
            parameters=parameters,
        )
        norm = self.optimise(factor)
        with torch.no_grad():
            self.alpha.clamp_(min=MIN_ALPHA)
        self.spend("train", cost)
        self.problems += len(batch.problems)
        self.history.add(
            step=self.steps,
            flops=self.flops_spent,
            loss=losses[-1],
            first_loss=losses[0],
            gradient_norm=norm,
            alpha=self.alpha.detach().clone(),
        )

    def likelihood_efforts(self) -> tuple[str, ...]:
        return (f"think_{self.arm.steps}",)

    def efforts(self) -> tuple[str, ...]:
        return (f"think_{self.arm.steps}",)

    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        steps = steps_of(effort or self.likelihood_efforts()[-1])
        with torch.no_grad():
            logits = think(
                self.model,
                self.start(batch, "evaluate"),
                self.observe(batch),
                steps,
                self.alpha,
                self.arm.parametrisation,
            )
            nats = F.cross_entropy(logits.float().mT, batch.targets_BM, reduction="none")
        supervised = batch.supervised_BM
        return Likelihood(
            nats_B=(nats * supervised).sum(1),
            tokens_B=supervised.sum(1),
            flops=flops.ebt_think(self.cell.size, self.task.vocabulary, steps=steps, **shape(batch)),
        )

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        return generate(
            self.model,
            problems,
            self.task,
            steps=steps_of(effort),
            alpha=self.alpha,
            parametrisation=self.arm.parametrisation,
            start=self.arm.start,
            noise=generator(self.device, self.cell.seed, "solve", *key),
            size=self.cell.size,
        )

    def non_embedding_parameters(self) -> int:
        maps = (self.model.embedding, self.model.candidate)
        embedding = sum(p.numel() for module in maps for p in module.parameters())
        return sum(p.numel() for p in self.parameters()) - embedding


def steps_of(effort: str) -> int:
    """Steps of thinking of an effort named `think_K`."""
    return int(effort.removeprefix("think_"))


def shape(batch: Batch) -> dict[str, float]:
    """What arena.flops needs to know of a batch."""
    (b, s), m = batch.tokens_BS.shape, batch.targets_BM.shape[1]
    return {"tokens": b * s, "context_pairs": b * s * s, "candidates": b * m, "pairs": b * m * s}
