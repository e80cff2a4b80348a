"""Replay buffer: descents of earlier batches go on where they stopped."""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from arena.tasks.base import Problem


class Replay:
    """The last problems and their final candidates, first in, first out.

    Source: the released code's CausalReplayBuffer; it keeps whole batches of one length, this one
    keeps each problem's own candidates, so that problems of different length can meet in a batch.
    """

    def __init__(self, size: int) -> None:
        self._entries: deque[tuple[Problem, Tensor]] = deque(maxlen=size)

    def draw(self, count: int, generator: torch.Generator) -> list[tuple[Problem, Tensor]]:
        """Up to `count` entries without replacement, candidates (M, V) as kept."""
        chosen = torch.randperm(len(self._entries), generator=generator)[:count].tolist()
        return [self._entries[i] for i in chosen]

    def add(self, problems: Sequence[Problem], logits_BMV: Tensor) -> None:
        """Keep a batch's final candidates, each problem's own tokens only."""
        for problem, logits_MV in zip(problems, logits_BMV, strict=True):
            # A copy: a view would keep the whole batch alive.
            self._entries.append((problem, logits_MV[: len(problem.completion)].clone()))
