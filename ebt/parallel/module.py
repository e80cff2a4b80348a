"""The arm that refines a whole answer at once, as a LightningModule."""

from collections.abc import Sequence

import torch

from arena import flops
from arena.config import Cell
from arena.contender import Solutions, Trajectory
from arena.data import Batch
from arena.shape import fixed_shape
from arena.tasks.base import Problem, Task
from ebt.config import Thinking, thinking_of
from ebt.energy import Context
from ebt.infer import Noise, infer, untouched
from ebt.module import EBTModule
from ebt.parallel import cost as parallel_cost
from ebt.parallel.config import ParallelArm
from ebt.parallel.energy import ParallelEnergyModel
from ebt.think import Thought


class ParallelModule(EBTModule):
    """One energy for all cells of an answer; training, thinking and calibration are EBTModule's own.

    The likelihood is that of the answer's tokens under the final candidates, a product of marginals: the
    cells of a candidate are independent, whatever the energy knows of them together. No normalised
    density of whole answers is claimed.
    """

    def __init__(self, cell: Cell, task: Task) -> None:
        assert isinstance(cell.arm, ParallelArm)
        self.prompt, self.answer = fixed_shape(cell, task)
        super().__init__(cell, task)

    def build(self) -> ParallelEnergyModel:
        assert isinstance(self.cell.arm, ParallelArm)
        arm = self.cell.arm
        return ParallelEnergyModel(
            self.cell.size,
            self.task.vocabulary,
            arm.steps,
            self.answer,
            conditioning=arm.conditioning,
            vocabulary_map=arm.vocabulary_map,
            start_head=arm.start == "head",
        )

    def observe(self, batch: Batch) -> Context:
        """Context of a batch's prompts; the answer's tokens that a batch holds too are never read."""
        return self.model.observe(batch.tokens_BS[:, : self.prompt])

    def calibration_flops(self, batch: Batch) -> float:
        return parallel_cost.calibration(self.arm, self.cell.size, self.task, len(batch.problems))

    def training_flops(self, batch: Batch, steps: int, rows: int = 1) -> float:
        problems = len(batch.problems)
        return parallel_cost.train(self.arm, self.cell.size, self.task, problems=problems, steps=steps)

    def thinking_flops(self, thought: Thought, batch: Batch) -> float:
        return self.think_flops(thought, len(batch.problems))

    def think_flops(self, thought: Thought, problems: int) -> float:
        """What reading so many prompts and the thinking on them cost."""
        return flops.parallel_think(
            self.cell.size,
            self.task.vocabulary,
            problems=problems,
            prompt=self.prompt,
            answer=self.answer,
            gradients=thought.gradients,
            forwards=thought.forwards,
            start=self.arm.start == "head",
        )

    def solve(self, problems: Sequence[Problem], effort: str, key: Sequence[object] = ()) -> Solutions:
        """The most probable token of every cell after thinking; of several restarts the answer of the
        lowest energy."""
        thought = self.thought(problems, thinking_of(effort), key)
        completions = [tuple(row) for row in thought.logits_BMV.argmax(-1).tolist()]
        return Solutions(completions=completions, flops=self.think_flops(thought, len(problems)))

    @torch.no_grad()
    def thought(
        self,
        problems: Sequence[Problem],
        thinking: Thinking | None,
        key: Sequence[object],
        trajectory: bool = False,
    ) -> Thought:
        """Think on the problems' prompts; without thinking, the head's start."""
        context = self.model.observe(torch.tensor([p.prompt for p in problems], device=self.device))
        if thinking is None:
            assert context.start_BMV is not None
            return untouched(context.start_BMV)
        return infer(
            self.ebt,
            context,
            (len(problems), self.answer),
            thinking,
            noise=Noise(self.device, self.cell.seed, "solve", *key),
            trajectory=trajectory,
        )

    def trajectories(self, problems: Sequence[Problem], key: Sequence[object] = ()) -> list[Trajectory]:
        """The default effort's descent on each problem; energies are those of whole answers."""
        thought = self.thought(problems, thinking_of(self.efforts()[-1]), key, trajectory=True)
        (path,) = thought.trajectories
        states = [p_BMV.argmax(-1).tolist() for p_BMV in path.distributions]
        energies = torch.cat(path.energies, dim=1).tolist()
        # Of probabilities, not of their logarithms: some are exactly zero.
        each = [torch.special.entr(p.float()).sum(-1).mean(1) for p in path.distributions]
        entropies = torch.stack(each, dim=1).tolist()
        return [
            Trajectory(
                completions=tuple(tuple(state[row]) for state in states),
                energy=tuple(energies[row]),
                entropy=tuple(entropies[row]),
            )
            for row in range(len(problems))
        ]
