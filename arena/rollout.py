"""Sampling completions with a cache, and scoring given ones.

Shapes (suffixes): P prompts, B = P * group sequences (sequence b continues prompt b // group),
T sampled tokens, M supervised tokens, V vocabulary. Log-probabilities and entropies are in nats,
computed in fp32.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor

from arena import ranks
from arena.data import Batch
from arena.policy import Policy
from arena.tasks.base import Task, stream
from arena.transformer import at_least_fp32

GOLDEN = numpy.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Sampled completions. Entries of the tensors outside `mask_BT` are 0."""

    completions: list[tuple[int, ...]]
    """With the end token, unless the length ran out first."""
    logp_BT: Tensor
    """Log-probability of each sampled token at the sampling temperature (greedy: temperature 1)."""
    entropy_BT: Tensor
    """Entropy of the whole next-token distribution at temperature 1."""
    mask_BT: Tensor
    """Which entries are sampled tokens, bool."""
    flops: float


def sequence_seeds(prompts: Iterable[Sequence[int]], group: int, *key: object) -> numpy.ndarray:
    """One 64-bit seed per sequence, (P * group,).

    It follows from `key`, the prompt's content, how often the same prompt stood earlier in the list,
    and the sequence's number in its group: not from the neighbours or the order of the batch.
    """
    seen: dict[tuple[int, ...], int] = {}
    seeds = []
    for prompt in map(tuple, prompts):
        seen[prompt] = seen.get(prompt, 0) + 1
        seeds.append(stream("sample", *key, *prompt, "occurrence", seen[prompt]) % 2**64)
    return _scramble(numpy.array(seeds, numpy.uint64), group).reshape(-1)


def uniforms(seeds: numpy.ndarray, steps: int) -> Tensor:
    """Uniform numbers in [0, 1), fp32, (B, steps); row b follows from seeds[b] alone."""
    return torch.from_numpy((_scramble(seeds, steps) >> numpy.uint64(40)).astype(numpy.float32) * 2.0**-24)


def _scramble(seeds: numpy.ndarray, count: int) -> numpy.ndarray:
    """The first `count` outputs of SplitMix64 (Steele et al. 2014) from each seed, (len, count)."""
    with numpy.errstate(over="ignore"):
        z = seeds[:, None] + GOLDEN * numpy.arange(1, count + 1, dtype=numpy.uint64)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return z ^ (z >> numpy.uint64(31))


@torch.no_grad()
def sample(
    policy: Policy,
    task: Task,
    prompts: Sequence[Sequence[int]],
    *,
    length: int,
    group: int = 1,
    temperature: float = 1.0,
    seeds: numpy.ndarray | None = None,
) -> Rollout:
    """Sample `group` completions per prompt, each until `task.end` or `length` tokens.

    A prompt is read once for its whole group. Sampling inverts the cumulative distribution at
    `uniforms(seeds, length)`, so a sequence does not depend on the batch it is sampled in.

    Args:
        temperature: divides the logits; 0 takes the most probable token and needs no seeds.
        seeds: one per sequence, from `sequence_seeds`.
    Raises:
        ValueError: `seeds` are missing or too few for a positive temperature.
    """
    sequences = len(prompts) * group
    decoder = policy.read(prompts, pad=task.pad, length=length, group=group)
    device = decoder.logits_BV.device
    draws_BT = None
    if temperature > 0:
        if seeds is None or len(seeds) != sequences:
            raise ValueError(
                f"temperature={temperature}: need {sequences} seeds; take them from sequence_seeds()"
            )
        draws_BT = uniforms(seeds, length).to(device)
    running_B = torch.ones(sequences, dtype=torch.bool, device=device)
    columns: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for step in range(length):
        logp_BV = F.log_softmax(decoder.logits_BV, dim=-1)
        probability_BV = logp_BV.exp()
        entropy_B = -(probability_BV * logp_BV).sum(-1)
        if temperature not in (0, 1):
            logp_BV = F.log_softmax(decoder.logits_BV / temperature, dim=-1)
            probability_BV = logp_BV.exp()
        if draws_BT is None:
            tokens_B = logp_BV.argmax(-1)
        else:
            cumulative_BV = probability_BV.cumsum(-1)
            drawn_B1 = draws_BT[:, step : step + 1] * cumulative_BV[:, -1:]
            tokens_B = torch.searchsorted(cumulative_BV, drawn_B1, right=True)[:, 0].clamp(
                max=task.vocabulary - 1
            )
        logp_B = logp_BV.gather(1, tokens_B.unsqueeze(1))[:, 0]
        columns.append((tokens_B, logp_B, entropy_B, running_B))
        if task.end is not None:
            running_B = running_B & (tokens_B != task.end)
            if not running_B.any():
                break
        if step + 1 < length:
            decoder.advance(tokens_B, step)
    tokens_BT, logp_BT, entropy_BT, mask_BT = (
        torch.stack(column, dim=1) for column in zip(*columns, strict=True)
    )
    lengths = mask_BT.sum(1).tolist()
    return Rollout(
        completions=[tuple(row[:n]) for row, n in zip(tokens_BT.tolist(), lengths, strict=True)],
        logp_BT=logp_BT.masked_fill(~mask_BT, 0.0),
        entropy_BT=entropy_BT.masked_fill(~mask_BT, 0.0),
        mask_BT=mask_BT,
        flops=policy.shape.sample(
            sequences=sequences, prompt=decoder.filled, steps=len(columns), group=group
        ),
    )


def sample_together(
    policy: Policy,
    task: Task,
    prompts: Sequence[Sequence[int]],
    *,
    length: int,
    group: int = 1,
    temperature: float = 1.0,
    seeds: numpy.ndarray,
) -> Rollout:
    """As `sample`, by all processes, each on its share of the prompts: each gets the whole rollout.

    Its cost is that of one process which samples them all.
    """
    if ranks.count() == 1:
        return sample(policy, task, prompts, length=length, group=group, temperature=temperature, seeds=seeds)
    mine = ranks.share(len(prompts), ranks.own(), ranks.count())
    rollout = sample(
        policy,
        task,
        prompts[mine.start : mine.stop],
        length=length,
        group=group,
        temperature=temperature,
        seeds=seeds[mine.start * group : mine.stop * group],
    )
    device = rollout.logp_BT.device
    names = ("logp_BT", "entropy_BT", "mask_BT")
    parts = ranks.gather((rollout.completions, *(getattr(rollout, name).cpu() for name in names)))
    steps = max(part[1].shape[1] for part in parts)
    columns = [
        torch.cat([F.pad(part[i], (0, steps - part[i].shape[1])) for part in parts]).to(device)
        for i in (1, 2, 3)
    ]
    return Rollout(
        completions=[completion for part in parts for completion in part[0]],
        flops=policy.shape.sample(
            sequences=len(prompts) * group, prompt=max(map(len, prompts)), steps=steps, group=group
        ),
        **dict(zip(names, columns, strict=True)),
    )


def predicted_logits(policy: Policy, batch: Batch) -> Tensor:
    """Logits for the batch's supervised tokens: (B, M, V), fp32; fp64 of a policy in fp64."""
    return at_least_fp32(policy.predicted(batch))


def log_probabilities(logits_BMV: Tensor, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Log-probability of each supervised token at a temperature, 0 at padding: (B, M)."""
    if temperature != 1:
        logits_BMV = logits_BMV / temperature
    logp_BMV = F.log_softmax(logits_BMV, dim=-1)
    logp_BM = logp_BMV.gather(2, batch.targets_BM.unsqueeze(-1))[..., 0]
    return logp_BM.masked_fill(~batch.supervised_BM, 0.0)


def score(policy: Policy, batch: Batch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """What `sample` reports, for given completions in one pass (teacher forcing).

    Args:
        batch: from `arena.data.collate(problems, pad, completions)`.
        temperature: of the log-probabilities; entropies are at temperature 1.
    Returns:
        log-probabilities and entropies, (B, M) each, 0 at padding.
    """
    logits_BMV = predicted_logits(policy, batch)
    full_BMV = F.log_softmax(logits_BMV, dim=-1)
    entropy_BM = -(full_BMV.exp() * full_BMV).sum(-1).masked_fill(~batch.supervised_BM, 0.0)
    return log_probabilities(logits_BMV, batch, temperature), entropy_BM
