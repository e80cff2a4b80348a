"""Inference of a trained arm: its start, its gate, its refinement.

Shapes as in ebt.energy; N candidates per sequence that a gate lets through.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from arena import flops
from arena.config import Size, require
from arena.seeding import generator
from ebt.config import EBTArm, Thinking
from ebt.energy import Context, EnergyModel
from ebt.gate import passing
from ebt.objective import correct
from ebt.slope import AnySlope
from ebt.think import Thought, initial_candidate, think


@dataclass(frozen=True, kw_only=True)
class EBT:
    """A trained arm, as inference needs it."""

    arm: EBTArm
    model: EnergyModel
    alpha: Tensor
    """Step size, a scalar."""
    cut: Tensor
    """Entropy in nats above which the gate lets a candidate through; for arm.gate=random the share
    it lets through."""

    def to(self, device: torch.device) -> "EBT":
        """The same on another device."""
        model, alpha, cut = self.model.to(device), self.alpha.to(device), self.cut.to(device)
        return replace(self, model=model, alpha=alpha, cut=cut)


class Noise:
    """One random generator per restart. A restart asked for again goes on where it stopped; the draws of the
    first do not depend on how many others there are."""

    def __init__(self, device: torch.device, *key: object) -> None:
        self._device, self._key = device, key
        self._generators: dict[int, torch.Generator] = {}

    def __call__(self, restart: int) -> torch.Generator:
        """The generator of a restart, by its number."""
        if restart not in self._generators:
            key = (*self._key, "restart", restart) if restart else self._key
            self._generators[restart] = generator(self._device, *key)
        return self._generators[restart]


def starts(
    arm: EBTArm, context: Context, shape: tuple[int, ...], device: torch.device, noise: Noise
) -> Callable[[int], Tensor]:
    """First candidates of a restart, by its number. From a head's or a zero start, every restart but the
    first adds N(0, 1) to its logits: otherwise all restarts would be the same."""

    def start(restart: int) -> Tensor:
        if context.start_BMV is None:
            kind = arm.start if restart == 0 else "noise"
            return initial_candidate(shape, kind, device, noise(restart))
        logits = context.start_BMV.detach().float()
        if restart == 0:
            return logits
        return logits + torch.randn(logits.shape, device=device, generator=noise(restart))

    return start


def infer(
    ebt: EBT,
    context: Context,
    shape: tuple[int, int],
    thinking: Thinking,
    *,
    noise: Noise,
    langevin: Noise | None = None,
    energy: bool = False,
    trajectory: bool = False,
    slope: AnySlope | None = None,
) -> Thought:
    """Think at every candidate, or, with a gate, where the head's start is uncertain.

    What a gate leaves alone keeps its start, took no step, and has no energy (NaN).

    Args:
        shape: number of sequences, and of candidates per sequence.
        noise: of the starts and of a random gate. langevin: of the steps.
        slope: of the model, where many calls share it.
    Raises:
        ConfigError: options that need an energy, of an arm without one; too many steps, as in think().
    """
    arm, vocabulary, device = ebt.arm, ebt.model.vocabulary, ebt.alpha.device
    if arm.refiner == "head":
        plain = Thinking(steps=thinking.steps, hold_last=thinking.hold_last)
        require(
            thinking == plain,
            "arm.refiner=head has no energy to choose, accept or stop by, and no step size; leave restarts, "
            "choose, accept, tolerance, langevin and alpha as they are",
        )
    start = starts(arm, context, (*shape, vocabulary), device, noise)
    if arm.gate == "none":
        return _refine(ebt, start, context, thinking, langevin, energy, trajectory, slope)
    first = start(0)
    scores_BM, through_BM = passing(arm, ebt.cut, first, noise(0))
    count = int(through_BM.sum(1).max())
    nothing = torch.zeros(shape, dtype=torch.long, device=device)
    blank = torch.full(shape, float("nan"), device=device) if energy else None
    if count == 0:
        return replace(untouched(first), energy_BM=blank)
    index_BN = scores_BM.topk(count, dim=1).indices
    inside_BN = through_BM.gather(1, index_BN)
    index_BNV = index_BN[..., None].expand(-1, -1, vocabulary)

    def some(restart: int) -> Tensor:
        return start(restart).gather(1, index_BNV)

    part = _refine(ebt, some, context.select(index_BN), thinking, langevin, energy, trajectory, slope)
    refined_BNV = torch.where(inside_BN[..., None], part.logits_BMV, first.gather(1, index_BNV))
    if blank is not None and part.energy_BM is not None:
        blank = blank.scatter(1, index_BN, part.energy_BM.masked_fill(~inside_BN, float("nan")))
    return replace(
        part,
        logits_BMV=first.scatter(1, index_BNV, refined_BNV),
        energy_BM=blank,
        steps_BM=nothing.scatter(1, index_BN, part.steps_BM * inside_BN),
    )


def _refine(
    ebt: EBT,
    start: Callable[[int], Tensor],
    context: Context,
    thinking: Thinking,
    langevin: Noise | None,
    energy: bool,
    trajectory: bool,
    slope: AnySlope | None,
) -> Thought:
    if ebt.arm.refiner == "energy":
        return think(
            ebt.model,
            start,
            context,
            thinking,
            ebt.alpha,
            ebt.arm.parametrisation,
            max_update=ebt.arm.max_update,
            noise=langevin,
            energy=energy,
            trajectory=trajectory,
            slope=slope,
        )
    y_BMV = start(0)
    with torch.no_grad():
        for step in range(thinking.steps):
            y_BMV = correct(ebt.model, y_BMV, context, step, ebt.alpha)
    steps_BM = torch.full(y_BMV.shape[:2], thinking.steps, device=y_BMV.device)
    return Thought(
        logits_BMV=y_BMV,
        energy_BM=None,
        steps_BM=steps_BM,
        gradients=0,
        forwards=thinking.steps,
        candidates=y_BMV.shape[0] * y_BMV.shape[1],
    )


def untouched(start_BMV: Tensor) -> Thought:
    """The start as an answer: no step of thinking."""
    steps_BM = torch.zeros(start_BMV.shape[:2], dtype=torch.long, device=start_BMV.device)
    return Thought(logits_BMV=start_BMV, energy_BM=None, steps_BM=steps_BM, gradients=0, forwards=0)


def think_flops(
    ebt: EBT,
    size: Size,
    thought: Thought,
    *,
    tokens: float,
    context_pairs: float,
    keys: float,
    predicted: float,
) -> float:
    """What a context of `tokens` and the thinking on it cost; each candidate sees `keys` tokens."""
    arm, vocabulary = ebt.arm, ebt.model.vocabulary
    return flops.ebt_think(
        size,
        vocabulary,
        tokens=tokens,
        context_pairs=context_pairs,
        candidates=thought.candidates,
        pairs=thought.candidates * keys,
        passes=thought.passes,
        predicted=predicted if arm.start == "head" else 0,
        outputs=1 if arm.refiner == "energy" else vocabulary,
    )
