"""The looped transformer: the same blocks applied again, no energy.

Shapes (suffixes): B batch, S sequence, W model width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from arena.config import Cell, Size
from arena.contender import Likelihood, Solutions
from arena.data import Batch
from arena.decoder import Decoder, TransformerDecoder
from arena.effort import Effort
from arena.ladder import with_default
from arena.policy import TransformerPolicy
from arena.seeding import generator
from arena.supervised import NextTokens
from arena.tasks.base import Problem, Task
from controls.looped.config import LoopedArm
from controls.looped.cost import looped_shape


class LoopedPolicy(TransformerPolicy):
    """h_1 = blocks(e), h_r = blocks(h_(r-1) + e): the embedded input e is added at each loop (input
    injection, arXiv 2311.12424 and 2409.15647), the last norm and the head come after the last loop.

    It has no parameter that the plain transformer has not, and with one loop it is the plain transformer.
    """

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__(size, vocabulary)
        self.once = self.shape
        self.repeat(1)

    def repeat(self, loops: int) -> None:
        """Apply the blocks so many times from now on."""
        self.loops = loops
        self.shape = looped_shape(self.once, loops)

    def forward(
        self,
        tokens_BS: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Hidden states (B, S, W) after the last norm; keys and values of every block, loop by loop."""
        if positions is None:
            positions = torch.arange(tokens_BS.shape[1], device=tokens_BS.device)
        x_BSW = embedded_BSW = self.embedding(tokens_BS)
        layers = len(self.backbone.blocks)
        context: list[tuple[Tensor, Tensor]] = []
        for loop in range(self.loops):
            if loop:
                x_BSW = x_BSW + embedded_BSW
            earlier = None if cache is None else cache[loop * layers : (loop + 1) * layers]
            x_BSW, own = self.backbone.observe(x_BSW, positions, mask, earlier)
            context += own
        return self.backbone.norm(x_BSW), context

    def read(self, prompts: Sequence[Sequence[int]], *, pad: int, length: int, group: int) -> Decoder:
        return TransformerDecoder(self, prompts, pad, length, group, self.loops)


class LoopedModule(NextTokens):
    """Next tokens, with a number of loops drawn anew for each step; the gradient passes all of them."""

    model: LoopedPolicy

    def __init__(self, cell: Cell, task: Task) -> None:
        assert isinstance(cell.arm, LoopedArm)
        super().__init__(cell, task, LoopedPolicy(cell.size, task.vocabulary))
        self.arm = cell.arm

    def drawn(self) -> int:
        """Loops of the next training step; they follow from the seed and the step's number."""
        random = generator("cpu", self.cell.seed, "loops", self.steps)
        return 1 + int(torch.randint(self.arm.most, (), generator=random))

    def step_flops(self, batch: Batch) -> float:
        """Of the next step, with the loops that it will draw."""
        now = self.model.loops
        self.model.repeat(self.drawn())
        cost = super().step_flops(batch)
        self.model.repeat(now)
        return cost

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        self.model.repeat(self.drawn())
        self.next_token_step(batch, self.share_spent)

    def efforts(self) -> tuple[str, ...]:
        return with_default(self.arm.ladder, Effort(kind="loop", steps=self.arm.loops))

    def likelihood_efforts(self) -> tuple[str, ...]:
        return self.efforts()

    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        self.model.repeat(self._loops(effort or self.efforts()[-1]))
        return super().evaluate(batch)

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        """Completions: the most probable token each time, after so many loops.

        Raises:
            ValueError: no such effort.
        """
        self.model.repeat(self._loops(effort))
        return self.greedy(problems)

    def answers(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> dict[str, Solutions]:
        return {effort: self.solve(problems, effort, key) for effort in self.efforts()}

    def _loops(self, effort: str) -> int:
        remedy = f"write loop_R for R loops, such as {self.efforts()[-1]}"
        return Effort.parse(effort, ["loop_K"], remedy).steps
