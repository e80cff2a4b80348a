"""Several processes on one batch: each computes its share of the rows, all know the whole.

What depends on a whole batch (random draws, denominators, costs, stages) is worked out by every process from
the whole batch, so that it is what one process works out. Only forward and backward passes are divided.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def count() -> int:
    """Processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(rows: int, rank: int, ranks: int) -> range:
    """The consecutive rows, of `rows`, that belong to a process; shares differ by one row at most."""
    return range(rows * rank // ranks, rows * (rank + 1) // ranks)


def summed(value: Tensor) -> Tensor:
    """Sum over the processes, detached; the value itself where there is one process."""
    if count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def gather(mine: Any) -> list[Any]:
    """What each process has, in the order of their numbers. Give tensors that lie on the host."""
    if count() == 1:
        return [mine]
    every: list[Any] = [None] * count()
    dist.all_gather_object(every, mine)
    return every


def take(whole: Tensor, rows: Tensor | None) -> Tensor:
    """The given rows; all of them for none."""
    return whole if rows is None else whole[rows]


def whole(mine: Tensor, rows: Tensor | None) -> Tensor:
    """The rows of all processes in their places, from this one's; the other way round to `take`."""
    if rows is None:
        return mine
    every = gather((rows.cpu(), mine.cpu()))
    places = torch.cat([place for place, _ in every])
    return torch.cat([part for _, part in every])[places.argsort()].to(mine.device)
