"""What every arm with a language model shares: next-token training, the likelihood, and the answers.

Shapes (suffixes): B problems, M supervised tokens, T sampled tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from arena import optim, ranks, selection
from arena.config import Cell
from arena.contender import Contender, Likelihood, Solutions
from arena.data import Batch
from arena.effort import GREEDY, LIKELIHOOD, SAMPLE, Effort
from arena.policy import Policy
from arena.rollout import Rollout, log_probabilities, predicted_logits, sample, sequence_seeds
from arena.shape import Shape, teacher_forced
from arena.tasks.base import Problem, Task

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Completions drawn at temperature 1, equally many per problem."""

    problems: Sequence[Problem]
    completions: list[list[tuple[int, ...]]]
    nats: list[list[float]]
    """Negative log-likelihood of every completion, summed over its tokens."""
    shape: Shape

    def first(self, k: int) -> "Samples":
        """The first k drawn of every problem."""
        completions = [group[:k] for group in self.completions]
        return replace(self, completions=completions, nats=[nats[:k] for nats in self.nats])

    @property
    def flops(self) -> float:
        """FLOPs of drawing exactly these: prompts padded to the longest, and one step of all sequences per
        token of the longest completion."""
        k = len(self.completions[0])
        return self.shape.sample(
            sequences=len(self.problems) * k,
            prompt=max(len(p.prompt) for p in self.problems),
            steps=max(len(c) for group in self.completions for c in group),
            group=k,
        )


class NextTokens(Contender):
    """A policy that is trained, at least at first, on the mean next-token loss over supervised tokens."""

    rules: ClassVar[tuple[str, ...]] = selection.OF_A_POLICY
    """Rules by which it can select among its own samples."""

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

    def next_token_step(self, batch: Batch, share: float) -> tuple[Batch, Tensor]:
        """One optimiser step on next tokens, `share` of the way through its schedule.

        Returns this process's part of the batch and its logits before the step, (B, M, V), without a graph.
        """
        rows = self.own_rows(len(batch.problems))
        part = batch if rows is None else batch.rows(rows)
        supervised_BM = part.supervised_BM
        targets_BM = part.targets_BM.masked_fill(~supervised_BM, -100)
        logits_BMV = predicted_logits(self.model, part)
        loss: Tensor = F.cross_entropy(logits_BMV.flatten(0, 1), targets_BM.flatten(), ignore_index=-100)
        if rows is not None:
            # The mean over the tokens of all processes, which hold unequal numbers of them.
            tokens = supervised_BM.sum().to(loss.dtype)
            loss = loss * (tokens * self.ranks / batch.supervised_BM.sum())
        self.manual_backward(loss)
        norm = self.optimise(optim.schedule(share, self.cell.trainer))
        self.spend("train", 3 * self.forward_flops(batch))
        self.problems += len(batch.problems)
        mean = ranks.summed(loss) / self.ranks
        self.history.add(step=self.steps, flops=self.flops_spent, loss=mean, gradient_norm=norm)
        return part, logits_BMV.detach()

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

    @torch.no_grad()
    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        """Completions: the most probable token each time, a sample at temperature 1, or one of k by a rule.

        Samples follow from the cell's seed, `key` and the prompt alone: every rule chooses from the same
        ones, and those of a smaller k are among those of a larger. The same prompt listed twice gets two.

        Raises:
            ValueError: no such effort, or fewer than two samples to select from.
        """
        wanted = self.effort(effort)
        if wanted.kind == GREEDY:
            return self.greedy(problems)
        return self._selected(wanted, self.samples(problems, wanted.samples, key))

    @torch.no_grad()
    def answers(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> dict[str, Solutions]:
        """Completions at every effort, all selected from one set of samples."""
        efforts = {name: self.effort(name) for name in self.efforts()}
        counts = [effort.samples for effort in efforts.values() if effort.kind == SAMPLE]
        drawn = self.samples(problems, max(counts), key) if counts else None
        solutions: dict[str, Solutions] = {}
        for name, effort in efforts.items():
            if drawn is None or effort.kind == GREEDY:
                solutions[name] = self.greedy(problems)
            else:
                solutions[name] = self._selected(effort, drawn.first(effort.samples))
        return solutions

    def greedy(self, problems: Sequence[Problem]) -> Solutions:
        """The most probable token each time."""
        prompts, length = [p.prompt for p in problems], self.longest(problems)
        rollout = sample(self.model, self.task, prompts, length=length, temperature=0.0)
        return Solutions(completions=rollout.completions, flops=rollout.flops)

    def samples(self, problems: Sequence[Problem], k: int, key: Sequence[object]) -> Samples:
        """k completions per problem."""
        rollout = self.draw(problems, k, "solve", *key)
        return Samples(
            problems=problems,
            completions=_groups(rollout.completions, k),
            nats=_groups((-rollout.logp_BT.sum(1)).tolist(), k),
            shape=self.model.shape,
        )

    def draw(self, problems: Sequence[Problem], samples: int, *key: object) -> Rollout:
        """Completions at temperature 1, problem by problem; the first k do not depend on `samples`."""
        prompts = [p.prompt for p in problems]
        seeds = sequence_seeds(prompts, samples, self.cell.seed, *key)
        length = self.longest(problems)
        return sample(self.model, self.task, prompts, length=length, group=samples, seeds=seeds)

    def longest(self, problems: Sequence[Problem]) -> int:
        """Tokens of the longest completion that problems at these severities can have."""
        return max(self.task.longest(*place)[1] for place in {(p.severity, p.axis) for p in problems})

    def choose(self, rule: str, samples: Samples) -> tuple[list[int], float]:
        """Index of the sample that a rule answers with, per problem, and the FLOPs of applying the rule."""
        pairs = zip(samples.problems, samples.completions, strict=True)
        if rule == selection.MAJORITY:
            return [selection.majority([selection.answer(p, c) for c in group]) for p, group in pairs], 0.0
        if rule == selection.LIKELIHOOD:
            return [selection.lowest(nats) for nats in samples.nats], 0.0
        wrong = [[not self.task.verify(p, c).correct for c in group] for p, group in pairs]
        return [selection.lowest(flags) for flags in wrong], 0.0

    def effort(self, name: str) -> Effort:
        """The effort of this name: greedy, a sample, or a choice among samples. Raises ValueError if the
        policy has no such effort."""
        return Effort.parse(
            name,
            (GREEDY, SAMPLE, *(f"{rule}@K" for rule in self.rules)),
            f"choose {GREEDY}, {SAMPLE}, or RULE@K with a RULE of {', '.join(self.rules)} and at least 2 "
            "samples K",
        )

    def _selected(self, effort: Effort, samples: Samples) -> Solutions:
        """The answers of an effort, from exactly as many samples as it draws."""
        if not effort.selection:
            return Solutions(completions=[group[0] for group in samples.completions], flops=samples.flops)
        chosen, cost = self.choose(effort.selection, samples)
        completions = [group[i] for group, i in zip(samples.completions, chosen, strict=True)]
        return Solutions(completions=completions, flops=samples.flops + cost)


def _groups(flat: Sequence[Item], size: int) -> list[list[Item]]:
    """Consecutive runs of `size` entries."""
    return [list(flat[i : i + size]) for i in range(0, len(flat), size)]
