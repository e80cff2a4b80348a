"""Several processes on one rollout: each samples and differentiates its share, all know all of it.

What depends on all samples (advantages, selections, denominators, controllers) is worked out by every process
from the same gathered rollout, so that it is what one process works out. Only sampling, forward and backward
passes are divided. Shapes (suffixes): B samples, T tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from arena.rollout import Rollout


def share(count: int, rank: int, ranks: int) -> range:
    """The consecutive rows, of `count`, that belong to a process; shares differ by one row at most."""
    return range(count * rank // ranks, count * (rank + 1) // ranks)


def gather(mine: Any) -> list[Any]:
    """What each process has, in the order of their ranks. Tensors come back on the host."""
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, mine)
    return every


def whole_rollout(mine: Rollout) -> Rollout:
    """The rollout of all processes, in the order of their ranks; its cost is this process's alone."""
    device = mine.logp_BT.device
    names = ("logp_BT", "entropy_BT", "mask_BT")
    parts = gather((mine.completions, *(getattr(mine, name).cpu() for name in names)))
    width = max(part[1].shape[1] for part in parts)
    columns = [rows([part[i] for part in parts], width).to(device) for i in (1, 2, 3)]
    return Rollout(
        completions=[completion for part in parts for completion in part[0]],
        flops=mine.flops,
        **dict(zip(names, columns, strict=True)),
    )


def rows(parts: Sequence[Tensor], width: int) -> Tensor:
    """Rows below one another, padded to `width` tokens by zeros: (B, width)."""
    return torch.cat([F.pad(part, (0, width - part.shape[1])) for part in parts])


def reduced(metrics: dict[str, Tensor], largest: Sequence[str]) -> dict[str, Tensor]:
    """Metrics summed over the processes; of those named in `largest`, the largest."""
    every = gather({name: value.cpu() for name, value in metrics.items()})
    device = next(iter(metrics.values())).device
    found: dict[str, Tensor] = {}
    for name in metrics:
        values = torch.stack([each[name] for each in every])
        found[name] = (values.amax(0) if name in largest else values.sum(0)).to(device)
    return found
