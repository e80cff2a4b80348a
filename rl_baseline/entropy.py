"""Entropy of the policy: what it is at each token, and the controllers that keep it up.

Shapes (suffixes): B samples, T tokens, V vocabulary. Entropies are in nats, over the full vocabulary, at
temperature 1 unless said otherwise.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rl_baseline.aggregation import masked_mean
from rl_baseline.config import RLArm


def token_entropies(logits_BTV: Tensor, mask_BT: Tensor) -> Tensor:
    """Entropy of each next-token distribution, differentiable; 0 outside the mask. (B, T)."""
    logp_BTV = F.log_softmax(logits_BTV, dim=-1)
    return -(logp_BTV.exp() * logp_BTV).sum(-1).masked_fill(~mask_BT, 0.0)


def mean_entropy(entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over tokens, then over responses, as in the entropy law (arXiv 2505.22617)."""
    return (entropy_BT.masked_fill(~mask_BT, 0.0).sum(1) / mask_BT.sum(1)).mean()


def shape(advantages_BT: Tensor, entropy_BT: Tensor, *, scale: float, bound: float) -> Tensor:
    """A + min(scale * H, |A| / bound), H detached.

    With bound >= 1 no advantage changes its sign. Source: arXiv 2506.14758, eq. 4.
    """
    extra_BT = torch.minimum(scale * entropy_BT.detach(), advantages_BT.abs() / bound)
    return advantages_BT + extra_BT


class Controller:
    """Coefficient of the entropy in the loss, and temperature of the next rollout.

    This one keeps both as they are: no bonus, or one of constant weight.
    """

    def __init__(self, arm: RLArm) -> None:
        self.arm = arm
        self.coefficient = arm.entropy_coef if arm.entropy == "bonus" else 0.0
        self.temperature = arm.temperature

    def observe(
        self, entropy_BT: Tensor, logp_BT: Tensor, mask_BT: Tensor, share: float = 0.0
    ) -> dict[str, float]:
        """Look at a finished rollout, set coefficient and temperature for what follows.

        Args:
            entropy_BT, logp_BT: as in Rollout.
            share: of RL's compute that is spent, 0 to 1.
        Returns:
            what held during that rollout, columns of the history.
        """
        return {}

    def annealed(self, start: float, share: float) -> float:
        """The target by now: a straight line from where it started to `entropy_target_end`."""
        end = self.arm.entropy_target_end
        return start if end is None else start + (end - start) * min(max(share, 0.0), 1.0)

    def state(self) -> dict[str, float | None]:
        """Everything that `observe` changes."""
        return {name: value for name, value in vars(self).items() if name != "arm"}

    def restore(self, state: dict[str, float | None]) -> None:
        """As `state` gave it. Raises KeyError if that was another kind of controller."""
        if state.keys() != self.state().keys():
            raise KeyError(f"controller of {', '.join(state)}")
        vars(self).update(state)


class AdaptiveCoefficient(Controller):
    """A coefficient that grows while the entropy is below target and shrinks while it is not.

    The bonus is applied only after a rollout whose entropy was below target.
    Source: Skywork-OR1, arXiv 2505.22312, section 4.3.
    """

    def __init__(self, arm: RLArm) -> None:
        super().__init__(arm)
        self.target = arm.entropy_target
        self.kept = arm.entropy_min

    def observe(
        self, entropy_BT: Tensor, logp_BT: Tensor, mask_BT: Tensor, share: float = 0.0
    ) -> dict[str, float]:
        return self.step(float(mean_entropy(entropy_BT, mask_BT)), share)

    def step(self, entropy: float, share: float = 0.0) -> dict[str, float]:
        """`observe` of a rollout with this mean entropy."""
        held = {"entropy_coef": self.coefficient}
        if self.target is None:
            self.target = entropy
        below = entropy < self.annealed(self.target, share)
        change = self.arm.entropy_step if below else -self.arm.entropy_step
        self.kept = min(max(self.kept + change, self.arm.entropy_min), self.arm.entropy_max)
        self.coefficient = self.kept if below else 0.0
        return held


class MatchedTemperature(Controller):
    """A control: exploration is kept up by the sampling temperature, and the loss is left alone.

    The entropy of the distribution that is sampled from is estimated by the mean of -log p of what was
    sampled. Its slope in the log temperature is the variance of log p within a state; the variance over
    all tokens is no smaller, so Newton's step with it falls short rather than over.
    """

    def __init__(self, arm: RLArm) -> None:
        super().__init__(arm)
        self.target = arm.entropy_target

    def observe(
        self, entropy_BT: Tensor, logp_BT: Tensor, mask_BT: Tensor, share: float = 0.0
    ) -> dict[str, float]:
        sampled = float(mean_entropy(-logp_BT, mask_BT))
        mean = masked_mean(logp_BT, mask_BT)
        variance = float(masked_mean((logp_BT - mean).square(), mask_BT))
        return self.step(sampled, variance, share)

    def step(self, sampled: float, variance: float, share: float = 0.0) -> dict[str, float]:
        """`observe` of a rollout with this entropy and this variance of log p, nats and nats^2."""
        held = {"temperature": self.temperature, "entropy_sampled": sampled}
        if self.target is None:
            self.target = sampled
        limit, arm = self.arm.temperature_step, self.arm
        # A variance of next to nothing: a policy that is certain everywhere.
        away = self.annealed(self.target, share) - sampled
        change = min(max(away / max(variance, 1e-6), -limit), limit)
        low, high = arm.temperature / arm.temperature_max, arm.temperature * arm.temperature_max
        self.temperature = min(max(self.temperature * math.exp(change), low), high)
        return held


def controller(arm: RLArm) -> Controller:
    """The controller that the arm's configuration asks for."""
    kinds = {"adaptive": AdaptiveCoefficient, "temperature": MatchedTemperature}
    return kinds.get(arm.entropy, Controller)(arm)
