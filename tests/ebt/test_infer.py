"""Where restarts start from."""

import dataclasses

import pytest
import torch
from torch import Tensor

from ebt.config import EBTArm
from ebt.energy import EnergyModel
from ebt.infer import Noise, starts
from tests.ebt.test_energy import LENGTH, VOCABULARY, model, tokens

__all__ = ["model", "tokens"]
SHAPE = (3, LENGTH, VOCABULARY)


def noise() -> Noise:
    return Noise(torch.device("cpu"), "key")


@pytest.mark.parametrize("start", ["noise", "head"])
def test_every_restart_has_a_start_of_its_own(model: EnergyModel, tokens: Tensor, start: str) -> None:
    context = model.observe(tokens)
    if start == "head":
        logits = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
        context = dataclasses.replace(context, start_BMV=logits)
    first = starts(EBTArm(name="a", start=start), context, SHAPE, torch.device("cpu"), noise())
    several = [first(restart) for restart in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert ((several[a] - several[b]).abs() > 1e-6).float().mean() > 0.99
    # A restart's start does not depend on how many came before it: more restarts only add to them.
    alone = starts(EBTArm(name="a", start=start), context, SHAPE, torch.device("cpu"), noise())
    assert torch.equal(alone(2), several[2])
    if start == "head":
        assert torch.equal(several[0], logits)
        assert float((several[1] - logits).std()) == pytest.approx(1, abs=0.1)


def test_a_restarts_noise_goes_on_where_it_stopped() -> None:
    each = noise()
    assert not torch.equal(torch.randn(9, generator=each(1)), torch.randn(9, generator=each(1)))
