"""Booked FLOPs of sampling against counted ones."""

import pytest
import torch

from arena.config import Addition, Size
from arena.policy import TransformerPolicy
from arena.rollout import sample, sequence_seeds
from arena.tasks import build_task
from tests.counting import counted


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("digits", [4, 9])
def test_cached_sampling_costs_what_is_counted(digits, group):
    task = build_task(Addition(name="addition", min_digits=3, max_digits=digits))
    torch.manual_seed(0)
    model = TransformerPolicy(Size(name="test", layers=2, heads=2, width=32, lr=3e-3), task.vocabulary)
    prompts = [task.problem("train", 0, i).prompt for i in range(8)]
    seeds = sequence_seeds(prompts, group, 0)
    booked: list[float] = []
    actual = counted(
        lambda: booked.append(sample(model, task, prompts, length=6, group=group, seeds=seeds).flops)
    )
    assert booked == [pytest.approx(actual, rel=0.02)]
