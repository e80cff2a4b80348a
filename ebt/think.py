"""Thinking: gradient descent on the energy, over candidate distributions.

One step (arXiv 2507.02092, released code; Eq. 1 for `logits`), with p = softmax(y):

    probs:   y' = p - alpha dE/dp
    logits:  y' = y - alpha dE/dy

The distribution that a step stands for is softmax(y').
"""

import torch
from torch import Tensor

from ebt.energy import Context, EnergyModel


def initial_candidate(
    shape: tuple[int, ...], start: str, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """First candidate y: N(0, 1) or zeros."""
    if start == "zero":
        return torch.zeros(shape, device=device)
    return torch.randn(shape, device=device, generator=generator)


def descend(
    model: EnergyModel,
    y_BMV: Tensor,
    context: Context,
    step: int,
    alpha: Tensor,
    parametrisation: str,
    create_graph: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of descent from a candidate that is held constant.

    Args:
        y_BMV: candidate; its own history is cut off.
        create_graph: whether the result can be differentiated with respect to the parameters.
    Returns:
        y' (B, M, V), the energy (B, M) of the candidate, and the gradient (B, M, V).
    """
    with torch.enable_grad():
        y = y_BMV.detach()
        if parametrisation == "probs":
            point = origin = y.softmax(-1)
            point = point.requires_grad_()
            energy = model(point, context, step)
        else:
            origin = y
            point = y.requires_grad_()
            energy = model(point.softmax(-1), context, step)
        # Energies of different candidates do not interact: the gradient of the sum is each one's own.
        (gradient,) = torch.autograd.grad(energy.sum(), point, create_graph=create_graph)
        updated = origin.detach() - alpha * gradient
    if not create_graph:
        updated, energy, gradient = updated.detach(), energy.detach(), gradient.detach()
    return updated, energy, gradient


def think(
    model: EnergyModel,
    y_BMV: Tensor,
    context: Context,
    steps: int,
    alpha: Tensor,
    parametrisation: str,
) -> Tensor:
    """Logits (B, M, V) after `steps` steps; keeps no graph, works under no_grad."""
    for step in range(steps):
        y_BMV, _, _ = descend(model, y_BMV, context, step, alpha, parametrisation, create_graph=False)
    return y_BMV
