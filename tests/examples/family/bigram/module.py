"""The refined bigram model as a LightningModule.

Shapes (suffixes): P prompts, B sequences, M supervised tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from controls.bigram import cost
from controls.bigram.config import BigramArm
from torch import Tensor, nn

from arena.config import Cell, Size
from arena.contender import Likelihood, Solutions
from arena.data import Batch
from arena.decoder import Decoder
from arena.effort import Effort
from arena.ladder import with_default
from arena.policy import Policy
from arena.supervised import NextTokens
from arena.tasks.base import Problem, Task


class Bigram(Policy):
    """h_0 the last token's embedding, h_k = h_(k-1) + tanh(W h_(k-1)), and the logits of h_K."""

    def __init__(self, size: Size, vocabulary: int, steps: int) -> None:
        super().__init__()
        self.size, self.vocabulary = size, vocabulary
        self.embedding = nn.Embedding(vocabulary, size.width)
        self.refiner = nn.Linear(size.width, size.width, bias=False)
        self.head = nn.Linear(size.width, vocabulary, bias=False)
        self.take(steps)

    def take(self, steps: int) -> None:
        """Refine in so many steps from now on."""
        self.steps, self.shape = steps, cost.shape(self.size, self.vocabulary, steps)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (..., V) after each of the tokens (...)."""
        hidden = self.embedding(tokens)
        for _ in range(self.steps):
            hidden = hidden + self.refiner(hidden).tanh()
        return self.head(hidden)

    def predicted(self, batch: Batch) -> Tensor:
        return self(batch.tokens_BS.gather(1, batch.positions_BM))

    def read(self, prompts: Sequence[Sequence[int]], *, pad: int, length: int, group: int) -> Decoder:
        return BigramDecoder(self, prompts, group)

    def non_embedding_parameters(self) -> int:
        return sum(p.numel() for p in self.refiner.parameters())


class BigramDecoder(Decoder):
    """Of a prompt, the last token is all that counts."""

    def __init__(self, policy: Bigram, prompts: Sequence[Sequence[int]], group: int) -> None:
        self.policy, self.filled = policy, max(map(len, prompts))
        last_P = torch.tensor([prompt[-1] for prompt in prompts], device=policy.head.weight.device)
        self.logits_BV = policy(last_P).float().repeat_interleave(group, dim=0)

    def advance(self, tokens_B: Tensor, step: int) -> None:
        self.logits_BV = self.policy(tokens_B).float()


class BigramModule(NextTokens):
    """Trains on next tokens, and answers in any number of steps."""

    model: Bigram

    def __init__(self, cell: Cell, task: Task) -> None:
        assert isinstance(cell.arm, BigramArm)
        self.arm = cell.arm
        super().__init__(cell, task, Bigram(cell.size, task.vocabulary, cell.arm.steps))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self.next_token_step(batch, self.share_spent)

    def efforts(self) -> tuple[str, ...]:
        return with_default(self.arm.ladder, Effort(kind="refine", steps=self.arm.steps))

    def likelihood_efforts(self) -> tuple[str, ...]:
        return self.efforts()

    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        with self.at(effort or self.efforts()[-1]):
            return super().evaluate(batch)

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        with self.at(effort):
            return self.greedy(problems)

    def answers(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> dict[str, Solutions]:
        return {effort: self.solve(problems, effort, key) for effort in self.efforts()}

    @contextmanager
    def at(self, effort: str) -> Iterator[None]:
        """Refine in an effort's number of steps for a while."""
        self.model.take(Effort.parse(effort, ["refine_K"], "write refine_4 for 4 steps").steps)
        try:
            yield
        finally:
            self.model.take(self.arm.steps)
