"""One way to seed: everything random in a cell follows from the cell's seed and a label."""

import random

import numpy
import torch

from arena.tasks.base import stream


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator(device: torch.device | str, *key: object) -> torch.Generator:
    """A generator of its own for the purpose that `key` names."""
    return torch.Generator(device=device).manual_seed(stream(*key) % 2**63)
