"""Decoding with cached keys and values: a token costs its thinking, whatever the prefix."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from arena.config import Size, require
from arena.contender import Solutions
from arena.folded import fold, heads, merged, unit
from arena.tasks.base import Problem, Task
from arena.transformer import Block, rotary_tables, rotate
from ebt.config import Thinking
from ebt.energy import Context, EnergyModel
from ebt.infer import EBT, Noise, infer, think_flops, untouched
from ebt.slope import Slope
from ebt.think import Thought


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is taken from the distribution that thinking ended with."""

    temperature: float = 0.0
    """Divides the logits; 0 takes the most probable token."""
    top_k: int = 0
    """Only the k most probable tokens; 0 is all of them."""
    top_p: float = 1.0
    """Only the most probable tokens that together reach this probability (arXiv 1904.09751)."""

    def validate(self) -> None:
        """Raise ConfigError unless every value can be used."""
        require(
            self.temperature >= 0,
            f"temperature={self.temperature}: must not be negative; 0 takes the most probable token",
        )
        require(self.top_k >= 0, f"top_k={self.top_k}: must not be negative; 0 is all tokens")
        require(0 < self.top_p <= 1, f"top_p={self.top_p}: a probability, 0 < top_p <= 1")


GREEDY = Sampling()


def generate(
    ebt: EBT,
    problems: Sequence[Problem],
    task: Task,
    size: Size,
    thinking: Thinking | None,
    *,
    noise: Noise,
) -> Solutions:
    """Greedy completions. Problems with prompts of one length are decoded together."""
    completions: list[tuple[int, ...]] = [()] * len(problems)
    total = 0.0
    for members, prompts_BS, limit in by_prompt_length(problems, task, ebt.alpha.device):
        decoder = Decoder(ebt, size, noise=noise)
        rows = decoder.run(prompts_BS, limit=limit, thinking=thinking, end=task.end)
        for i, row in zip(members, rows.tolist(), strict=True):
            completions[i] = until(row, task.end)
        total += decoder.flops
    return Solutions(completions=completions, flops=total)


def by_prompt_length(
    problems: Sequence[Problem], task: Task, device: torch.device
) -> Iterator[tuple[list[int], Tensor, int]]:
    """Problems that are decoded together, shortest first: their places, prompts (B, S), most new tokens."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, problem in enumerate(problems):
        by_length[len(problem.prompt)].append(i)
    for _, members in sorted(by_length.items()):
        prompts_BS = torch.tensor([problems[i].prompt for i in members], device=device)
        yield (
            members,
            prompts_BS,
            max(task.longest(problems[i].severity, problems[i].axis)[1] for i in members),
        )


def until(row: list[int], end: int | None) -> tuple[int, ...]:
    """A decoded row up to its end token."""
    return tuple(row if end is None or end not in row else row[: row.index(end) + 1])


class Decoder:
    """Reads prompts of one length, then thinks once per token; `flops` is what it has cost.

    Args:
        noise: of the first candidates; langevin: of the steps; draws: of the sampled tokens.
    """

    def __init__(
        self,
        ebt: EBT,
        size: Size,
        *,
        noise: Noise,
        langevin: Noise | None = None,
        draws: torch.Generator | None = None,
    ) -> None:
        self.ebt, self.model, self.size = ebt, ebt.model, size
        self.noise, self.langevin, self.draws = noise, langevin, draws
        self.flops = 0.0

    @torch.inference_mode()
    def run(
        self,
        tokens_BS: Tensor,
        *,
        limit: int,
        thinking: Thinking | None,
        end: int | None = None,
        sampling: Sampling = GREEDY,
        energy: bool = False,
        trajectory: bool = False,
        on_token: Callable[[Tensor, Thought], None] | None = None,
    ) -> Tensor:
        """Tokens (B, at most `limit`); stops when every row has ended.

        Args:
            thinking: none takes the head's start as it is.
            trajectory: whether the thoughts keep every state.
            on_token: told each column of tokens (B,) and the thought (one candidate a row) behind it.
        """
        device = tokens_BS.device
        batch, length = tokens_BS.shape
        slope = Slope(self.model)
        cache = _Cache(self.model, batch, length + limit)
        start_BV = cache.read(tokens_BS)
        ended = torch.zeros(batch, dtype=torch.bool, device=device)
        out: list[Tensor] = []
        for i in range(limit):
            keys = length + i
            context = cache.context(start_BV)
            if thinking is None:
                assert context.start_BMV is not None
                thought = untouched(context.start_BMV)
            else:
                thought = infer(
                    self.ebt,
                    context,
                    (batch, 1),
                    thinking,
                    noise=self.noise,
                    langevin=self.langevin,
                    energy=energy,
                    trajectory=trajectory,
                    slope=slope,
                )
            new = length if i == 0 else 1
            self.flops += think_flops(
                self.ebt,
                self.size,
                thought,
                tokens=batch * new,
                context_pairs=batch * new * keys,
                keys=keys,
                predicted=batch,
            )
            token_B = take(thought.logits_BMV[:, 0], sampling, self.draws)
            out.append(token_B)
            if on_token is not None:
                on_token(token_B, thought)
            if end is not None:
                ended |= token_B == end
                if bool(ended.all()):
                    break
            if i + 1 < limit:
                start_BV = cache.read(token_B[:, None])
        return torch.stack(out, dim=1)


class _Cache:
    """Keys and values of the observed tokens, written in place as they come."""

    def __init__(self, model: EnergyModel, batch: int, room: int) -> None:
        self.model, self.filled = model, 0
        backbone = model.backbone
        self._blocks = [fold(b) for b in backbone.blocks if isinstance(b, Block)]
        weight, width = model.embedding.weight, backbone.head_width
        shape = (batch, weight.shape[1] // width, room, width)
        self._pairs = [(weight.new_empty(shape), weight.new_empty(shape)) for _ in self._blocks]
        cos, sin = rotary_tables(torch.arange(room + 1, device=weight.device), width)
        self._tables = cos.to(weight.dtype), sin.to(weight.dtype)

    def context(self, start_BV: Tensor | None) -> Context:
        """For one candidate a row, after all that has been read."""
        return Context(
            keys_values=[(k[:, :, : self.filled], v[:, :, : self.filled]) for k, v in self._pairs],
            mask=None,
            rotary=self._rotary(self.filled, self.filled + 1),
            start_BMV=None if start_BV is None else start_BV[:, None],
        )

    def _rotary(self, first: int, end: int) -> tuple[Tensor, Tensor]:
        cos, sin = self._tables
        return cos[first:end], sin[first:end]

    def read(self, tokens_BS: Tensor) -> Tensor | None:
        """Read a prompt, or one more token; the start's logits (B, V) after it, if there is a head."""
        (batch, count), first = tokens_BS.shape, self.filled
        assert first == 0 or count == 1
        self.filled = first + count
        tables = self._rotary(first, self.filled)
        x_NW = self.model.embedding(tokens_BS).flatten(0, 1)
        for f, (keys, values) in zip(self._blocks, self._pairs, strict=True):
            if f is self._blocks[-1] and self.model.start is None:
                # Nobody reads the last block's output.
                u_NW, _ = unit(x_NW, f.floor[0])
                k, v = heads(F.linear(u_NW, f.qkv[x_NW.shape[1] :]), batch, f.head_width, parts=2)
                keys[:, :, first : self.filled], values[:, :, first : self.filled] = rotate(k, tables), v
                return None
            q, k, v = f.project(x_NW, batch, tables)
            keys[:, :, first : self.filled], values[:, :, first : self.filled] = k, v
            k, v = keys[:, :, : self.filled], values[:, :, : self.filled]
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=first == 0, scale=1.0)
            x_NW = f.finish(x_NW, merged(attended))
        assert self.model.start is not None
        return self.model.start(self.model.backbone.norm(x_NW.view(batch, count, -1)[:, -1]))


def take(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    """One token per row, (B,)."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    logits_BV = logits_BV.float() / sampling.temperature
    if sampling.top_k:
        least = logits_BV.topk(min(sampling.top_k, logits_BV.shape[-1]), dim=-1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least, float("-inf"))
    if sampling.top_p < 1:
        ranked, index = logits_BV.softmax(-1).sort(dim=-1, descending=True)
        # A token stays if those before it do not reach top_p: the first one always does.
        outside = (ranked.cumsum(-1) - ranked) >= sampling.top_p
        logits_BV = logits_BV.masked_fill(outside.scatter(-1, index, outside), float("-inf"))
    return torch.multinomial(logits_BV.softmax(-1), 1, generator=generator)[:, 0]
