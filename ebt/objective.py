"""Training: cross-entropy of the candidates along a descent, and what its gradient crosses.

Recipes (arXiv 2507.02092): S1 differentiates every step on its own, S2 the last step alone; a full
unroll differentiates the whole descent.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arena import ranks
from ebt.config import EBTArm
from ebt.energy import Context, EnergyModel
from ebt.think import descend


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What one training step leaves behind besides the gradients; detached."""

    losses: Tensor
    """Nats a supervised token after each step that the loss saw."""
    logits_BMV: Tensor
    """The last candidates."""


def cross_entropy(
    logits_BMV: Tensor, targets_BM: Tensor, weights_BM: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Weighted sum of the negative log-likelihoods, nats."""
    losses = F.cross_entropy(
        logits_BMV.flatten(0, 1), targets_BM.flatten(), reduction="none", label_smoothing=smoothing
    )
    return (losses * weights_BM.flatten()).sum()


def contrast(
    model: EnergyModel, energy_BM: Tensor, targets_BM: Tensor, weights_BM: Tensor, context: Context, step: int
) -> Tensor:
    """-log of the true token's share in exp(-E), against the candidates whose energy is given.

    Source: the released code's calculate_contrastive_loss, with one-hot true candidates.
    """
    true = F.one_hot(targets_BM, model.vocabulary).to(energy_BM.dtype)
    gap_BM = model(true, context, step) - energy_BM
    return (F.softplus(gap_BM) * weights_BM).sum()


def backward(
    arm: EBTArm,
    model: EnergyModel,
    context: Context,
    y_BMV: Tensor,
    targets_BM: Tensor,
    weights_BM: Tensor,
    *,
    steps: int,
    alpha: Tensor,
    factor: Tensor | None = None,
    parameters: Sequence[nn.Parameter],
    extra: Tensor | None = None,
    noise: torch.Generator | None = None,
    rows: tuple[int, Tensor] | None = None,
    at_once: int | None = None,
    take: Callable[..., tuple[Tensor, Tensor, Tensor]] = descend,
) -> Trained:
    """Add the gradient of the arm's loss to `.grad` of the parameters.

    With arm.graph=step each step is backpropagated as soon as it is taken: one step's graph is alive
    at a time. Candidates do not see each other, so that their descents can be taken in parts too, which
    costs nothing and gives the same sum. In every case the context's own graph is walked once, at the end.

    Args:
        y_BMV: first candidates, a constant.
        weights_BM: weight of each target; they sum to 1 over the batch.
        alpha: step size, a scalar.
        factor: of each position's alpha, (B, M, 1), the same at every step.
        extra: one more loss, on the context's graph (the language-model head's).
        noise: of the Langevin steps.
        rows: where these are some problems of a larger batch: its size and their places in it; the noise is
            drawn for all of it.
        at_once: most candidates of a sequence whose graph is alive at a time; none: all.
        take: what takes a step with a graph: ebt.think.descend, or its compiled form.
    """
    leaves = context.detached()
    flat = [t for pair in leaves.keys_values for t in pair]
    # Named inputs: the candidate is a leaf too, and nobody wants its gradient.
    inputs = [*parameters, *flat]
    noises: list[Tensor] = []
    if arm.langevin:
        problems, places = rows or (len(y_BMV), None)
        shape = (problems, *y_BMV.shape[1:])
        for _ in range(steps):
            drawn = torch.randn(shape, device=y_BMV.device, dtype=y_BMV.dtype, generator=noise)
            noises.append(arm.langevin * ranks.take(drawn, places))
    candidates = y_BMV.shape[1]
    size = at_once or candidates
    parts: list[Trained] = []
    for first in range(0, candidates, size):
        end = min(first + size, candidates)
        part = functools.partial(_part, first, end)
        parts.append(
            _descent(
                arm,
                model,
                leaves if size >= candidates else leaves.span(first, end),
                *map(part, (y_BMV, targets_BM, weights_BM)),
                steps=steps,
                alpha=alpha,
                factor=None if factor is None else part(factor),
                noises=[part(x) for x in noises],
                inputs=inputs,
                take=take,
            )
        )
    outputs = [t for pair in context.keys_values for t in pair]
    gradients = [t.grad for t in flat]
    if extra is not None:
        outputs, gradients = [*outputs, extra], [*gradients, None]
    torch.autograd.backward(outputs, gradients, inputs=list(parameters))
    return Trained(
        losses=torch.stack([part.losses for part in parts]).sum(0),
        logits_BMV=torch.cat([part.logits_BMV for part in parts], dim=1),
    )


def _part(first: int, end: int, x: Tensor) -> Tensor:
    return x[:, first:end]


def _descent(
    arm: EBTArm,
    model: EnergyModel,
    context: Context,
    y_BMV: Tensor,
    targets_BM: Tensor,
    weights_BM: Tensor,
    *,
    steps: int,
    alpha: Tensor,
    factor: Tensor | None,
    noises: Sequence[Tensor],
    inputs: Sequence[Tensor],
    take: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> Trained:
    """The descent of some candidates; adds its gradient to the inputs'."""
    losses: list[Tensor] = []
    kept: list[Tensor] = []
    for step in range(steps):
        last = step + 1 == steps
        graph = arm.graph if arm.graph != "last" or last else "none"
        if graph == "last":
            graph = "step"
        if noises:
            y_BMV = y_BMV + noises[step]
        rate = alpha if factor is None else alpha * factor
        if arm.refiner == "head":
            y_BMV, energy_BM = correct(model, y_BMV, context, step, rate), None
        else:
            y_BMV, energy_BM, _ = (descend if graph == "none" else take)(
                model,
                y_BMV,
                context,
                step,
                rate,
                arm.parametrisation,
                graph=graph,
                max_update=arm.max_update,
            )
        if arm.loss == "last" and not last:
            continue
        smoothing = arm.soft_targets * (1 - step / (steps - 1)) if steps > 1 else 0.0
        loss = cross_entropy(y_BMV, targets_BM, weights_BM, smoothing)
        losses.append(loss.detach())
        if arm.loss == "all":
            loss = loss / steps
        if last and arm.contrastive and energy_BM is not None:
            loss = loss + arm.contrastive * contrast(model, energy_BM, targets_BM, weights_BM, context, step)
        if arm.graph == "all":
            kept.append(loss)
        else:
            loss.backward(inputs=inputs)
            y_BMV = y_BMV.detach()
    if kept:
        torch.stack(kept).sum().backward(inputs=inputs)
    return Trained(losses=torch.stack(losses), logits_BMV=y_BMV.detach())


def correct(model: EnergyModel, y_BMV: Tensor, context: Context, step: int, alpha: Tensor) -> Tensor:
    """The control without an energy: the candidate stream's own logits are added."""
    return y_BMV.detach() + alpha * model.head(model.hidden(y_BMV.detach().softmax(-1), context, step))
