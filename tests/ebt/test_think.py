"""The recurrence of thinking, against its formula and finite differences, in fp64."""

import pytest
import torch
from torch import Tensor

from ebt.energy import Context, EnergyModel
from ebt.think import descend, initial_candidate, think
from tests.ebt.test_energy import LENGTH, VOCABULARY, model, p, tokens

__all__ = ["model", "p", "tokens"]
ALPHA = torch.tensor(0.7, dtype=torch.float64)


@pytest.fixture
def y() -> Tensor:
    return torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def finite_difference(model: EnergyModel, context: Context, point: Tensor, softmax: bool, i: int) -> Tensor:
    """dE/d(point) of candidate i of the first row, by central differences."""
    slope, h = torch.zeros(VOCABULARY, dtype=torch.float64), 1e-5
    for v in range(VOCABULARY):
        ends = []
        for sign in (1, -1):
            moved = point.clone()
            moved[0, i, v] += sign * h
            ends.append(model(moved.softmax(-1) if softmax else moved, context)[0, i])
        slope[v] = (ends[0] - ends[1]).detach() / (2 * h)
    return slope


def test_probs_update(model: EnergyModel, tokens: Tensor, y: Tensor) -> None:
    context = model.observe(tokens)
    updated, _, gradient = descend(model, y, context, 0, ALPHA, "probs", create_graph=False)
    p = y.softmax(-1)
    slope = finite_difference(model, context, p, softmax=False, i=2)
    torch.testing.assert_close(gradient[0, 2], slope, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(updated, p - ALPHA * gradient, atol=0, rtol=0)


def test_logits_update(model: EnergyModel, tokens: Tensor, y: Tensor) -> None:
    context = model.observe(tokens)
    updated, _, gradient = descend(model, y, context, 0, ALPHA, "logits", create_graph=False)
    slope = finite_difference(model, context, y, softmax=True, i=2)
    torch.testing.assert_close(gradient[0, 2], slope, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(updated, y - ALPHA * gradient, atol=0, rtol=0)


@pytest.mark.parametrize("parametrisation", ["probs", "logits"])
def test_a_constant_added_to_the_energy_changes_nothing(
    model: EnergyModel, tokens: Tensor, y: Tensor, parametrisation: str
) -> None:
    context = model.observe(tokens)
    before = think(model, y, context, 2, ALPHA, parametrisation)
    plain = EnergyModel.forward

    class Shifted(EnergyModel):
        def forward(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
            return plain(self, p_BMV, context, step) + 5.0

    model.__class__ = Shifted
    torch.testing.assert_close(think(model, y, context, 2, ALPHA, parametrisation), before)


def test_energy_falls_by_alpha_times_the_squared_gradient(
    model: EnergyModel, tokens: Tensor, y: Tensor
) -> None:
    context = model.observe(tokens)
    alpha = torch.tensor(1e-5, dtype=torch.float64)
    updated, energy, gradient = descend(model, y, context, 0, alpha, "logits", create_graph=False)
    fall = energy - model(updated.softmax(-1), context)
    torch.testing.assert_close(fall, alpha * gradient.square().sum(-1), rtol=1e-2, atol=1e-12)


def test_thinking_works_without_gradients_and_keeps_no_graph(
    model: EnergyModel, tokens: Tensor, y: Tensor
) -> None:
    with torch.no_grad():
        out = think(model, y, model.observe(tokens), 3, ALPHA, "probs")
    assert not out.requires_grad
    assert all(q.grad is None for q in model.parameters())


def test_starts() -> None:
    assert initial_candidate((2, 3), "zero", torch.device("cpu")).abs().max() == 0
    noise = initial_candidate((200, 200), "noise", torch.device("cpu"), torch.Generator().manual_seed(0))
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
