"""The masked-diffusion transformer as a LightningModule."""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena import optim, ranks
from arena.config import Cell
from arena.contender import Contender, Likelihood, Solutions
from arena.data import Batch
from arena.effort import BOUND, Effort
from arena.ladder import with_default
from arena.seeding import generator
from arena.shape import fixed_shape
from arena.tasks.base import Problem, Task
from controls.diffusion import cost as diffusion_cost
from controls.diffusion import network as diffusion
from controls.diffusion.config import DiffusionArm
from controls.diffusion.network import MaskedTransformer


class DiffusionModule(Contender):
    """Masked diffusion over answers of fixed size. Its likelihood is an upper bound on the nats."""

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task)
        assert isinstance(cell.arm, DiffusionArm)
        self.arm = cell.arm
        self.prompt, self.answer = fixed_shape(cell, task)
        self.model = MaskedTransformer(cell.size, task.vocabulary, self.answer)

    def step_flops(self, batch: Batch) -> float:
        return 3 * self.forward_flops(len(batch.problems))

    def forward_flops(self, problems: int, passes: int = 1) -> float:
        """The prompts once, and `passes` over the answers."""
        return diffusion_cost.forward(self.cell.size, self.task, problems=problems, passes=passes)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        problems = len(batch.problems)
        rows = self.own_rows(problems)
        own = batch if rows is None else batch.rows(rows)
        random = generator(self.device, self.cell.seed, "masks", self.steps)
        rates_B = ranks.take(diffusion.rates(problems, random, self.device), rows)
        uniform_BM = torch.rand(batch.targets_BM.shape, generator=random, device=self.device)
        uniform_BM = ranks.take(uniform_BM, rows)
        # Shares are equal, so that the mean of their means is that of all.
        loss = diffusion.loss(self.model, self.prompts(own), own.targets_BM, rates_B, uniform_BM)
        self.manual_backward(loss)
        norm = self.optimise(optim.schedule(self.share_spent, self.cell.trainer))
        self.spend("train", self.step_flops(batch))
        self.problems += problems
        told = ranks.summed(loss) / self.ranks
        self.history.add(step=self.steps, flops=self.flops_spent, loss=told, gradient_norm=norm)

    def prompts(self, batch: Batch) -> Tensor:
        """Prompts (B, S) of a batch; the answer's tokens that its observed ones hold too are left out."""
        return batch.tokens_BS[:, : self.prompt]

    def efforts(self) -> tuple[str, ...]:
        return with_default(self.arm.ladder, Effort(kind="unmask", steps=self.arm.steps))

    def likelihood_efforts(self) -> tuple[str, ...]:
        return (BOUND,)

    @torch.no_grad()
    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        """An upper bound on the nats of each answer, estimated with the same masks at every call."""
        if effort not in (None, BOUND):
            raise ValueError(f"effort={effort}: the only likelihood of {self.arm.name} is `{BOUND}`")
        nats_B = diffusion.bound(
            self.model,
            self.prompts(batch),
            batch.targets_BM,
            levels=self.arm.levels,
            generator=generator(self.device, self.cell.seed, "bound"),
        )
        tokens_B = batch.supervised_BM.sum(1)
        cost = self.forward_flops(len(batch.problems), self.arm.levels)
        return Likelihood(nats_B=nats_B, tokens_B=tokens_B, flops=cost)

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        """Answers filled in by the effort's number of steps; nothing is drawn at random.

        Raises:
            ValueError: no such effort.
        """
        counts = diffusion.schedule(self.answer, self.steps_of(effort))
        cells_BM = self.fill(problems, counts)
        cost = self.forward_flops(len(problems), len(counts))
        return Solutions(completions=[tuple(row) for row in cells_BM.tolist()], flops=cost)

    def steps_of(self, effort: str) -> int:
        """Unmasking steps of an effort named `unmask_K`."""
        remedy = f"write unmask_K for K steps, such as {self.efforts()[-1]}"
        return Effort.parse(effort, ["unmask_K"], remedy).steps

    @torch.no_grad()
    def fill(self, problems: Sequence[Problem], counts: Sequence[int]) -> Tensor:
        """Answers (B, M), `counts` cells filled at each step."""
        prompts_BS = torch.tensor([p.prompt for p in problems], device=self.device)
        cells_BM = torch.full((len(problems), self.answer), self.model.mask, device=self.device)
        diffusion.unmask(self.model, self.model.read(prompts_BS), cells_BM, counts)
        return cells_BM

    def non_embedding_parameters(self) -> int:
        inner = (self.model.backbone, self.model.place)
        return sum(p.numel() for module in inner for p in module.parameters())
