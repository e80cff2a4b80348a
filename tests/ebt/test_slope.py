"""The written-out energy and slope against the model and autograd, in fp64."""

import dataclasses

import pytest
import torch
from torch import Tensor

from arena.config import Size
from arena.folded import unit
from ebt.energy import Context, EnergyModel
from ebt.slope import Slope
from ebt.think import descend

SIZE = Size(name="s", layers=3, heads=2, width=16, lr=1e-3)
VOCABULARY, LENGTH, STEPS = 11, 7, 2
EXACT = {"atol": 1e-11, "rtol": 1e-11}


def build(conditioning: str, vocabulary_map: str) -> EnergyModel:
    """A model whose every parameter matters: gains, gates and shifts away from where they start."""
    torch.manual_seed(0)
    model = EnergyModel(SIZE, VOCABULARY, STEPS, conditioning=conditioning, vocabulary_map=vocabulary_map)
    for name, parameter in model.named_parameters():
        if "norm" in name or name in ("modulation", "head.weight"):
            torch.nn.init.normal_(parameter, std=0.7)
    return model.double()


def context_of(model: EnergyModel, positions: Tensor | None = None) -> Context:
    tokens = torch.randint(VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    return model.observe(tokens, positions)


def candidates(count: int) -> Tensor:
    random = torch.Generator().manual_seed(2)
    return torch.randn(3, count, VOCABULARY, generator=random, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("conditioning", ["none", "step", "adaln", "adaln_zero"])
@pytest.mark.parametrize("vocabulary_map", ["learned", "tied"])
@pytest.mark.parametrize("where", ["everywhere", "chosen", "one"])
def test_energy_and_slope_are_autograds(conditioning: str, vocabulary_map: str, where: str) -> None:
    model = build(conditioning, vocabulary_map)
    positions = {
        "everywhere": None,
        "chosen": torch.tensor([[1, 4], [0, 6], [2, 3]]),
        "one": torch.full((3, 1), 6),
    }
    context = context_of(model, positions[where])
    p = candidates({"everywhere": LENGTH, "chosen": 2, "one": 1}[where]).requires_grad_()
    slope = Slope(model)
    for step in range(STEPS):
        energy = model(p, context, step)
        (gradient,) = torch.autograd.grad(energy.sum(), p)
        ours, own = slope(p, context, step)
        torch.testing.assert_close(ours, energy.detach(), **EXACT)
        torch.testing.assert_close(slope.energy(p, context, step), energy.detach(), **EXACT)
        torch.testing.assert_close(own, gradient, **EXACT)
        assert gradient.abs().max() > 0.1
        assert not own.requires_grad


def test_a_candidate_that_sees_everything_needs_no_mask() -> None:
    model, p = build("step", "learned"), candidates(1)
    context = context_of(model, torch.full((3, 1), LENGTH - 1))
    free = dataclasses.replace(context, mask=None)
    for ours, expected in zip(Slope(model)(p, free), Slope(model)(p, context), strict=True):
        assert torch.equal(ours, expected)
    torch.testing.assert_close(model(p, free), model(p, context))


def test_beyond_the_known_steps_the_last_one_goes_on() -> None:
    for conditioning in ("step", "adaln"):
        model, p = build(conditioning, "learned"), candidates(LENGTH)
        slope, context = Slope(model), context_of(model)
        for late, last in zip(slope(p, context, 7), slope(p, context, STEPS - 1), strict=True):
            assert torch.equal(late, last)


@pytest.mark.parametrize("parametrisation", ["probs", "logits", "mirror"])
@pytest.mark.parametrize("max_update", [None, 0.05])
def test_thinking_takes_the_steps_of_training(parametrisation: str, max_update: float | None) -> None:
    model = build("step", "learned")
    context, y = context_of(model), candidates(LENGTH).log() * 2
    alpha = torch.tensor(0.7, dtype=torch.float64)
    with_graph, without = (
        descend(model, y, context, 1, alpha, parametrisation, graph=graph, max_update=max_update)
        for graph in ("step", "none")
    )
    for a, b in zip(with_graph, without, strict=True):
        torch.testing.assert_close(a.detach(), b, **EXACT)
        assert not b.requires_grad


def test_a_norm_of_nothing_is_nothing() -> None:
    floor = torch.tensor(1e-3, dtype=torch.float64)
    u, r = unit(torch.zeros(2, 4, dtype=torch.float64), floor)
    assert u.abs().max() == 0
    assert (r == 1e-3).all()
