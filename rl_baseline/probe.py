"""A few fixed validation problems, at a few points of a run: pass@k, and where entropy sits."""

import math
from collections.abc import Sequence

from arena.config import Cell
from arena.data import held_out
from arena.policy import Policy
from arena.rollout import sample, sequence_seeds
from arena.tasks.base import Task
from rl_baseline.anatomy import survey
from rl_baseline.config import RLArm
from rl_baseline.credit import class_table


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that k of n samples, drawn without replacement, hold one of the correct ones.

    1 - C(n - c, k) / C(n, k), unbiased for the policy's pass@k. Source: arXiv 2107.03374, eq. 1.
    """
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


class Probe:
    """Samples on the same problems, with the same random numbers, whenever it is due.

    Due at the warm start, then evenly over the compute of RL; the end is the caller's to know. What it
    costs is no training: it is returned beside the result and not booked to the budget.
    """

    def __init__(self, cell: Cell, task: Task, arm: RLArm) -> None:
        self.cell, self.task, self.arm = cell, task, arm
        self.problems = held_out(task, "val", arm.probe) if arm.probe else []
        self.taken = 0

    def due(self, share: float) -> bool:
        """Whether the next probe before the last is due, `share` of the way through RL's compute."""
        before_last = self.arm.probe_points - 1
        # The warm start may end a little before its share: the first probe is due at once.
        reached = not self.taken or share >= self.taken / before_last
        return bool(self.problems) and self.taken < before_last and reached

    def take(self, policy: Policy) -> dict[str, float]:
        """pass@k for k = 1, 2, 4 ... arm.probe_samples at temperature 1, `probe_flops`, `anatomy.survey`."""
        if not self.problems:
            return {}
        self.taken += 1
        n = self.arm.probe_samples
        prompts = [p.prompt for p in self.problems]
        rollout = sample(
            policy,
            self.task,
            prompts,
            length=self.task.longest()[1],
            group=n,
            seeds=sequence_seeds(prompts, n, self.cell.seed, "probe"),
        )
        counts = self._correct(rollout.completions)
        found = {f"pass_at_{k}": self._mean(counts, k) for k in powers_of_two(n)}
        repeated = [p for p in self.problems for _ in range(n)]
        spread = survey(rollout.entropy_BT, rollout.mask_BT, class_table(repeated, rollout.completions))
        found |= {name: float(value) for name, value in spread.items()}
        return {**found, "probe_flops": rollout.flops}

    def _correct(self, completions: Sequence[Sequence[int]]) -> list[int]:
        n = self.arm.probe_samples
        groups = (completions[i : i + n] for i in range(0, len(completions), n))
        return [
            sum(self.task.verify(problem, c).correct for c in group)
            for problem, group in zip(self.problems, groups, strict=True)
        ]

    def _mean(self, counts: Sequence[int], k: int) -> float:
        return sum(pass_at_k(self.arm.probe_samples, c, k) for c in counts) / len(counts)


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4 ... up to `largest`."""
    return [2**i for i in range(largest.bit_length())]
