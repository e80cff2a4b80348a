"""The plain transformer arm: next tokens, nothing else."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arena import optim
from arena.config import Cell
from arena.contender import Contender, Likelihood, Solutions
from arena.data import Batch
from arena.tasks.base import Problem, Task
from rl_baseline import cost
from rl_baseline.policy import build_policy
from rl_baseline.rollout import log_probabilities, predicted_logits, sample, sequence_seeds

GREEDY, SAMPLE, LIKELIHOOD = "greedy", "sample", "likelihood"


class TransformerModule(Contender):
    """Transformer++, or a pretrained model, on the mean next-token loss over a batch's supervised tokens."""

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task)
        self.model = build_policy(cell, task)

    def efforts(self) -> tuple[str, ...]:
        return GREEDY, SAMPLE

    def likelihood_efforts(self) -> tuple[str, ...]:
        return (LIKELIHOOD,)

    def non_embedding_parameters(self) -> int:
        return self.model.non_embedding_parameters()

    def forward_flops(self, batch: Batch) -> float:
        """Forward pass over the padded batch."""
        sequences, observed = batch.tokens_BS.shape
        predicted = batch.targets_BM.shape[1]
        return cost.teacher_forced(
            self.model.shape, sequences=sequences, observed=observed, predicted=predicted
        )

    def step_flops(self, batch: Batch) -> float:
        return 3 * self.forward_flops(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self.next_token_step(batch, self.share_spent)

    def next_token_step(self, batch: Batch, share: float) -> None:
        """One optimiser step on next tokens, `share` of the way through its schedule."""
        targets_BM = batch.targets_BM.masked_fill(~batch.supervised_BM, -100)
        logits_BMV = predicted_logits(self.model, batch)
        loss: Tensor = F.cross_entropy(logits_BMV.flatten(0, 1), targets_BM.flatten(), ignore_index=-100)
        self.manual_backward(loss)
        norm = self.optimise(optim.schedule(share, self.cell.trainer))
        self.spend("train", 3 * self.forward_flops(batch))
        self.problems += len(batch.problems) * self.ranks
        self.history.add(step=self.steps, flops=self.flops_spent, loss=loss, gradient_norm=norm)

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

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        """Completions: the most probable token each time, or a sample at temperature 1.

        A sample follows from the cell's seed, `key` and the prompt; the same prompt listed twice
        gets two samples.

        Raises:
            ValueError: no such effort.
        """
        if effort not in self.efforts():
            raise ValueError(f"effort={effort}: choose one of {', '.join(self.efforts())}")
        prompts = [p.prompt for p in problems]
        rollout = sample(
            self.model,
            self.task,
            prompts,
            length=max(self.task.longest(severity)[1] for severity in {p.severity for p in problems}),
            temperature=float(effort == SAMPLE),
            seeds=sequence_seeds(prompts, 1, self.cell.seed, "solve", *key),
        )
        return Solutions(completions=rollout.completions, flops=rollout.flops)
