"""Problems to batches of tokens.

A batch is right-padded: prompt, completion, padding. `positions_BM` points at the observed tokens
after which a supervised token comes, `targets_BM` are those tokens, `supervised_BM` marks the real
ones: a contender computes nothing at positions that nobody asks about.
"""

import functools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from arena.tasks.base import Problem, Task, stream


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors on one device, and the problems they came from."""

    tokens_BS: Tensor
    """Observed tokens, int64: all but the last of prompt + completion."""
    positions_BM: Tensor
    """Index into S of the token before each supervised token, int64; padding points at 0."""
    targets_BM: Tensor
    """Supervised tokens, int64; padding holds 0."""
    supervised_BM: Tensor
    """Which entries are real, bool."""
    everywhere: bool
    """Whether every observed token is followed by a supervised one (or by padding)."""
    problems: tuple[Problem, ...]

    def rows(self, rows: Tensor) -> "Batch":
        """The given problems, padded as the whole."""
        return replace(
            self,
            tokens_BS=self.tokens_BS[rows],
            positions_BM=self.positions_BM[rows],
            targets_BM=self.targets_BM[rows],
            supervised_BM=self.supervised_BM[rows],
            problems=tuple(self.problems[i] for i in rows.tolist()),
        )

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        tensors = (self.tokens_BS, self.positions_BM, self.targets_BM, self.supervised_BM)
        tokens, positions, targets, supervised = (t.to(device, non_blocking=True) for t in tensors)
        return Batch(
            tokens_BS=tokens,
            positions_BM=positions,
            targets_BM=targets,
            supervised_BM=supervised,
            everywhere=self.everywhere,
            problems=self.problems,
        )


def collate(
    problems: Sequence[Problem], pad: int, completions: Sequence[Sequence[int]] | None = None
) -> Batch:
    """Stack problems, with their own completions or (for rollouts) the given ones."""
    done = [p.completion for p in problems] if completions is None else [tuple(c) for c in completions]
    rows = [p.prompt + c for p, c in zip(problems, done, strict=True)]
    length = max(map(len, rows)) - 1
    longest = max(1, max(map(len, done)))
    tokens, positions, targets, supervised = [], [], [], []
    for problem, completion, row in zip(problems, done, rows, strict=True):
        m = len(completion)
        gap = longest - m
        first = len(problem.prompt) - 1
        observed = row[: first + m] if m else row[: first + 1]
        tokens.append(observed + (pad,) * (length - len(observed)))
        positions.append((*range(first, first + m), *(0,) * gap))
        targets.append(tuple(completion) + (0,) * gap)
        supervised.append((True,) * m + (False,) * gap)
    return Batch(
        tokens_BS=torch.tensor(tokens),
        positions_BM=torch.tensor(positions),
        targets_BM=torch.tensor(targets),
        supervised_BM=torch.tensor(supervised),
        everywhere=all(len(p.prompt) == 1 for p in problems),
        problems=tuple(problems),
    )


class TrainingStream(IterableDataset[Batch]):
    """Endless batches of training problems; the i-th is a function of (task, seed, pool, i).

    Each of several processes sees the whole batch and computes its share of it (arena/ranks.py).
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        batch: int,
        *,
        pool: int | None = None,
        first: int = 0,
    ) -> None:
        self.task, self.seed, self.batch = task, seed, batch
        self.pool, self.first = pool, first

    def __iter__(self) -> Iterator[Batch]:
        index = self.first * self.batch
        while True:
            places = range(index, index + self.batch)
            problems = [self.task.problem("train", self.seed, self.drawn(i)) for i in places]
            yield collate(problems, self.task.pad)
            index += self.batch

    def drawn(self, place: int) -> int:
        """Index of the problem at a place in the stream: the place, or one of the pool's."""
        if self.pool is None:
            return place
        epoch, place = divmod(place, self.pool)
        return _epoch(self.seed, epoch, self.pool)[place]


@functools.lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, pool: int) -> list[int]:
    """The order in which an epoch goes over the pool."""
    order = list(range(pool))
    random.Random(stream("epoch", seed, epoch)).shuffle(order)
    return order


def held_out(task: Task, split: str, count: int, severity: int = 0, axis: str = "") -> list[Problem]:
    """Up to `count` distinct problems, the same for every arm and seed, so that comparisons are paired.

    A small split may hold fewer; what was measured on says n.
    """
    found: dict[tuple[int, ...], Problem] = {}
    for index in range(20 * count + 100):
        problem = task.problem(split, 0, index, severity, axis)
        found.setdefault(problem.prompt + problem.answer, problem)
        if len(found) == count:
            break
    return list(found.values())


class Problems(lightning.LightningDataModule):
    """Training stream and held-out problems of a task."""

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        batch: int,
        problems: int,
        pool: int | None = None,
        first: int = 0,
    ) -> None:
        """
        Args:
            pool: distinct training problems; none: without end.
            first: number of the training batch to begin with.
        """
        super().__init__()
        self.task, self.seed, self.batch, self.problems = task, seed, batch, problems
        self.pool, self.first = pool, first

    def train_dataloader(self) -> DataLoader[Batch]:
        batches = TrainingStream(self.task, self.seed, self.batch, pool=self.pool, first=self.first)
        return DataLoader(batches, batch_size=None)

    def _held_out(self, split: str) -> DataLoader[Batch]:
        problems = held_out(self.task, split, self.problems)
        batches = [
            collate(problems[i : i + self.batch], self.task.pad) for i in range(0, len(problems), self.batch)
        ]
        return DataLoader(batches, batch_size=None)  # pyright: ignore[reportArgumentType]

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._held_out("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._held_out("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._held_out("test")
