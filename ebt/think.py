"""Thinking: gradient descent on the energy, over candidate distributions.

One step (arXiv 2507.02092: released code; Eq. 1), with p = softmax(y):

    probs:   y' = p - alpha dE/dp
    logits:  y' = y - alpha dE/dy
    mirror:  y' = y - alpha dE/dp

The distribution that a step stands for is softmax(y'). Where candidates see each other there is one energy
for all of a sequence, (B, 1): what is chosen, accepted or stopped by it then holds for them together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from arena.config import ConfigError
from ebt.config import Thinking
from ebt.energy import Context, EnergyModel
from ebt.slope import AnySlope, slope_of


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
    *,
    graph: str = "none",
    max_update: float | None = None,
    slope: AnySlope | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of descent.

    Args:
        y_BMV: candidate.
        alpha: step size, a scalar or (B, M, 1).
        graph: what the result can be differentiated through: none; step, this step with the candidate
            held constant; all, the candidate's own history too.
        max_update: clamp of each entry of alpha times the gradient (the mean alpha's, as published).
        slope: of the model, where there is to be no graph and many steps share it.
    Returns:
        y' (B, M, V), the energy (B, M) of the candidate (of a whole answer: (B, 1)), and the gradient.
    """
    if graph == "none":
        return _move(
            slope or slope_of(model), y_BMV.detach(), context, step, alpha, parametrisation, max_update
        )
    with torch.enable_grad():
        y = y_BMV if graph == "all" else y_BMV.detach()
        point = y if parametrisation == "logits" else y.softmax(-1)
        if not point.requires_grad:
            point = point.detach().requires_grad_()
        energy = model(point.softmax(-1) if parametrisation == "logits" else point, context, step)
        # Energies of different candidates, or of different answers, do not interact: the gradient of the sum
        # is each one's own.
        (gradient,) = torch.autograd.grad(energy.sum(), point, create_graph=True)
        gradient = clamped(gradient, alpha, max_update)
        origin = y if parametrisation == "mirror" else point
        updated = (origin if graph == "all" else origin.detach()) - alpha * gradient
    return updated, energy, gradient


@torch.no_grad()
def _move(
    slope: AnySlope,
    y: Tensor,
    context: Context,
    step: int,
    alpha: Tensor,
    parametrisation: str,
    max_update: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    p = y.softmax(-1)
    energy, gradient = slope(p, context, step)
    if parametrisation == "logits":
        # Through the softmax: dE/dy = p (dE/dp - <p, dE/dp>).
        gradient = p * (gradient - (p * gradient).sum(-1, keepdim=True))
    gradient = clamped(gradient, alpha, max_update)
    return (p if parametrisation == "probs" else y) - alpha * gradient, energy, gradient


def clamped(gradient: Tensor, alpha: Tensor, max_update: float | None) -> Tensor:
    """The gradient with each entry of alpha times it within max_update (the mean alpha's, as published)."""
    if max_update is None:
        return gradient
    bound = max_update / alpha.detach().mean()
    return gradient.clamp(-bound, bound)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """What one descent went through, T steps: the state before each and the final one."""

    energies: list[Tensor]
    """T + 1 of (B, M)."""
    distributions: list[Tensor]
    """T + 1 of (B, M, V), softmax of the candidates."""


@dataclass(frozen=True, kw_only=True)
class Thought:
    """The outcome of thinking; nothing in it keeps a graph."""

    logits_BMV: Tensor
    energy_BM: Tensor | None
    """Energy of the outcome; none if nobody needed it."""
    steps_BM: Tensor
    """Steps that the kept descent took, rejected ones included."""
    gradients: int
    """Energy passes with their input gradient, over all candidates and restarts."""
    forwards: int
    """Energy passes without."""
    candidates: int = 0
    """Candidates in each pass."""
    trajectories: list[Trajectory] = field(default_factory=list)
    """One per restart, on request."""

    @property
    def passes(self) -> int:
        """Forward passes that all of it cost: a gradient costs one more."""
        return 2 * self.gradients + self.forwards


def think(
    model: EnergyModel,
    start: Callable[[int], Tensor],
    context: Context,
    thinking: Thinking,
    alpha: Tensor,
    parametrisation: str,
    *,
    max_update: float | None = None,
    noise: Callable[[int], torch.Generator] | None = None,
    energy: bool = False,
    trajectory: bool = False,
    slope: AnySlope | None = None,
) -> Thought:
    """Descend, as often and as long as asked; keeps no graph, works under no_grad and inference_mode.

    Args:
        start: first candidate (B, M, V) of a restart, by its number.
        noise: generator of a restart's Langevin noise, by its number; needed if there is any.
        energy: whether the outcome's energy is wanted, which costs one more forward pass.
        trajectory: whether to keep every state and its energy.
        slope: of the model, where many calls share it.
    Raises:
        ConfigError: more steps than the model's conditioning knows, without hold_last.
    """
    if model.knows_steps and thinking.steps > model.steps and not thinking.hold_last:
        raise ConfigError(
            f"steps={thinking.steps}: the energy is conditioned on {model.steps} steps; set hold_last=true "
            "to go on with the last one, or train with arm.conditioning=none"
        )
    if thinking.alpha is not None:
        alpha = torch.tensor(thinking.alpha, device=alpha.device, dtype=alpha.dtype)
    slope = slope or slope_of(model)
    best: Thought | None = None
    score: Tensor | None = None
    trajectories: list[Trajectory] = []
    gradients = forwards = 0
    for restart in range(thinking.restarts):
        generator = noise(restart) if noise is not None and thinking.langevin else None
        wants_energy = energy or trajectory or thinking.restarts > 1
        thought, first = _descent(
            slope,
            start(restart),
            context,
            thinking,
            alpha,
            parametrisation,
            max_update,
            generator,
            wants_energy,
            trajectory,
        )
        gradients, forwards = gradients + thought.gradients, forwards + thought.forwards
        trajectories += thought.trajectories
        if thought.energy_BM is None:
            best = thought
            continue
        rank = {
            "min_energy": -thought.energy_BM,
            "max_energy": thought.energy_BM,
            "largest_drop": first - thought.energy_BM,
        }[thinking.choose]
        if best is None or score is None or best.energy_BM is None:
            best, score = thought, rank
            continue
        better = rank > score
        score = torch.where(better, rank, score)
        best = Thought(
            logits_BMV=torch.where(better[..., None], thought.logits_BMV, best.logits_BMV),
            energy_BM=torch.where(better, thought.energy_BM, best.energy_BM),
            steps_BM=torch.where(better, thought.steps_BM, best.steps_BM),
            gradients=0,
            forwards=0,
        )
    assert best is not None
    return Thought(
        logits_BMV=best.logits_BMV,
        energy_BM=best.energy_BM,
        steps_BM=best.steps_BM,
        gradients=gradients,
        forwards=forwards,
        candidates=best.logits_BMV.shape[0] * best.logits_BMV.shape[1],
        trajectories=trajectories,
    )


def _descent(
    slope: AnySlope,
    y_BMV: Tensor,
    context: Context,
    thinking: Thinking,
    alpha: Tensor,
    parametrisation: str,
    max_update: float | None,
    generator: torch.Generator | None,
    wants_energy: bool,
    keep: bool,
) -> tuple[Thought, Tensor]:
    """One descent, and the energy (B, M) that it started from."""
    batch, candidates, _ = y_BMV.shape
    steps_BM = torch.zeros(batch, candidates, dtype=torch.long, device=y_BMV.device)
    moving_BM = torch.ones(batch, candidates, dtype=torch.bool, device=y_BMV.device)
    energies: list[Tensor] = []
    distributions: list[Tensor] = []
    previous_BM = first_BM = torch.full((batch, candidates), float("inf"), device=y_BMV.device)
    gradients = forwards = 0
    for step in range(thinking.steps):
        noisy = y_BMV
        if thinking.langevin and (step == 0 or thinking.langevin_steps == "all"):
            noise_BMV = torch.randn(y_BMV.shape, device=y_BMV.device, dtype=y_BMV.dtype, generator=generator)
            noisy = y_BMV + thinking.langevin * noise_BMV
        proposed, energy_BM, _ = _move(slope, noisy, context, step, alpha, parametrisation, max_update)
        gradients += 1
        if step == 0:
            first_BM = energy_BM
        if keep:
            energies.append(energy_BM)
            distributions.append(y_BMV.softmax(-1))
        if thinking.tolerance is not None:
            moving_BM = moving_BM & ((energy_BM - previous_BM).abs() > thinking.tolerance)
            if not bool(moving_BM.any()):
                if keep:
                    energies.pop()
                    distributions.pop()
                break
            previous_BM = energy_BM
        taken_BM = moving_BM
        if thinking.accept:
            # Against the state itself: noise may have lifted the energy that the step began with.
            before_BM = energy_BM if noisy is y_BMV else _energy(slope, y_BMV, context, step)
            taken_BM = taken_BM & (_energy(slope, proposed, context, step) < before_BM)
            forwards += 1 if noisy is y_BMV else 2
        steps_BM += moving_BM
        all_move = thinking.tolerance is None and not thinking.accept
        y_BMV = proposed if all_move else torch.where(taken_BM[..., None], proposed, y_BMV)
    final_BM = None
    if wants_energy:
        final_BM = _energy(slope, y_BMV, context, thinking.steps - 1)
        forwards += 1
    if keep and final_BM is not None:
        energies.append(final_BM)
        distributions.append(y_BMV.softmax(-1))
    thought = Thought(
        logits_BMV=y_BMV,
        energy_BM=final_BM,
        steps_BM=steps_BM,
        gradients=gradients,
        forwards=forwards,
        trajectories=[Trajectory(energies=energies, distributions=distributions)] if keep else [],
    )
    return thought, first_BM


def _energy(slope: AnySlope, y_BMV: Tensor, context: Context, step: int) -> Tensor:
    return slope.energy(y_BMV.softmax(-1), context, step)
