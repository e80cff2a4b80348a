"""The plain transformer arm: next tokens, nothing else."""

from arena.config import Cell
from arena.data import Batch
from arena.effort import GREEDY, SAMPLE
from arena.supervised import NextTokens
from arena.tasks.base import Task
from rl_baseline.policy import build_policy


class TransformerModule(NextTokens):
    """Transformer++, or a pretrained model, on the mean next-token loss over a batch's supervised tokens."""

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task, build_policy(cell, task))

    def efforts(self) -> tuple[str, ...]:
        return GREEDY, SAMPLE, *self.cell.arm.ladder

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self.next_token_step(batch, self.share_spent)
