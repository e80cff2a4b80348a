"""The residual energy over whole answers as a LightningModule.

Shapes (suffixes): B problems, N = B * k sequences (sequence n answers problem n // k), T tokens.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from arena import optim, ranks, selection
from arena.config import Cell
from arena.data import Batch
from arena.effort import GREEDY, SAMPLE, Effort
from arena.policy import TransformerPolicy
from arena.rollout import sample_together, sequence_seeds
from arena.shape import supervised_step
from arena.supervised import NextTokens, Samples
from arena.tasks.base import Problem, Task
from ebt.verifier import cost as verifier_cost
from ebt.verifier.config import VerifierArm
from ebt.verifier.residual import Residual, contrast, stack

WARM_START, VERIFY = "warm_start", "verify"


class VerifierModule(NextTokens):
    """A transformer and a residual energy over its answers, in two stages.

    `warm_start`: the plain transformer's training, its whole schedule laid over `arm.warm_start` of
    the budget. `verify`: the start is frozen; a second network of the same backbone, which begins from
    the start's weights, learns to tell the data's answers from the start's own (arXiv 2004.11714).
    No reward and no verifier is asked. The likelihood is the start's: the residual model's own would
    need its partition function, which only bounds are known of.
    """

    rules: ClassVar[tuple[str, ...]] = selection.OF_AN_ENERGY

    def __init__(self, cell: Cell, task: Task) -> None:
        assert isinstance(cell.arm, VerifierArm)
        super().__init__(cell, task, TransformerPolicy(cell.size, task.vocabulary))
        self.arm = cell.arm
        self.residual = Residual(cell.size, task.vocabulary)
        self.stage = WARM_START
        self.contrasts = 0

    def training_state(self) -> dict[str, Any]:
        return {**super().training_state(), "contrasts": self.contrasts}

    def restore_training(self, state: dict[str, Any]) -> None:
        super().restore_training(state)
        self.contrasts = state["contrasts"]

    def step_flops(self, batch: Batch) -> float:
        if self.stage == WARM_START:
            return super().step_flops(batch)
        return verifier_cost.contrast_step(
            self.arm,
            self.cell.size,
            self.task.vocabulary,
            problems=len(batch.problems),
            prompt=max(len(p.prompt) for p in batch.problems),
            completion=self.task.longest()[1],
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.stage == VERIFY:
            self.contrast_step(batch.problems)
            return
        self.next_token_step(batch, self.share_spent / self.arm.warm_start)
        # Looked at after the step, so that who watches the stage sees it end before the next begins.
        next_step = supervised_step(self.model.shape, self.task, self.cell.task.batch)
        if self.flops_spent + next_step > self.arm.warm_start * self.cell.budget.flops:
            self.stage = VERIFY
            assert isinstance(self.model, TransformerPolicy)
            self.residual.begin_from(self.model)

    def contrast_step(self, problems: Sequence[Problem]) -> None:
        """One optimiser step of the energy on the data's answers and as many groups of own samples."""
        negatives, prompts = self.arm.negatives, [p.prompt for p in problems]
        rollout = sample_together(
            self.model,
            self.task,
            prompts,
            length=self.longest(problems),
            group=negatives,
            seeds=sequence_seeds(prompts, negatives, self.cell.seed, "contrast", self.steps),
        )
        self.spend("sample", rollout.flops)
        repeated = [p for p in problems for _ in range(negatives)]
        rows = [p.prompt + p.completion for p in problems]
        rows += [p.prompt + c for p, c in zip(repeated, rollout.completions, strict=True)]
        cost = self.cost_of(rows)
        mine = self.mine(len(problems))
        if self.ranks > 1:
            own = rows[len(problems) + mine.start * negatives : len(problems) + mine.stop * negatives]
            rows = rows[mine.start : mine.stop] + own
        energy, _ = self.energies(rows)
        data_B, samples_N = energy[: len(mine)], energy[len(mine) :]
        # Shares are equal, so that the mean of their means is that of all.
        loss = contrast(data_B, samples_N)
        self.manual_backward(loss)
        share = (self.share_spent - self.arm.warm_start) / (1 - self.arm.warm_start)
        norm = self.optimise(optim.schedule(max(share, 0.0), self.cell.trainer))
        self.spend("contrast", 3 * cost)
        self.problems += len(problems)
        self.contrasts += 1
        self.history.add(
            step=self.steps,
            flops=self.flops_spent,
            contrast=ranks.summed(loss) / self.ranks,
            energy_gap=ranks.summed(samples_N.mean() - data_B.mean()) / self.ranks,
            gradient_norm=norm,
        )

    def energies(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, float]:
        """Residual energies of whole sequences, and the FLOPs of the forward pass."""
        tokens, real = stack(rows, self.task.pad, self.device)
        return self.residual(tokens, real).float(), self.cost_of(rows)

    def cost_of(self, rows: Sequence[Sequence[int]]) -> float:
        """FLOPs of a forward pass over whole sequences, padded to the longest."""
        return verifier_cost.score(self.cell.size, sequences=len(rows), length=max(map(len, rows)))

    def efforts(self) -> tuple[str, ...]:
        """`greedy`, and for each number of samples every rule; energy's only once it is trained.

        `oracle@k` looks at the answer: it is pass@k, not a way to answer.
        """
        if not self.contrasts:
            return (GREEDY,)  # the start is the same afterwards: the rest would be measured twice
        choices = [Effort(kind=SAMPLE, samples=k, selection=r) for k in self.arm.samples for r in self.rules]
        return (GREEDY, *map(str, choices))

    def choose(self, rule: str, samples: Samples) -> tuple[list[int], float]:
        """As every policy, or by the energy, whose forward passes are paid for."""
        if rule not in (selection.ENERGY, selection.JOINT):
            return super().choose(rule, samples)
        scores, cost = self.scores(samples.problems, samples.completions)
        if rule == selection.JOINT:
            pairs = zip(scores, samples.nats, strict=True)
            scores = [[e + own for e, own in zip(*pair, strict=True)] for pair in pairs]
        return [selection.lowest(energies) for energies in scores], cost

    def scores(
        self, problems: Sequence[Problem], groups: Sequence[Sequence[tuple[int, ...]]]
    ) -> tuple[list[list[float]], float]:
        """Energies of each problem's completions, equal ones computed once, and the FLOPs."""
        pairs = zip(problems, groups, strict=True)
        distinct = dict.fromkeys(problem.prompt + c for problem, group in pairs for c in group)
        energy, cost = self.energies(list(distinct))
        found = dict(zip(distinct, energy.tolist(), strict=True))
        pairs = zip(problems, groups, strict=True)
        return [[found[problem.prompt + c] for c in group] for problem, group in pairs], cost

    def non_embedding_parameters(self) -> int:
        """Of both networks: about twice the other arms', since the start is kept for sampling."""
        inner = (self.residual.backbone, self.residual.head)
        return super().non_embedding_parameters() + sum(p.numel() for m in inner for p in m.parameters())
