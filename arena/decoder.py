"""Reading one token a sequence and step after a prompt, on the arena's backbone.

Shapes (suffixes): P prompts, G sequences a prompt, B = P * G sequences (sequence b continues prompt
b // G), S padded prompt length, T keys, V vocabulary, H heads, D head width, W model width.

Prompts of different length are padded on the left: then every sequence's next token has the same
index. Rotary positions count from each prompt's own first token.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from arena.folded import floor, fold, merged, scaled, unit
from arena.transformer import Block, TransformerLM, at_least_fp32, rotary_tables, rotate

SHARED_FROM = 16
"""Prompt length from which a group's sequences attend to one copy of their prompt. Below, a copy each
is faster."""


BLOCK = 16
"""Steps of a long prompt's sequences after which, on the CPU, their keys and values are laid out anew for
matrix products, which read whole runs of memory; until then they lie step after step (`dots`)."""


class Decoder(ABC):
    """A policy that has read the prompts."""

    filled: int
    """Padded length of the prompts, S."""
    logits_BV: Tensor
    """Logits of each sequence's next token, fp32."""

    @abstractmethod
    def advance(self, tokens_B: Tensor, step: int) -> None:
        """Read each sequence's `step`-th sampled token (from 0); sets the next `logits_BV`."""


def dots(k_TBHD: Tensor, q_BHD: Tensor) -> Tensor:
    """Scores (T, B, H) of few keys per sequence, one step after the other.

    Sums of element-wise products: for one query and few keys they take half the time of the fused kernel and
    of batched matrix products, which go through sequences and heads one by one.
    """
    return (k_TBHD * q_BHD).sum(-1)


def mixed(weights_TBH: Tensor, v_TBHD: Tensor) -> Tensor:
    """Weighted sum (B, H, D) of few values a sequence; see `dots`."""
    return (weights_TBH.unsqueeze(-1) * v_TBHD).sum(0)


class CopiedPrompt:
    """One block's keys and values: each sequence has its own, prompt included."""

    def __init__(
        self, prompt: tuple[Tensor, Tensor], length: int, group: int, real_PS: Tensor | None
    ) -> None:
        self.filled = prompt[0].shape[2]
        self.cache = tuple(self._room(x, length, group) for x in prompt)
        self.padding: Tensor | None = None  # (S, B, 1)
        if real_PS is not None:
            self.padding = ~real_PS.repeat_interleave(group, dim=0).T.unsqueeze(-1)

    @staticmethod
    def _room(x_PHSD: Tensor, length: int, group: int) -> Tensor:
        """The prompt's keys or values for each sequence, and room for sampled tokens: (S + T, B, H, D)."""
        p, h, s, d = x_PHSD.shape
        room = x_PHSD.new_empty((s + length, p, group, h, d))
        room[:s] = x_PHSD.permute(2, 0, 1, 3).unsqueeze(2)
        return room.flatten(1, 2)

    def attend(self, qk: Tensor, v_BHD: Tensor, step: int) -> Tensor:
        """Attention (B, W) of the queries qk[:, 0], already times D^-1/2; keeps keys qk[:, 1] and values."""
        k_TBHD, v_TBHD = (x[: self.filled + step + 1] for x in self.cache)
        k_TBHD[-1], v_TBHD[-1] = qk[:, 1], v_BHD
        scores_TBH = dots(k_TBHD, qk[:, 0])
        if self.padding is not None:
            scores_TBH[: self.filled].masked_fill_(self.padding, float("-inf"))
        return mixed(scores_TBH.softmax(0).to(v_BHD.dtype), v_TBHD).flatten(1)


class SharedPrompt:
    """One block's keys and values: a prompt's once for its group, each sequence's own tokens beside.

    What is read from memory for the prompt falls by the size of the group; for one query a sequence,
    plain matrix products then beat the fused kernel, which takes a sequence and head at a time.
    """

    def __init__(
        self, prompt: tuple[Tensor, Tensor], length: int, group: int, real_PS: Tensor | None
    ) -> None:
        # Views into one projection: made contiguous once, or every product would copy them.
        self.k_PHSD, self.v_PHSD = (x.contiguous() for x in prompt)
        p, h, self.filled, d = self.k_PHSD.shape
        self.group = group
        self.block = BLOCK if self.k_PHSD.device.type == "cpu" else length
        self.recent = tuple(x.new_empty((self.block, p * group, h, d)) for x in prompt)
        self.earlier: list[tuple[Tensor, ...]] = []  # full blocks, (P, H, G, T, D)
        self.padding = None if real_PS is None else ~real_PS[:, None, None]  # (P, 1, 1, S)

    def attend(self, qk: Tensor, v_BHD: Tensor, step: int) -> Tensor:
        """As CopiedPrompt.attend."""
        place = step % self.block
        if step and place == 0:
            self.earlier.append(tuple(self._grouped(x.movedim(0, -2)).contiguous() for x in self.recent))
        k_TBHD, v_TBHD = (x[: place + 1] for x in self.recent)
        k_TBHD[-1], v_TBHD[-1] = qk[:, 1], v_BHD
        q_PHGD = self._grouped(qk[:, 0]).contiguous()  # several products read it
        prompt_PHGS = q_PHGD @ self.k_PHSD.mT
        if self.padding is not None:
            prompt_PHGS = prompt_PHGS.masked_fill(self.padding, float("-inf"))
        own = [(q_PHGD.unsqueeze(-2) @ k.mT).squeeze(-2) for k, _ in self.earlier]
        scores = [prompt_PHGS, *own, self._grouped(dots(k_TBHD, qk[:, 0]).movedim(0, -1))]
        weights = torch.cat(scores, dim=-1).softmax(-1).to(v_BHD.dtype)
        prompt, *parts, recent_PHGT = weights.split([x.shape[-1] for x in scores], dim=-1)
        attended_PHGD = prompt @ self.v_PHSD
        for part_PHGT, (_, v) in zip(parts, self.earlier, strict=True):
            attended_PHGD += (part_PHGT.unsqueeze(-2) @ v).squeeze(-2)
        attended_BHD = mixed(self._apart(recent_PHGT).movedim(-1, 0), v_TBHD)
        return (attended_BHD + self._apart(attended_PHGD)).flatten(1)

    def _grouped(self, x_BH: Tensor) -> Tensor:
        """(B, H, ...) as (P, H, G, ...)."""
        return x_BH.unflatten(0, (-1, self.group)).transpose(1, 2)

    def _apart(self, x_PHG: Tensor) -> Tensor:
        """(P, H, G, ...) as (B, H, ...)."""
        return x_PHG.transpose(1, 2).flatten(0, 1)


class TransformerDecoder(Decoder):
    """Transformer++; keys and values are kept in place.

    With `loops` above 1 the blocks are applied again to their own output plus the embedded token, and
    each loop keeps keys and values of its own.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: TransformerLM,
        prompts: Sequence[Sequence[int]],
        pad: int,
        length: int,
        group: int,
        loops: int = 1,
    ) -> None:
        backbone = model.backbone
        self.embedding, self.width = model.embedding.weight, backbone.head_width
        self.blocks = loops * [fold(block) for block in backbone.blocks if isinstance(block, Block)]
        self.layers = len(backbone.blocks)
        self.head, self.bias = scaled(model.head.weight, backbone.norm.weight), model.head.bias
        self.floor = floor(backbone.norm)
        tokens, index, first = pad_left(prompts, pad, length, self.embedding.device)
        self.filled = width = tokens.shape[1]
        positions, mask, real = index, None, None
        if first is not None:
            positions = (index - first[:, None]).clamp(min=0)[:, None]
            prompt = index[:width]
            real = prompt >= first[:, None]
            # Padding sees itself: a query that sees nothing would give NaN.
            itself = torch.eye(width, dtype=torch.bool, device=tokens.device)
            mask = (prompt <= prompt[:, None]) & real[:, None, None] | itself
        cos, sin = (t.to(self.embedding.dtype) for t in rotary_tables(positions, self.width))
        kind = CopiedPrompt if width < SHARED_FROM else SharedPrompt
        self.caches: list[CopiedPrompt | SharedPrompt] = []
        x_NW = embedded_NW = F.embedding(tokens, self.embedding).flatten(0, 1)
        for i, block in enumerate(self.blocks):
            if i and i % self.layers == 0:
                x_NW = x_NW + embedded_NW
            q, k, v = block.project(x_NW, len(prompts), (cos[..., :width, :], sin[..., :width, :]))
            self.caches.append(kind((k, v), length, group, real))
            attended = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, scale=1.0
            )
            x_NW = block.finish(x_NW, merged(attended))
        self.logits_BV = self._logits(x_NW[width - 1 :: width]).repeat_interleave(group, dim=0)
        tables = (t[..., width:, :].movedim(-2, 0) for t in (cos, sin))
        if first is not None:
            tables = (t.repeat_interleave(group, dim=1).unsqueeze(2) for t in tables)
        self.tables = list(zip(*tables, strict=True))
        """Of each step: (D,), or (B, 1, 1, D) where prompts differ in length."""

    @torch.inference_mode()
    def advance(self, tokens_B: Tensor, step: int) -> None:
        # Folded.project's own steps, but without an axis for the one token, and with the rotation where
        # queries and keys lie together: for small models it is the layout that takes the time.
        x_BW = embedded_BW = F.embedding(tokens_B, self.embedding)
        for i, (block, cache) in enumerate(zip(self.blocks, self.caches, strict=True)):
            if i and i % self.layers == 0:
                x_BW = x_BW + embedded_BW
            u_BW, _ = unit(x_BW, block.floor[0])
            qkv = F.linear(u_BW, block.qkv).view(x_BW.shape[0], 3, -1, self.width)
            qk = rotate(qkv[:, :2], self.tables[step])
            x_BW = block.finish(x_BW, cache.attend(qk, qkv[:, 2], step))
        self.logits_BV = self._logits(x_BW)

    def _logits(self, x_BW: Tensor) -> Tensor:
        return at_least_fp32(F.linear(unit(x_BW, self.floor)[0], self.head, self.bias))


def pad_left(
    prompts: Sequence[Sequence[int]], pad: int, length: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Padded prompts (P, S), the indices 0 to S + length, and where each prompt begins (none: all at 0)."""
    width = max(map(len, prompts))
    tokens = torch.tensor([(pad,) * (width - len(p)) + tuple(p) for p in prompts], device=device)
    index = torch.arange(width + length, device=device)
    if all(len(p) == width for p in prompts):
        return tokens, index, None
    return tokens, index, torch.tensor([width - len(p) for p in prompts], device=device)
