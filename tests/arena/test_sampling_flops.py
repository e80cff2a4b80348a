"""Counted FLOPs of sampling against torch's counter, on the math kernel: it does not see fused attention."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arena.config import Addition, Size
from arena.policy import TransformerPolicy
from arena.rollout import sample, sequence_seeds
from arena.tasks import build_task


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("digits", [4, 9])
def test_cached_sampling_costs_what_is_counted(digits, group):
    task = build_task(Addition(name="addition", min_digits=3, max_digits=digits))
    torch.manual_seed(0)
    model = TransformerPolicy(Size(name="test", layers=2, heads=2, width=32, lr=3e-3), task.vocabulary)
    prompts = [task.problem("train", 0, i).prompt for i in range(8)]
    seeds = sequence_seeds(prompts, group, 0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        rollout = sample(model, task, prompts, length=6, group=group, seeds=seeds)
    assert rollout.flops == pytest.approx(counter.get_total_flops(), rel=0.02)
