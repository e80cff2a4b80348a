"""What the harness knows of an arm, and what all arms share: budget, costs, history, optimisation."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from arena import optim, ranks
from arena.config import Cell, require
from arena.data import Batch
from arena.tasks.base import Problem, Task


class Diverged(RuntimeError):
    """A loss, energy or gradient is not finite. The message names what, the step and the value."""


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Negative log-likelihood of a batch, one entry per problem."""

    nats_B: Tensor
    """Summed over the problem's supervised tokens."""
    tokens_B: Tensor
    """How many those are."""
    flops: float


@dataclass(frozen=True, kw_only=True)
class Solutions:
    """Completions, one per problem, and what producing all of them cost."""

    completions: list[tuple[int, ...]]
    flops: float


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """How one completion came about. Entry 0 is the start, before any step; all three are equally long."""

    completions: tuple[tuple[int, ...], ...]
    """The most probable completion after each step."""
    energy: tuple[float, ...]
    """Energy, summed over the completion's tokens; for one energy of a whole answer, that."""
    entropy: tuple[float, ...]
    """Entropy of the candidate distributions, nats per token."""


class History:
    """Training history: values stay on the device until `every` of them are there."""

    def __init__(self, every: int = 20) -> None:
        self.rows: list[dict[str, float]] = []
        self._pending: list[dict[str, Any]] = []
        self._every = every

    def add(self, **values: float | Tensor) -> None:
        """Append one row; `step` and `flops` are expected in it."""
        self._pending.append({k: v.detach() if isinstance(v, Tensor) else v for k, v in values.items()})
        if len(self._pending) >= self._every:
            self.flush()

    def flush(self) -> None:
        """Bring pending values to the host. Raises Diverged at the first that is not finite."""
        pending, self._pending = self._pending, []
        for row in pending:
            values = {k: float(v) for k, v in row.items()}
            for key, value in values.items():
                if not math.isfinite(value):
                    raise Diverged(f"{key} is {value} at step {values.get('step', 0):.0f}")
            self.rows.append(values)

    def state(self) -> dict[str, Any]:
        """All rows, for a snapshot: names, and a table (rows, names) in which NaN marks what a row lacks."""
        self.flush()
        names = list(dict.fromkeys(k for row in self.rows for k in row))
        table = [[row.get(name, math.nan) for name in names] for row in self.rows]
        return {"names": names, "table": torch.tensor(table, dtype=torch.float64)}

    def restore(self, state: dict[str, Any]) -> None:
        """Rows as `state` gave them."""
        names, table = state["names"], state["table"].tolist()
        self.rows = [{k: v for k, v in zip(names, row, strict=True) if v == v} for row in table]

    def columns(self, points: int) -> dict[str, list[float | None]]:
        """At most `points` rows, each the mean of a run of consecutive ones, as columns."""
        self.flush()
        names = list(dict.fromkeys(k for row in self.rows for k in row))
        size = max(1, math.ceil(len(self.rows) / points))
        chunks = [self.rows[i : i + size] for i in range(0, len(self.rows), size)]
        columns: dict[str, list[float | None]] = {name: [] for name in names}
        for chunk in chunks:
            for name in names:
                values = [row[name] for row in chunk if name in row]
                columns[name].append(sum(values) / len(values) if values else None)
        return columns


class Contender(lightning.LightningModule, ABC):
    """An arm: trains until its FLOP budget is spent, then is evaluated.

    Subclasses set `self.stage` when they enter a new stage of training; the harness evaluates at
    each change, so that a stage's end can be compared with the final result.
    """

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__()
        self.automatic_optimization = False  # the EBT and RL need more than one backward a batch
        self.cell, self.task = cell, task
        self.stage = "train"
        self.flops_by: dict[str, float] = {}
        self.steps = 0
        self.problems = 0
        self.reward_queries = 0
        self.seconds_aside = 0.0
        """Wall time of measurements between training steps: the harness books it as evaluation."""
        self.history = History()

    # What an arm provides.

    @abstractmethod
    def step_flops(self, batch: Batch) -> float:
        """Upper bound of what the next training step on `batch` costs, that of all processes."""

    @abstractmethod
    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        """Likelihood of the supervised tokens at an effort of `likelihood_efforts()`."""

    @abstractmethod
    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        """Completions at an effort of `efforts()`; what is random follows from seed and `key`."""

    @abstractmethod
    def efforts(self) -> tuple[str, ...]:
        """Names of the ways to produce an answer (arena/effort.py). The default is `greedy` where it is among
        them, else the last."""

    @abstractmethod
    def likelihood_efforts(self) -> tuple[str, ...]:
        """Names of the ways to compute a likelihood, cheapest first; the default one last."""

    @abstractmethod
    def non_embedding_parameters(self) -> int:
        """Parameters other than the maps between vocabulary and width."""

    def answers(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> dict[str, Solutions]:
        """Completions at every effort of `efforts()`, in their order.

        An arm may share between efforts what they have in common; each is charged what it costs alone.
        """
        return {effort: self.solve(problems, effort, key) for effort in self.efforts()}

    def trajectories(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> list[Trajectory]:
        """How the completions of some problems come about, one per problem; empty: nothing is refined."""
        return []

    # What they share.

    def training_state(self) -> dict[str, Any]:
        """What decides how training goes on, besides parameters and optimiser: tensors and plain data.

        An arm that keeps more than this adds it here and takes it back in `restore_training`.
        """
        return {
            "stage": self.stage,
            "flops_by": dict(self.flops_by),
            "steps": self.steps,
            "problems": self.problems,
            "reward_queries": self.reward_queries,
            "history": self.history.state(),
        }

    def restore_training(self, state: dict[str, Any]) -> None:
        """Go on from a state that `training_state` gave."""
        self.stage, self.flops_by = state["stage"], dict(state["flops_by"])
        self.steps, self.problems = state["steps"], state["problems"]
        self.reward_queries = state["reward_queries"]
        self.history.restore(state["history"])

    @property
    def flops_spent(self) -> float:
        """Training FLOPs so far."""
        return sum(self.flops_by.values())

    @property
    def ranks(self) -> int:
        """Processes that train this contender together, each a share of every batch."""
        return ranks.count()

    def mine(self, rows: int) -> range:
        """Of so many rows of a batch, those of this process."""
        return ranks.share(rows, ranks.own(), self.ranks)

    def own_rows(self, *parts: int) -> Tensor | None:
        """Indices of this process's rows in a batch of `parts`, a share of each; none: all are its own."""
        if self.ranks == 1:
            return None
        rows: list[int] = []
        for first, size in zip((0, *itertools.accumulate(parts)), parts, strict=False):
            rows += [first + i for i in self.mine(size)]
        return torch.tensor(rows, dtype=torch.long, device=self.device)

    @property
    def share_spent(self) -> float:
        """Share of the budget so far, 0 to 1: of its compute, or of its problems if that is more."""
        budget = self.cell.budget
        compute = self.flops_spent / budget.flops
        return compute if budget.problems is None else max(compute, self.problems / budget.problems)

    def spend(self, purpose: str, flops: float) -> None:
        """Book training FLOPs: of the whole batch, as one process computes it, whoever shares it."""
        self.flops_by[purpose] = self.flops_by.get(purpose, 0.0) + flops

    def setup(self, stage: str) -> None:
        """Refuse strategies under which gradients of gradients are wrong.

        Raises:
            ConfigError: sharded parameters.
        """
        strategy = self.trainer.strategy
        require(
            not isinstance(strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy),
            f"strategy={type(strategy).__name__}: sharded parameters are freed between a gradient and the "
            "gradient of it; use strategy=ddp, or one device",
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        """Stop before the step that would exceed the budget."""
        model = self.trainer.strategy.model
        if isinstance(model, DistributedDataParallel):
            # Its reducer expects one backward a step, and as many on every process; `optimise` averages over
            # processes instead. At each step, since Lightning asks for it again after each.
            model.require_backward_grad_sync = False
        budget = self.cell.budget
        seen = self.problems + len(batch.problems)
        enough = budget.problems is not None and seen > budget.problems
        if enough or self.flops_spent + self.step_flops(batch) > budget.flops:
            self.trainer.should_stop = True
            return -1
        return None

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def optimise(self, factor: float) -> Tensor:
        """Clip the gradients that stand in `.grad`, step at `factor` of the peak rates, clear them.

        Returns the gradient norm before clipping.
        """
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        if self.ranks > 1:
            for parameter in self.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.ranks
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.cell.trainer.clip)
        optim.set_rates(optimizer.optimizer, factor)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return norm

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optim.adamw(self.parameters(), self.cell.size.lr, self.cell.trainer)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._log_likelihood("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._log_likelihood("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[tuple[int, ...]]:
        """Completions at the first effort."""
        return self.solve(batch.problems, self.efforts()[0]).completions

    def _log_likelihood(self, split: str, batch: Batch) -> None:
        likelihood = self.evaluate(batch)
        loss = likelihood.nats_B.sum() / likelihood.tokens_B.sum()
        self.log(f"{split}/loss", loss, batch_size=len(batch.problems), prog_bar=False)
