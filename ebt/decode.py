"""Decoding with cached keys and values: a token costs its thinking, whatever the prefix."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from arena.config import Size, require
from arena.contender import Solutions
from arena.tasks.base import Problem, Task
from arena.transformer import Block, rotary_tables
from ebt.config import Thinking
from ebt.energy import Context, EnergyModel
from ebt.infer import EBT, Noise, infer, think_flops, untouched
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
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, problem in enumerate(problems):
        by_length[len(problem.prompt)].append(i)
    completions: list[tuple[int, ...]] = [()] * len(problems)
    total = 0.0
    device = ebt.alpha.device
    for _, members in sorted(by_length.items()):
        decoder = Decoder(ebt, size, noise=noise)
        rows = decoder.run(
            torch.tensor([problems[i].prompt for i in members], device=device),
            limit=max(task.longest(problems[i].severity, problems[i].axis)[1] for i in members),
            thinking=thinking,
            end=task.end,
        )
        for i, row in zip(members, rows.tolist(), strict=True):
            completions[i] = tuple(row[: row.index(task.end) + 1] if task.end in row else row)
        total += decoder.flops
    return Solutions(completions=completions, flops=total)


class Decoder:
    """Reads prompts of one length, then thinks once a token; `flops` is what it has cost.

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

    @torch.no_grad()
    def run(
        self,
        tokens_BS: Tensor,
        *,
        limit: int,
        thinking: Thinking | None,
        end: int | None = None,
        sampling: Sampling = GREEDY,
        energy: bool = False,
        on_token: Callable[[Tensor, Thought], None] | None = None,
    ) -> Tensor:
        """Tokens (B, at most `limit`); stops when every row has ended.

        Args:
            thinking: none takes the head's start as it is.
            on_token: told each column of tokens (B,) and the thought (one candidate a row) behind it.
        """
        device = tokens_BS.device
        batch, length = tokens_BS.shape
        order = torch.arange(length + limit + 1, device=device)
        cache = _Cache(self.model, batch, length + limit)
        start_BV = cache.read(tokens_BS)
        ended = torch.zeros(batch, dtype=torch.bool, device=device)
        out: list[Tensor] = []
        for i in range(limit):
            keys = length + i
            context = Context(
                keys_values=cache.keys_values(),
                mask=torch.zeros((1, 1, 1, keys), device=device),
                rotary=rotary_tables(order[keys : keys + 1], self.model.backbone.head_width),
                start_BMV=None if start_BV is None else start_BV[:, None],
            )
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
        self._blocks = [b for b in model.backbone.blocks if isinstance(b, Block)]
        weight, width = model.embedding.weight, model.backbone.head_width
        shape = (batch, self._blocks[0].attention.heads, room, width)
        self._pairs = [(weight.new_empty(shape), weight.new_empty(shape)) for _ in self._blocks]

    def keys_values(self) -> list[tuple[Tensor, Tensor]]:
        """Views of what has been read so far."""
        return [(k[:, :, : self.filled], v[:, :, : self.filled]) for k, v in self._pairs]

    def read(self, tokens_BS: Tensor) -> Tensor | None:
        """Read a prompt, or one more token; the start's logits (B, V) after it, if there is a head."""
        first, count = self.filled, tokens_BS.shape[1]
        assert first == 0 or count == 1
        self.filled = first + count
        backbone = self.model.backbone
        order = torch.arange(first, self.filled, device=tokens_BS.device)
        tables = rotary_tables(order, backbone.head_width)
        x = self.model.embedding(tokens_BS)
        for i, block in enumerate(self._blocks):
            keys, values = self._pairs[i]
            if i + 1 == len(self._blocks) and self.model.start is None:
                # Nobody reads the last block's output.
                k, v = block.project_keys_values(x, tables)
                keys[:, :, first : self.filled], values[:, :, first : self.filled] = k, v
                return None
            q, k, v = block.project(x, tables)
            keys[:, :, first : self.filled], values[:, :, first : self.filled] = k, v
            attended = F.scaled_dot_product_attention(
                q, keys[:, :, : self.filled], values[:, :, : self.filled], is_causal=first == 0
            )
            x = block.finish(x, attended)
        assert self.model.start is not None
        return self.model.start(backbone.norm(x[:, -1]))


def take(logits_BV: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    """One token a row, (B,)."""
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
