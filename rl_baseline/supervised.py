"""The plain transformer arm: next tokens, nothing else."""

from collections.abc import Sequence

from arena.config import Cell
from arena.contender import Solutions
from arena.data import Batch
from arena.rollout import sample, sequence_seeds
from arena.supervised import NextTokens
from arena.tasks.base import Problem, Task
from rl_baseline.policy import build_policy

GREEDY, SAMPLE = "greedy", "sample"


class TransformerModule(NextTokens):
    """Transformer++, or a pretrained model, on the mean next-token loss over a batch's supervised tokens."""

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task, build_policy(cell, task))

    def efforts(self) -> tuple[str, ...]:
        return GREEDY, SAMPLE

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self.next_token_step(batch, self.share_spent)

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
            length=max(self.task.longest(*place)[1] for place in {(p.severity, p.axis) for p in problems}),
            temperature=float(effort == SAMPLE),
            seeds=sequence_seeds(prompts, 1, self.cell.seed, "solve", *key),
        )
        return Solutions(completions=rollout.completions, flops=rollout.flops)
