"""Decoding with cached keys and values: a token costs its thinking, whatever the prefix."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from arena import flops
from arena.config import Size
from arena.contender import Solutions
from arena.tasks.base import Problem, Task
from arena.transformer import rotary_tables
from ebt.energy import Context, EnergyModel
from ebt.think import initial_candidate, think


@torch.no_grad()
def generate(
    model: EnergyModel,
    problems: Sequence[Problem],
    task: Task,
    *,
    steps: int,
    alpha: Tensor,
    parametrisation: str,
    start: str,
    noise: torch.Generator,
    size: Size,
) -> Solutions:
    """Greedy completions. Problems with prompts of one length are decoded together."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, problem in enumerate(problems):
        by_length[len(problem.prompt)].append(i)
    completions: list[tuple[int, ...]] = [()] * len(problems)
    total = 0.0
    device = model.embedding.weight.device
    for length, members in sorted(by_length.items()):
        limit = max(task.longest(problems[i].severity)[1] for i in members)
        tokens = torch.tensor([problems[i].prompt for i in members], device=device)
        rows = decode(model, tokens, task.end, limit, steps, alpha, parametrisation, start, noise)
        for i, row in zip(members, rows.tolist(), strict=True):
            completions[i] = tuple(row[: row.index(task.end) + 1] if task.end in row else row)
        total += decode_flops(size, task.vocabulary, len(members), length, rows.shape[1], steps)
    return Solutions(completions=completions, flops=total)


def decode(
    model: EnergyModel,
    tokens_BS: Tensor,
    end: int | None,
    limit: int,
    steps: int,
    alpha: Tensor,
    parametrisation: str,
    start: str,
    noise: torch.Generator,
) -> Tensor:
    """Greedy tokens (B, at most `limit`); stops when every row has ended."""
    device = tokens_BS.device
    batch, length = tokens_BS.shape
    order = torch.arange(length + limit + 1, device=device)
    cache = model.backbone.keys_values(model.embedding(tokens_BS), order[:length])
    ended = torch.zeros(batch, dtype=torch.bool, device=device)
    out: list[Tensor] = []
    for i in range(limit):
        context = Context(
            keys_values=cache,
            mask=torch.zeros((1, 1, 1, length + i), device=device),
            rotary=rotary_tables(order[length + i : length + i + 1], model.backbone.head_width),
        )
        y = initial_candidate((batch, 1, model.vocabulary), start, device, noise)
        token = think(model, y, context, steps, alpha, parametrisation)[:, 0].argmax(-1)
        out.append(token)
        if end is not None:
            ended |= token == end
            if bool(ended.all()):
                break
        if i + 1 < limit:
            place = order[length + i : length + i + 1]
            cache = model.backbone.keys_values(model.embedding(token[:, None]), place, cache)
    return torch.stack(out, dim=1)


def decode_flops(size: Size, vocabulary: int, batch: int, length: int, generated: int, steps: int) -> float:
    """Cost of decoding `generated` tokens after prompts of `length`."""
    total = flops.context(size, batch * length, batch * length**2)
    for i in range(generated):
        keys = length + i
        energy = flops.energy_forward(size, vocabulary, candidates=batch, pairs=batch * keys)
        total += 2 * steps * energy
        if i + 1 < generated:
            total += flops.context(size, batch, batch * (keys + 1))
    return total
