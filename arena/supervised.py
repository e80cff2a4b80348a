"""Next-token training of a policy, and its likelihood: what every arm with a language model shares."""

import torch
import torch.nn.functional as F
from torch import Tensor

from arena import optim
from arena.config import Cell
from arena.contender import Contender, Likelihood
from arena.data import Batch
from arena.policy import Policy
from arena.rollout import log_probabilities, predicted_logits
from arena.shape import teacher_forced
from arena.tasks.base import Task

LIKELIHOOD = "likelihood"


class NextTokens(Contender):
    """A policy that is trained, at least at first, on the mean next-token loss over supervised tokens."""

    def __init__(self, cell: Cell, task: Task, model: Policy) -> None:
        super().__init__(cell, task)
        self.model = model

    def likelihood_efforts(self) -> tuple[str, ...]:
        return (LIKELIHOOD,)

    def non_embedding_parameters(self) -> int:
        return self.model.non_embedding_parameters()

    def forward_flops(self, batch: Batch) -> float:
        """Forward pass over the padded batch."""
        sequences, observed = batch.tokens_BS.shape
        predicted = batch.targets_BM.shape[1]
        return teacher_forced(self.model.shape, sequences=sequences, observed=observed, predicted=predicted)

    def step_flops(self, batch: Batch) -> float:
        return 3 * self.forward_flops(batch)

    def next_token_step(self, batch: Batch, share: float) -> Tensor:
        """One optimiser step on next tokens, `share` of the way through its schedule.

        Returns the logits before the step, (B, M, V), without a graph.
        """
        targets_BM = batch.targets_BM.masked_fill(~batch.supervised_BM, -100)
        logits_BMV = predicted_logits(self.model, batch)
        loss: Tensor = F.cross_entropy(logits_BMV.flatten(0, 1), targets_BM.flatten(), ignore_index=-100)
        self.manual_backward(loss)
        norm = self.optimise(optim.schedule(share, self.cell.trainer))
        self.spend("train", 3 * self.forward_flops(batch))
        self.problems += len(batch.problems) * self.ranks
        self.history.add(step=self.steps, flops=self.flops_spent, loss=loss, gradient_norm=norm)
        return logits_BMV.detach()

    @torch.no_grad()
    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        if effort not in (None, LIKELIHOOD):
            raise ValueError(
                f"effort={effort}: the only likelihood of {self.cell.arm.name} is `{LIKELIHOOD}`"
            )
        logp_BM = log_probabilities(predicted_logits(self.model, batch), batch)
        return Likelihood(
            nats_B=-logp_BM.sum(1), tokens_B=batch.supervised_BM.sum(1), flops=self.forward_flops(batch)
        )
