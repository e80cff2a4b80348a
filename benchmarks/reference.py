"""The dense two-stream formulation of the EBT, as plainly as the paper states it.

Observed and candidate streams are one doubled sequence of 2S tokens under a dense mask, recomputed
at every step of thinking; the candidate keeps its graph as autograd builds it. It shares the
parameters of an EnergyModel, so that losses and gradients can be compared to the last digit.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arena.transformer import Block, rotary_tables
from ebt.energy import EnergyModel


def dense_energy(model: EnergyModel, tokens_BS: Tensor, p_BSV: Tensor, step: int) -> Tensor:
    """Energies (B, S) from one pass over observed and candidate tokens together."""
    length = tokens_BS.shape[1]
    order = torch.arange(length, device=tokens_BS.device)
    assert model.candidate is not None
    candidate = model.candidate(p_BSV)
    if model.step is not None:
        candidate = candidate + model.step.weight[step]
    x = torch.cat((model.embedding(tokens_BS), candidate), dim=1)
    tables = rotary_tables(torch.cat((order, order + 1)), model.backbone.head_width)
    causal = order <= order[:, None]
    itself = torch.eye(length, dtype=torch.bool, device=tokens_BS.device)
    top = torch.cat((causal, torch.zeros_like(itself)), dim=1)
    allowed = torch.cat((top, torch.cat((causal, itself), dim=1)), dim=0)
    for block in model.backbone.blocks:
        assert isinstance(block, Block)
        q, k, v = block.project(x, tables)
        scores = (q @ k.mT) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
        x = block.finish(x, weights @ v)
    return model.head(model.backbone.norm(x))[:, length:, 0]


def dense_s1_backward(
    model: EnergyModel,
    tokens_BS: Tensor,
    y_BSV: Tensor,
    targets_BS: Tensor,
    *,
    steps: int,
    alpha: Tensor,
    parameters: Sequence[nn.Parameter],
) -> Tensor:
    """S1 training step, parametrisation probs; losses (steps,), gradients in `.grad`."""
    losses: list[Tensor] = []
    for step in range(steps):
        p = y_BSV.detach().softmax(-1).requires_grad_()
        energy = dense_energy(model, tokens_BS, p, step)
        (gradient,) = torch.autograd.grad(energy.sum(), p, create_graph=True)
        y_BSV = p - alpha * gradient
        losses.append(F.cross_entropy(y_BSV.flatten(0, 1), targets_BS.flatten()))
    torch.stack(losses).mean().backward()
    return torch.stack(losses).detach()


def dense_think(model: EnergyModel, tokens_BS: Tensor, y_BSV: Tensor, *, steps: int, alpha: Tensor) -> Tensor:
    """Logits (B, S, V) after `steps` steps, parametrisation probs, everything recomputed each step."""
    for step in range(steps):
        p = y_BSV.softmax(-1).detach().requires_grad_()
        energy = dense_energy(model, tokens_BS, p, step)
        (gradient,) = torch.autograd.grad(energy.sum(), p)
        y_BSV = (p - alpha * gradient).detach()
    return y_BSV
