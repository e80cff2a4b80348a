"""S1's gradient: the mean of single steps with the candidate held constant; fp64, finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference import dense_s1_backward
from ebt.energy import EnergyModel
from ebt.objective import s1_backward
from ebt.think import descend
from tests.ebt.test_energy import LENGTH, VOCABULARY, model, p, tokens

__all__ = ["model", "p", "tokens"]
STEPS = 2


@pytest.fixture
def alpha() -> nn.Parameter:
    return nn.Parameter(torch.tensor(1.3, dtype=torch.float64))


@pytest.fixture
def y() -> Tensor:
    return torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(4))


def ours(
    model: EnergyModel,
    tokens: Tensor,
    y: Tensor,
    targets: Tensor,
    mask: Tensor,
    alpha: nn.Parameter,
    kind: str = "probs",
) -> tuple[Tensor, list[Tensor]]:
    parameters = [*model.parameters(), alpha]
    for q in parameters:
        q.grad = None
    losses = s1_backward(
        model,
        model.observe(tokens),
        y,
        targets,
        mask,
        steps=STEPS,
        alpha=alpha,
        parametrisation=kind,
        parameters=parameters,
    )
    return losses, [torch.zeros_like(q) if q.grad is None else q.grad.clone() for q in parameters]


def test_equals_the_dense_formulation(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    losses, gradients = ours(model, tokens, y, targets, torch.ones_like(targets, dtype=torch.bool), alpha)
    parameters = [*model.parameters(), alpha]
    for q in parameters:
        q.grad = None
    expected = dense_s1_backward(model, tokens, y, targets, steps=STEPS, alpha=alpha, parameters=parameters)
    torch.testing.assert_close(losses, expected, atol=1e-6, rtol=1e-6)
    for gradient, q in zip(gradients, parameters, strict=True):
        assert q.grad is not None
        torch.testing.assert_close(gradient, q.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_gradient_matches_finite_differences_with_candidates_held(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter, kind: str
) -> None:
    mask = torch.ones_like(targets, dtype=torch.bool)
    mask[1, 3:] = False
    _, gradients = ours(model, tokens, y, targets, mask, alpha, kind)
    # The candidates that each step starts from, computed once and held while a parameter moves.
    starts, state = [], y
    for step in range(STEPS):
        starts.append(state)
        state = descend(model, state, model.observe(tokens), step, alpha, kind, create_graph=False)[0]

    def loss() -> float:
        total = 0.0
        for step, start in enumerate(starts):
            out = descend(model, start, model.observe(tokens), step, alpha, kind, create_graph=False)[0]
            total += float(F.cross_entropy(out[mask], targets[mask])) / STEPS
        return total

    parameters = [*model.named_parameters(), ("alpha", alpha)]
    generator = torch.Generator().manual_seed(5)
    for (name, q), gradient in zip(parameters, gradients, strict=True):
        index = int(torch.randint(q.numel(), (1,), generator=generator))
        with torch.no_grad():
            flat, h = q.view(-1), 1e-6
            original = float(flat[index])
            flat[index] = original + h
            up = loss()
            flat[index] = original - h
            down = loss()
            flat[index] = original
        assert float(gradient.view(-1)[index]) == pytest.approx((up - down) / (2 * h), abs=2e-7), name


def test_gradient_of_alpha_is_minus_the_inner_product(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    _, gradients = ours(model, tokens, y, targets, torch.ones_like(targets, dtype=torch.bool), alpha)
    expected, state = torch.zeros((), dtype=torch.float64), y
    for step in range(STEPS):
        state, _, g = descend(model, state, model.observe(tokens), step, alpha, "probs", create_graph=False)
        logits = state.detach().requires_grad_()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        (slope,) = torch.autograd.grad(loss, logits)
        expected -= (slope * g).sum() / STEPS
    torch.testing.assert_close(gradients[-1], expected)


def test_padding_takes_no_part(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    mask = torch.ones_like(targets, dtype=torch.bool)
    mask[:, 5:] = False
    losses, gradients = ours(model, tokens, y, targets, mask, alpha)
    other = targets.clone()
    other[:, 5:] = 0
    noise = y.clone()
    noise[:, 5:] += 3
    changed, same = ours(model, tokens, noise, other, mask, alpha)
    torch.testing.assert_close(losses, changed)
    for a, b in zip(gradients, same, strict=True):
        torch.testing.assert_close(a, b)
