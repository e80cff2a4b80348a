"""Recipe S1: cross-entropy after every step, each step differentiated on its own."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebt.energy import Context, EnergyModel
from ebt.think import descend


def cross_entropy(logits_BMV: Tensor, targets_BM: Tensor, weights_BM: Tensor) -> Tensor:
    """Weighted sum of the negative log-likelihoods, nats."""
    losses = F.cross_entropy(logits_BMV.flatten(0, 1), targets_BM.flatten(), reduction="none")
    return (losses * weights_BM.flatten()).sum()


def s1_backward(
    model: EnergyModel,
    context: Context,
    y_BMV: Tensor,
    targets_BM: Tensor,
    supervised_BM: Tensor,
    *,
    steps: int,
    alpha: Tensor,
    parametrisation: str,
    parameters: Sequence[nn.Parameter],
) -> Tensor:
    """Add the gradient of the mean loss over steps to `.grad` of the parameters.

    The candidate is detached between steps, so each step is backpropagated as soon as it is taken:
    one step's graph is alive at a time, and the context's own graph is walked once, at the end.

    Returns:
        losses (steps,), nats a supervised token after each step, detached.
    """
    weights = supervised_BM.to(torch.float32)
    weights = weights / weights.sum()
    leaves = context.detached()
    flat = [t for pair in leaves.keys_values for t in pair]
    losses: list[Tensor] = []
    for step in range(steps):
        y_BMV, _, _ = descend(model, y_BMV, leaves, step, alpha, parametrisation, create_graph=True)
        loss = cross_entropy(y_BMV, targets_BM, weights)
        # Named inputs: the candidate is a leaf too, and nobody wants its gradient.
        (loss / steps).backward(inputs=[*parameters, *flat])
        losses.append(loss.detach())
    outputs = [t for pair in context.keys_values for t in pair]
    torch.autograd.backward(outputs, [t.grad for t in flat], inputs=list(parameters))
    return torch.stack(losses)
