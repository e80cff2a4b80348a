"""The plain transformer, as the tests of sampling use it."""

import pytest
import torch

from arena.config import Size
from arena.policy import TransformerPolicy
from arena.tasks.base import Task


@pytest.fixture
def model(task: Task) -> TransformerPolicy:
    """Two layers, freshly initialised: far from certain, so that every token has a chance."""
    torch.manual_seed(0)
    return TransformerPolicy(Size(name="test", layers=2, heads=2, width=32, lr=3e-3), task.vocabulary)
