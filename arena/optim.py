"""Optimiser and schedule, the same for every arm: AdamW, cosine in the share of compute spent."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from arena.config import TrainerConfig


def adamw(
    parameters: Iterable[nn.Parameter],
    lr: float,
    config: TrainerConfig,
    *,
    undecayed: dict[str, object] | None = None,
) -> torch.optim.AdamW:
    """AdamW (0.9, 0.999); `undecayed` is one more group with its own `params` and `lr`."""
    groups: list[dict[str, object]] = [{"params": list(parameters), "lr": lr}]
    if undecayed is not None:
        groups.append({"weight_decay": 0.0, **undecayed})
    optimizer = torch.optim.AdamW(
        groups, lr=lr, betas=(0.9, 0.999), weight_decay=config.weight_decay, fused=True
    )
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def schedule(share: float, config: TrainerConfig) -> float:
    """Learning rate over its peak after `share` of the compute: linear warm-up, cosine to lr_end."""
    if share < config.warmup:
        # The first step is taken at share 0; a rate of zero would waste it.
        return max(share / config.warmup, 0.02)
    done = min(1.0, (share - config.warmup) / (1 - config.warmup))
    return config.lr_end + (1 - config.lr_end) * 0.5 * (1 + math.cos(math.pi * done))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
