"""The energy-based arm as a LightningModule."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arena import optim, ranks
from arena.config import Cell, require
from arena.contender import Contender, Likelihood, Solutions, Trajectory
from arena.data import Batch, collate
from arena.effort import START, Effort
from arena.ladder import with_default
from arena.seeding import generator
from arena.tasks.base import Problem, Task
from ebt import cost
from ebt.calibration import calibration_batch, gradient_scale
from ebt.compiled import compiled
from ebt.config import MIN_ALPHA, EBTArm, Thinking, thinking_of
from ebt.decode import generate
from ebt.energy import Context, EnergyModel, build_energy
from ebt.gate import entropy, highest, initial_cut, moved_cut
from ebt.infer import EBT, Noise, infer, starts, think_flops, untouched
from ebt.objective import backward, cross_entropy
from ebt.replay import Replay
from ebt.think import Thought, descend
from ebt.trajectory import trajectories


class EBTModule(Contender):
    """Autoregressive EBT (arXiv 2507.02092) and what the arm's configuration makes of it."""

    def __init__(self, cell: Cell, task: Task) -> None:
        super().__init__(cell, task)
        assert isinstance(cell.arm, EBTArm)
        self.arm = arm = cell.arm
        require(
            cell.trainer.at_once is None or arm.max_update is None or arm.alpha_spread == 1,
            f"trainer.at_once={cell.trainer.at_once}: arm.max_update bounds the mean over all positions' "
            "alpha, which arm.alpha_spread makes differ; set trainer.at_once=null",
        )
        self.model = self.build()
        self.alpha = nn.Parameter(
            torch.tensor(float("nan") if arm.alpha is None else arm.alpha), requires_grad=arm.alpha_lr > 0
        )
        self.register_buffer("cut", initial_cut(arm), persistent=arm.gate == "entropy")
        self.cut: Tensor
        self.replay = Replay(arm.replay)

    def build(self) -> EnergyModel:
        """The energy that the arm's configuration asks for."""
        return build_energy(self.arm, self.cell.size, self.task.vocabulary)

    def on_fit_start(self) -> None:
        if torch.isnan(self.alpha):
            self.calibrate()

    def calibrate(self) -> None:
        """Set alpha so that the first update has a root mean square of arm.alpha_target."""
        batch = calibration_batch(self.cell, self.task).to(self.device)
        context = self.observe(batch)
        scale = gradient_scale(
            self.model,
            self.start(batch, context, "calibrate"),
            context,
            batch.supervised_BM,
            self.arm.parametrisation,
            generator(self.device, self.cell.seed, "calibrate", "head"),
        )
        with torch.no_grad():
            self.alpha.fill_(float(self.arm.alpha_target / scale.clamp_min(1e-12)))
            if self.ranks > 1:
                torch.distributed.broadcast(self.alpha, 0)  # one number, whatever their kernels round
        self.spend("calibrate", self.calibration_flops(batch))
        rates = self.optimizers()
        assert not isinstance(rates, list)
        rates.optimizer.param_groups[-1]["peak_lr"] = self.alpha_rate()

    def calibration_flops(self, batch: Batch) -> float:
        """FLOPs of measuring the gradient once on a batch."""
        (problems, observed), predicted = batch.tokens_BS.shape, batch.targets_BM.shape[1]
        return cost.calibration_flops(
            self.arm,
            self.cell.size,
            self.task.vocabulary,
            problems=problems,
            observed=observed,
            predicted=predicted,
        )

    def alpha_rate(self) -> float:
        """Peak learning rate of alpha."""
        scale = float(self.alpha.detach())
        return self.arm.alpha_lr * self.cell.size.lr * (scale if scale == scale else 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        model = list(self.model.parameters())
        alpha = {"params": [self.alpha], "lr": self.alpha_rate()}
        return optim.adamw(model, self.cell.size.lr, self.cell.trainer, undecayed=alpha)

    def observe(self, batch: Batch) -> Context:
        """Context of a batch's supervised positions."""
        return self.model.observe(batch.tokens_BS, None if batch.everywhere else batch.positions_BM)

    def start(self, batch: Batch, context: Context, *key: object, rows: Tensor | None = None) -> Tensor:
        """First candidates of a batch; the noise follows from the cell's seed and `key`.

        Args:
            context: of the batch's `rows`.
        """
        size = (*batch.targets_BM.shape, self.task.vocabulary)
        noise = Noise(self.device, *self._candidate(*key))
        first = starts(self.arm, context, size, self.device, noise)(0)
        return first if context.start_BMV is not None else ranks.take(first, rows)

    def _candidate(self, *key: object) -> tuple[object, ...]:
        return self.cell.seed, "candidate", *key

    def step_flops(self, batch: Batch) -> float:
        return self.training_flops(batch, self.arm.full_steps, rows=2 if self.arm.replay else 1)

    def training_flops(self, batch: Batch, steps: int, rows: int = 1) -> float:
        (b, s), m = batch.tokens_BS.shape, batch.targets_BM.shape[1]
        if rows > 1:  # replayed problems may be longer than the batch's own
            prompt, completion = self.task.longest()
            s, m = max(s, prompt + completion - 1), max(m, completion)
        return cost.train_flops(
            self.arm,
            self.cell.size,
            self.task.vocabulary,
            problems=rows * b,
            observed=s,
            predicted=m,
            steps=steps,
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        factor = optim.schedule(self.share_spent, self.cell.trainer)
        losses, spent = self.backpropagate(batch)
        norm = self.optimise(factor)
        with torch.no_grad():
            self.alpha.clamp_(min=MIN_ALPHA)
        self.spend("train", spent)
        self.problems += len(batch.problems)
        alpha = self.alpha.detach().clone()
        self.history.add(step=self.steps, flops=self.flops_spent, **losses, gradient_norm=norm, alpha=alpha)

    def backpropagate(self, batch: Batch) -> tuple[dict[str, Tensor], float]:
        """Add the gradient of a batch to `.grad`; returns the losses for the history, and the FLOPs.

        Every process takes its share of the problems. Random numbers are drawn for the whole batch by every
        process, so that the draws of a problem do not depend on the number of processes.
        """
        arm, fresh = self.arm, len(batch.problems)
        batch, replayed = self.with_replayed(batch)
        rows = self.own_rows(fresh, len(replayed))
        own = batch if rows is None else batch.rows(rows)
        context = place = self.observe(own)
        y_BMV = self.start(batch, context, "train", self.steps, rows=rows)
        again = self.mine(len(replayed))
        for row, kept in enumerate(replayed[again.start : again.stop], len(self.mine(fresh))):
            y_BMV[row, : len(kept)] = kept
        targets_BM, weights_BM = own.targets_BM, self.normalised(own.supervised_BM.to(torch.float32))
        start_loss = None
        if context.start_BMV is not None:
            start_loss = cross_entropy(context.start_BMV, targets_BM, weights_BM)
        if arm.gate != "none":
            index_BN = self.let_through(y_BMV, batch, rows)
            place = context.select(index_BN)
            y_BMV = y_BMV.gather(1, index_BN[..., None].expand(-1, -1, y_BMV.shape[-1]))
            targets_BM, weights_BM = targets_BM.gather(1, index_BN), weights_BM.gather(1, index_BN)
            weights_BM = self.normalised(weights_BM)
        steps, spread = self.drawn((len(batch.problems), y_BMV.shape[1], 1))
        trained = backward(
            arm,
            self.model,
            place,
            y_BMV,
            targets_BM,
            weights_BM,
            steps=steps,
            alpha=self.alpha,
            factor=None if spread is None else ranks.take(spread, rows),
            parameters=[*self.model.parameters(), *([self.alpha] if self.alpha.requires_grad else [])],
            extra=start_loss,
            at_once=self.cell.trainer.at_once,
            take=compiled() if self.cell.trainer.compile else descend,
            noise=generator(self.device, self.cell.seed, "langevin", self.steps) if arm.langevin else None,
            rows=None if rows is None else (len(batch.problems), rows),
        )
        if arm.replay:
            self.replay.add(batch.problems, ranks.whole(trained.logits_BMV, rows))
        first = trained.losses[0] if start_loss is None else start_loss.detach()
        last, first = ranks.summed(torch.stack([trained.losses[-1], first])) / self.ranks
        return {"loss": last, "first_loss": first}, self.training_flops(batch, steps)

    def normalised(self, weights: Tensor) -> Tensor:
        """Weights that sum to 1 over the processes, times their number: `optimise` averages gradients."""
        return weights / ranks.summed(weights.sum()) * self.ranks

    def with_replayed(self, batch: Batch) -> tuple[Batch, list[Tensor]]:
        """The batch with as many problems from the replay buffer, and their candidates (M, V)."""
        if not self.arm.replay:
            return batch, []
        random = generator("cpu", self.cell.seed, "replay", self.steps)
        entries = self.replay.draw(len(batch.problems), random)
        if not entries:
            return batch, []
        problems = [*batch.problems, *(problem for problem, _ in entries)]
        return collate(problems, self.task.pad).to(self.device), [kept for _, kept in entries]

    def drawn(self, shape: tuple[int, int, int]) -> tuple[int, Tensor | None]:
        """This forward's number of steps and each position's factor of alpha, of shape (B, M, 1)."""
        arm = self.arm
        steps, spread = arm.steps, None
        if arm.extra_steps:
            random = generator("cpu", self.cell.seed, "steps", self.steps)
            steps += int(torch.randint(arm.extra_steps + 1, (), generator=random))
        if arm.alpha_spread > 1:
            random = generator(self.device, self.cell.seed, "spread", self.steps)
            uniform = torch.rand(shape, device=self.device, generator=random)
            low = 1 / arm.alpha_spread
            spread = low + uniform * (arm.alpha_spread - low)
        return steps, spread

    def let_through(self, start_BMV: Tensor, batch: Batch, rows: Tensor | None = None) -> Tensor:
        """Indices (B, N) of the positions that descend in training; moves the gate's cut.

        Args:
            start_BMV: of the batch's `rows`.
        """
        supervised_BM = ranks.take(batch.supervised_BM, rows)
        count = cost.gated(self.arm, supervised_BM.shape[1])
        if self.arm.gate == "random":
            random = generator(self.device, self.cell.seed, "gate", self.steps)
            scores_BM = torch.rand(batch.supervised_BM.shape, device=self.device, generator=random)
            return highest(ranks.take(scores_BM, rows), supervised_BM, count)[1]
        entropies_BN, index_BN = highest(entropy(start_BMV), supervised_BM, count)
        self.cut.copy_(moved_cut(self.cut, entropies_BN))
        return index_BN

    def likelihood_efforts(self) -> tuple[str, ...]:
        return self.efforts()

    def efforts(self) -> tuple[str, ...]:
        thinking = with_default(self.arm.ladder, Effort(kind="think", steps=self.arm.full_steps))
        return (START, *thinking) if self.arm.start == "head" else thinking

    @property
    def ebt(self) -> EBT:
        """What inference needs of the arm."""
        return EBT(arm=self.arm, model=self.model, alpha=self.alpha, cut=self.cut)

    def infer(
        self,
        context: Context,
        batch: Batch,
        thinking: Thinking,
        *,
        energy: bool = False,
        trajectory: bool = False,
    ) -> Thought:
        """Think at a batch's supervised positions."""
        return infer(
            self.ebt,
            context,
            (batch.targets_BM.shape[0], batch.targets_BM.shape[1]),
            thinking,
            noise=Noise(self.device, *self._candidate("evaluate")),
            langevin=Noise(self.device, self.cell.seed, "langevin", "evaluate"),
            energy=energy,
            trajectory=trajectory,
        )

    def evaluate(self, batch: Batch, effort: str | None = None) -> Likelihood:
        thinking = thinking_of(effort or self.likelihood_efforts()[-1])
        with torch.no_grad():
            context = self.observe(batch)
            if thinking is None:
                assert context.start_BMV is not None
                thought = untouched(context.start_BMV)
            else:
                thought = self.infer(context, batch, thinking)
            nats = F.cross_entropy(thought.logits_BMV.float().mT, batch.targets_BM, reduction="none")
        supervised = batch.supervised_BM
        return Likelihood(
            nats_B=(nats * supervised).sum(1),
            tokens_B=supervised.sum(1),
            flops=self.thinking_flops(thought, batch),
        )

    def thinking_flops(self, thought: Thought, batch: Batch) -> float:
        """What the context of a batch and the thinking on it cost."""
        problems, observed = batch.tokens_BS.shape
        return think_flops(
            self.ebt,
            self.cell.size,
            thought,
            tokens=problems * observed,
            context_pairs=problems * observed**2,
            keys=observed,
            predicted=problems * batch.targets_BM.shape[1],
        )

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        return generate(
            self.ebt,
            problems,
            self.task,
            self.cell.size,
            thinking_of(effort),
            noise=Noise(self.device, self.cell.seed, "solve", *key),
        )

    def trajectories(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> list[Trajectory]:
        return trajectories(
            self.ebt,
            problems,
            self.task,
            self.cell.size,
            self.arm.full_steps,
            noise=Noise(self.device, self.cell.seed, "solve", *key),
        )

    def non_embedding_parameters(self) -> int:
        maps = [m for m in (self.model.embedding, self.model.candidate, self.model.start) if m is not None]
        if self.arm.refiner == "head":
            maps.append(self.model.head)
        embedding = sum(p.numel() for module in maps for p in module.parameters())
        return sum(p.numel() for p in self.parameters()) - embedding

    def training_state(self) -> dict[str, Any]:
        return {**super().training_state(), "replay": self.replay.state()}

    def restore_training(self, state: dict[str, Any]) -> None:
        super().restore_training(state)
        self.replay.restore(state["replay"], self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        cell = dataclasses.asdict(self.cell)
        cell["task"].pop("path", None)  # it tells who trained it, and where
        checkpoint["cell"] = cell
