"""Metrics of an optimiser step that several processes took together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena import ranks


def reduced(metrics: dict[str, Tensor], largest: Sequence[str]) -> dict[str, Tensor]:
    """Metrics summed over the processes; of those named in `largest`, the largest."""
    every = ranks.gather({name: value.cpu() for name, value in metrics.items()})
    device = next(iter(metrics.values())).device
    found: dict[str, Tensor] = {}
    for name in metrics:
        values = torch.stack([each[name] for each in every])
        found[name] = (values.amax(0) if name in largest else values.sum(0)).to(device)
    return found
