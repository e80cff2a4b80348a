"""The arms trained by reward: next tokens first, then policy optimisation on exact rewards.

Shapes (suffixes): P problems, G samples a problem, B = P * G, T tokens.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from arena.config import Cell
from arena.data import Batch, collate
from arena.seeding import generator
from arena.tasks.base import Problem, Task
from rl_baseline import cost
from rl_baseline.advantage import ADVANTAGES, signal
from rl_baseline.config import RLArm
from rl_baseline.loss import covariances, masked_mean, policy_loss
from rl_baseline.rollout import Rollout, log_probabilities, predicted_logits, sample, sequence_seeds
from rl_baseline.supervised import TransformerModule

WARM_START, RL = "warm_start", "rl"


class RLModule(TransformerModule):
    """Transformer++ in two stages.

    `warm_start`: the plain transformer's training, its whole schedule laid over `arm.warm_start` of
    the budget. `rl`: the rest. Policy optimisation starts with a fresh optimiser state, as it does
    from a published checkpoint: the warm start's second moments belong to a loss of another scale.
    """

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task)
        assert isinstance(cell.arm, RLArm)
        self.arm = cell.arm
        self.stage = WARM_START

    def step_flops(self, batch: Batch) -> float:
        if self.stage == WARM_START:
            return super().step_flops(batch)
        return cost.rl_iteration(self.model.shape, self.task, self.arm)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.stage == RL:
            self.reward_step(batch.problems[: self.arm.prompts])
            return
        self.next_token_step(batch, self.share_spent / self.arm.warm_start)
        # Looked at after the step, so that who watches the stage sees it end before RL begins.
        next_step = cost.supervised_step(self.model.shape, self.task, self.cell.task.batch)
        if self.flops_spent + next_step > self.arm.warm_start * self.cell.budget.flops:
            self.begin_rl()

    def begin_rl(self) -> None:
        """Enter the second stage."""
        self.stage = RL
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.optimizer.state.clear()

    def rate(self) -> float:
        """Learning rate of RL over the size's peak: a linear warm-up over RL's compute, then constant."""
        warmup = self.cell.trainer.warmup * (1 - self.arm.warm_start)
        share = self.share_spent - self.arm.warm_start
        return self.arm.lr_scale * (1.0 if share >= warmup else max(share / warmup, 0.1))

    def reward_step(self, problems: Sequence[Problem]) -> None:
        """One rollout on `problems` and the optimiser steps on it."""
        arm, key = self.arm, (self.cell.seed, "rollout", self.problems)
        prompts = [p.prompt for p in problems]
        length = self.task.longest()[1]
        rollout = sample(
            self.model,
            self.task,
            prompts,
            length=length,
            group=arm.group,
            temperature=arm.temperature,
            seeds=sequence_seeds(prompts, arm.group, *key),
        )
        self.spend("rollout", rollout.flops)
        self.problems += len(problems)
        repeated = [p for p in problems for _ in range(arm.group)]
        rewards_PG = self.rewards(repeated, rollout).unflatten(0, (len(problems), arm.group))
        advantages_B = ADVANTAGES[arm.advantage](rewards_PG).flatten()
        correct_B = rewards_PG.flatten() > 0

        metrics: list[dict[str, Tensor]] = []
        # Without signal every gradient is zero and a step would only decay the weights.
        if bool(advantages_B.any()) or (arm.nll_coef and bool(correct_B.any())):
            batch = collate(repeated, self.task.pad, rollout.completions).to(self.device)
            random = generator("cpu", *key, "updates")
            order = torch.randperm(len(repeated), generator=random).to(self.device)
            rate = self.rate()
            for rows in order.chunk(arm.updates):
                part = _rows(batch, rows)
                logp_BT = log_probabilities(predicted_logits(self.model, part), part, arm.temperature)
                loss, row = policy_loss(
                    arm,
                    logp_BT,
                    rollout.logp_BT[rows],
                    advantages_B[rows, None].expand_as(logp_BT),
                    part.supervised_BM,
                    correct_B[rows],
                    generator=random,
                    length=length,
                )
                self.manual_backward(loss)
                metrics.append({**row, "gradient_norm": self.optimise(rate)})
                self.spend("update", 3 * self.forward_flops(part))
        self.record(rollout, rewards_PG, advantages_B, metrics)

    def rewards(self, problems: Sequence[Problem], rollout: Rollout) -> Tensor:
        """1 for a completion that the verifier finds correct, else 0: (B,)."""
        self.reward_queries += len(problems)
        pairs = zip(problems, rollout.completions, strict=True)
        return torch.tensor([float(self.task.verify(p, c).correct) for p, c in pairs], device=self.device)

    def record(
        self, rollout: Rollout, rewards_PG: Tensor, advantages_B: Tensor, metrics: Sequence[dict[str, Tensor]]
    ) -> None:
        """One row of history a rollout; what concerns updates is the mean over them."""
        mask_BT = rollout.mask_BT
        tokens_B = mask_BT.sum(1)
        advantages_BT = advantages_B[:, None].expand_as(rollout.logp_BT)
        zero = torch.zeros((), device=self.device)
        updates = {
            name: torch.stack([row[name] for row in metrics]).mean() if metrics else zero
            for name in ("clip_fraction", "kl", "selected", "gradient_norm")
        }
        self.history.add(
            step=self.steps,
            flops=self.flops_spent,
            reward=rewards_PG.mean(),
            signal=signal(rewards_PG),
            # Mean over tokens, then over responses, as in the entropy law (arXiv 2505.22617).
            entropy=(rollout.entropy_BT.sum(1) / tokens_B).mean(),
            covariance=masked_mean(covariances(rollout.logp_BT, advantages_BT, mask_BT), mask_BT),
            response_length=tokens_B.float().mean(),
            **updates,
        )


def _rows(batch: Batch, rows: Tensor) -> Batch:
    """The batch's given rows."""
    return replace(
        batch,
        tokens_BS=batch.tokens_BS[rows],
        positions_BM=batch.positions_BM[rows],
        targets_BM=batch.targets_BM[rows],
        supervised_BM=batch.supervised_BM[rows],
        problems=tuple(batch.problems[i] for i in rows.tolist()),
    )
