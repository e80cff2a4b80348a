"""Replay buffer: descents of earlier batches go on where they stopped."""

from collections import deque
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

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

    def state(self) -> dict[str, Any]:
        """All entries as plain data and one tensor, first in first."""
        problems = [[getattr(problem, f.name) for f in fields(Problem)] for problem, _ in self._entries]
        kept = [logits_MV for _, logits_MV in self._entries]
        return {"problems": problems, "logits": torch.cat(kept) if kept else torch.empty(0)}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Entries as `state` gave them."""
        self._entries.clear()
        names = [f.name for f in fields(Problem)]
        problems = [Problem(**dict(zip(names, row, strict=True))) for row in state["problems"]]
        parts = state["logits"].to(device).split([len(problem.completion) for problem in problems])
        for problem, logits_MV in zip(problems, parts, strict=True):
            self._entries.append((problem, logits_MV.clone()))
