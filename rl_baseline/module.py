"""The arms trained by reward: next tokens first, then policy optimisation on exact rewards.

Shapes (suffixes): P problems, G samples per problem, B = P * G, T tokens.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from arena import ranks
from arena.config import Cell, require
from arena.contender import Diverged
from arena.data import Batch, collate
from arena.rollout import (
    Rollout,
    log_probabilities,
    predicted_logits,
    sample_together,
    sequence_seeds,
)
from arena.seeding import generator
from arena.shape import supervised_step
from arena.tasks.base import Problem, Task
from arena.token_classes import PLAN
from rl_baseline import anatomy, cost, entropy, measure
from rl_baseline.advantage import advantages
from rl_baseline.config import RLArm
from rl_baseline.credit import CLASSES, class_table
from rl_baseline.probe import Probe
from rl_baseline.ranks import reduced
from rl_baseline.supervised import TransformerModule
from rl_baseline.update import LARGEST, Metrics, Samples, decide, merge, policy_loss

WARM_START, RL = "warm_start", "rl"
LOGP_TOLERANCE = {True: 1e-3, False: 0.5}
"""Default of arm.logp_tolerance, in fp32 and in 16 bits."""

COMPETENCE_RATE = 0.1
"""Weight of the newest batch in the running share of problems answered exactly."""


class NothingToLearn(UserWarning):
    """No rollout of a whole run gave any gradient: every group's rewards were equal."""


class RLModule(TransformerModule):
    """Transformer++ in two stages.

    `warm_start`: the plain transformer's training, its whole schedule laid over `arm.warm_start` of
    the budget; it may end early, at `arm.warm_until`. `rl`: the rest. Policy optimisation starts with
    a fresh optimiser state, as it does from a published checkpoint: the warm start's second moments
    belong to a loss of another scale.
    """

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task)
        assert isinstance(cell.arm, RLArm)
        self.arm = cell.arm
        self.stage = WARM_START
        self.register_buffer("solved", torch.zeros(()))
        self.solved: Tensor
        # Where in the budget reward takes over.
        self.register_buffer("began", torch.tensor(self.arm.warm_start, dtype=torch.float64))
        self.began: Tensor
        self.controller = entropy.controller(self.arm)
        self.forecast = measure.EntropyForecast()
        self.probe = Probe(cell, task, self.arm)
        self.rollouts = 0
        self.taught = 0
        self.gap: Tensor | None = None
        self.tolerance = 0.0

    def setup(self, stage: str) -> None:
        super().setup(stage)
        require(
            self.ranks <= self.arm.prompts,
            f"trainer.devices={self.ranks}: each process needs a problem of a rollout, which has "
            f"arm.prompts={self.arm.prompts}; raise arm.prompts, or use fewer devices",
        )

    def training_state(self) -> dict[str, Any]:
        return {
            **super().training_state(),
            "rollouts": self.rollouts,
            "taught": self.taught,
            "gap": self.gap,
            "tolerance": self.tolerance,
            "probes": self.probe.taken,
            "controller": self.controller.state(),
            "forecast": self.forecast.last,
        }

    def restore_training(self, state: dict[str, Any]) -> None:
        super().restore_training(state)
        self.rollouts, self.taught = state["rollouts"], state["taught"]
        gap, last = state["gap"], state["forecast"]
        self.gap = None if gap is None else gap.to(self.device)
        self.tolerance, self.probe.taken = state["tolerance"], state["probes"]
        self.controller.restore(state["controller"])
        self.forecast.last = last and {name: value.to(self.device) for name, value in last.items()}

    def step_flops(self, batch: Batch) -> float:
        if self.stage == WARM_START:
            return super().step_flops(batch)
        return cost.rl_iteration(self.model.shape, self.task, self.arm)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.stage == RL:
            self.reward_step(batch.problems[: self.arm.prompts])
            return
        own, logits_BMV = self.next_token_step(batch, self.share_spent / self.arm.warm_start)
        # Looked at after the step, so that who watches the stage sees it end before RL begins.
        next_step = supervised_step(self.model.shape, self.task, self.cell.task.batch)
        if self.flops_spent + next_step > self.arm.warm_start * self.cell.budget.flops:
            self.begin_rl()
        elif self.arm.warm_until is not None and self.competence(logits_BMV, own) >= self.arm.warm_until:
            self.began.fill_(self.share_spent)
            self.begin_rl()

    def competence(self, logits_BMV: Tensor, batch: Batch) -> float:
        """Share of the last few batches' problems that greedy decoding would have answered exactly.

        Where the most probable token is the right one at each place, given the right ones before it,
        decoding takes just these.
        """
        right_BM = (logits_BMV.argmax(-1) == batch.targets_BM) | ~batch.supervised_BM
        right = right_BM.all(1).float().mean()
        # Shares are equal, so that the mean of their means is that of all.
        self.solved.lerp_(ranks.summed(right) / self.ranks, COMPETENCE_RATE)
        return float(self.solved)

    def begin_rl(self) -> None:
        """Enter the second stage."""
        self.stage = RL
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.optimizer.state.clear()

    def on_train_end(self) -> None:
        self.check_gap()
        if self.rollouts and not self.taught:
            warnings.warn(
                f"{self.arm.name}: none of {self.rollouts} rollouts taught anything, the rewards of every "
                "group were equal; raise arm.warm_start or arm.group, or choose an easier task",
                NothingToLearn,
                stacklevel=2,
            )

    def rate(self) -> float:
        """Learning rate of RL over the size's peak: a linear warm-up over RL's compute, then constant."""
        began = float(self.began)
        warmup = self.cell.trainer.warmup * (1 - began)
        share = self.share_spent - began
        warm = share >= warmup or warmup == 0
        return self.arm.lr_scale * (1.0 if warm else max(share / warmup, 0.1))

    def reward_step(self, problems: Sequence[Problem]) -> None:
        """One rollout on `problems`, and the optimiser steps on it."""
        arm, key = self.arm, (self.cell.seed, "rollout", self.problems)
        probed = self.probed() if self.probe.due(self.share_of_rl) else {}
        prompts = [p.prompt for p in problems]
        temperature = self.controller.temperature
        seeds = sequence_seeds(prompts, arm.group, *key)
        rollout = sample_together(
            self.model,
            self.task,
            prompts,
            length=self.task.longest()[1],
            group=arm.group,
            temperature=temperature,
            seeds=seeds,
        )
        self.check_gap()
        self.spend("rollout", rollout.flops)
        self.problems += len(problems)
        self.rollouts += 1
        repeated = [p for p in problems for _ in range(arm.group)]
        rewards_PG = self.rewards(repeated, rollout).unflatten(0, (len(problems), arm.group))
        tokens_PG = rollout.mask_BT.sum(1).unflatten(0, (len(problems), arm.group))
        advantages_B = advantages(arm.advantage, rewards_PG, tokens_PG).flatten()
        correct_B = rewards_PG.flatten() > 0
        classes_BT = class_table(repeated, rollout.completions)
        found = measure.of_rollout(rollout, rewards_PG, advantages_B, classes_BT)
        if classes_BT is not None:
            found |= anatomy.by_place(rollout, repeated, classes_BT)

        updates: list[Metrics] = []
        rate = self.rate()
        taught = self.teaches(advantages_B, correct_B)
        self.taught += taught
        # Without signal every gradient is zero and a step would only decay the weights; a bonus needs none.
        if taught or (self.controller.coefficient and arm.loss != "nll"):
            planning_BT = torch.zeros_like(rollout.mask_BT)
            if classes_BT is not None:
                planning_BT = (classes_BT == CLASSES.index(PLAN)).to(self.device)
            batch = collate(repeated, self.task.pad, rollout.completions).to(self.device)
            samples = Samples(
                old_logp_BT=rollout.logp_BT,
                advantages_BT=advantages_B[:, None].expand_as(rollout.logp_BT),
                mask_BT=batch.supervised_BM,
                planning_BT=planning_BT,
                correct_B=correct_B,
            )
            random = generator("cpu", *key, "updates")
            order = torch.randperm(len(repeated), generator=random).to(self.device)
            if arm.loss == "nll":
                order = order[correct_B[order]]  # nothing is learnt from the others: do not pay for them
            for rows in order.chunk(arm.updates):
                metrics = self.update(batch.rows(rows), samples.part(rows), temperature, random)
                updates.append({**metrics, "gradient_norm": self.optimise(rate)})
        if updates:
            self.gap = updates[0]["logp_gap"]
            self.tolerance = arm.logp_tolerance or LOGP_TOLERANCE[self.full_precision]
        seen = rollout.entropy_BT, rollout.logp_BT, rollout.mask_BT
        held = self.controller.observe(*seen, self.share_of_rl)
        if self.flops_spent + cost.rl_iteration(self.model.shape, self.task, arm) > self.cell.budget.flops:
            probed = self.probed()  # the last rollout: what the run ends with
        self.history.add(
            step=self.steps,
            flops=self.flops_spent,
            **found,
            **measure.of_updates(arm, updates, self.device),
            **self.forecast.columns(found, rate * self.cell.size.lr * len(updates)),
            **held,
            **probed,
        )

    def update(
        self, batch: Batch, samples: Samples, temperature: float, random: torch.Generator
    ) -> dict[str, Tensor]:
        """Gradients of one optimiser step into `.grad`, micro-batch by micro-batch; its metrics.

        What is selected over the whole step is selected before it is split: from the same forward pass
        if it is not split at all, else from one without gradient, which is paid for. Of several processes
        each takes its share of the samples; their gradients, which `optimise` averages, sum to the step's.
        """
        arm, length, count = self.arm, self.task.longest()[1], len(batch.problems)
        mine = self.mine(count)
        # A process without a sample goes along with one that weighs nothing: the others wait for it.
        idle = not mine
        everything = torch.arange(count, device=self.device)[
            slice(0, 1) if idle else slice(mine.start, mine.stop)
        ]
        parts = everything.split(arm.micro_batch or len(everything))
        whole = len(parts) == 1 and self.ranks == 1
        logp_BT = entropy_BT = seen_BT = None
        if len(parts) == 1:
            logp_BT, entropy_BT = self.policy(batch if whole else batch.rows(parts[0]), temperature)
            seen_BT = logp_BT.detach(), entropy_BT.detach()
        elif arm.reads_policy:
            with torch.no_grad():
                seen = [self.policy(batch.rows(rows), temperature) for rows in parts]
            seen_BT = tuple(torch.cat(column) for column in zip(*seen, strict=True))
        if arm.reads_policy and arm.micro_batch and arm.micro_batch < count:
            # As one process does it; smaller shares may do without.
            self.spend("survey", self.forward_flops(batch))
        if self.ranks > 1 and arm.reads_policy:
            assert seen_BT is not None
            every = ranks.gather([x_BT[:0].cpu() if idle else x_BT.cpu() for x_BT in seen_BT])
            seen_BT = tuple(torch.cat(column).to(self.device) for column in zip(*every, strict=True))
        step = decide(
            arm,
            samples,
            *(seen_BT if seen_BT is not None and (whole or arm.reads_policy) else (None, None)),
            generator=random,
            length=length,
        )
        metrics: list[Metrics] = []
        for rows in parts:
            if len(parts) > 1:
                logp_BT, entropy_BT = self.policy(batch.rows(rows), temperature)
            assert logp_BT is not None
            part = step if whole else step.part(rows)
            loss, row = policy_loss(arm, logp_BT, entropy_BT, part, self.controller.coefficient)
            if self.ranks > 1:
                loss = loss * (0 if idle else self.ranks)
                row = {name: value * (not idle) for name, value in row.items()}
            self.manual_backward(loss)
            metrics.append(row)
        self.spend("update", 3 * self.forward_flops(batch))
        merged = merge(metrics)
        return merged if self.ranks == 1 else reduced(merged, LARGEST)

    def policy(self, batch: Batch, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities at the sampling temperature, entropies at temperature 1; (B, T) each.

        Where nothing reads the entropies they are zeros.
        """
        logits_BMV = predicted_logits(self.model, batch)
        logp_BT = log_probabilities(logits_BMV, batch, temperature)
        if not (self.arm.reads_entropy or self.controller.coefficient):
            return logp_BT, torch.zeros_like(logp_BT)
        return logp_BT, entropy.token_entropies(logits_BMV, batch.supervised_BM)

    def teaches(self, advantages_B: Tensor, correct_B: Tensor) -> bool:
        """Whether a rollout with these outcomes gives any gradient."""
        if self.arm.loss == "nll":
            return bool(correct_B.any())
        return bool(advantages_B.any()) or (self.arm.nll_coef > 0 and bool(correct_B.any()))

    def rewards(self, problems: Sequence[Problem], rollout: Rollout) -> Tensor:
        """1 for a completion that the verifier finds correct, else 0; or as the control has it: (B,)."""
        if self.arm.reward == "coin":
            # Of the sample's place in the run, not of its tokens: a coin tied to the tokens would be a
            # reward that can be learnt. No label is asked for.
            coins = generator("cpu", self.cell.seed, "coin", self.problems)
            return (torch.rand(len(problems), generator=coins) < 0.5).float().to(self.device)
        self.reward_queries += len(problems)
        pairs = zip(problems, rollout.completions, strict=True)
        earned_B = torch.tensor([float(self.task.verify(p, c).correct) for p, c in pairs])
        if self.arm.reward == "shuffled":
            # Over the whole rollout, not within groups: there, a problem's mean would tell its difficulty.
            dealt = generator("cpu", self.cell.seed, "shuffled", self.problems)
            earned_B = earned_B[torch.randperm(len(earned_B), generator=dealt)]
        return earned_B.to(self.device)

    def probed(self) -> dict[str, float]:
        """What the probe finds now; its time is no training time."""
        begun = time.perf_counter()
        found = self.probe.take(self.model)
        self.seconds_aside += time.perf_counter() - begun
        return found

    @property
    def share_of_rl(self) -> float:
        """Share of RL's own compute that is spent, 0 to 1."""
        began = float(self.began)
        return (self.share_spent - began) / (1 - began)

    def check_gap(self) -> None:
        """Raise Diverged if the last rollout and its first update disagreed on a log-probability.

        Called when the device has been waited for anyway, so one rollout late.
        """
        if self.gap is None:
            return
        gap, self.gap = float(self.gap), None
        if not gap <= self.tolerance:
            raise Diverged(
                f"logp_gap is {gap:.3g} nats at step {self.steps}, more than {self.tolerance:g}: sampling "
                "and training disagree on a token's log-probability; raise trainer.precision, or "
                "arm.logp_tolerance if such rounding is expected"
            )

    @property
    def full_precision(self) -> bool:
        """Whether the model computes in fp32."""
        autocast = torch.is_autocast_enabled(self.device.type)
        return not autocast and next(self.model.parameters()).dtype not in (torch.bfloat16, torch.float16)
