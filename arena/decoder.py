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
from arena.transformer import Block, TransformerLM, rotary_tables, rotate

SHARED_FROM = 16
"""Prompt length from which a group's sequences attend to one copy of their prompt. Below, a copy each
is as fast, and gives the numbers to the last bit that earlier records were made with."""


BLOCK = 16
"""Steps whose keys and values lie together on the CPU. A step then reads whole runs of memory; one room
for the full length, filled in part, has gaps, with which the same products took 1.4 times as long."""


class Decoder(ABC):
    """A policy that has read the prompts."""

    filled: int
    """Padded length of the prompts, S."""
    logits_BV: Tensor
    """Logits of each sequence's next token, fp32."""

    @abstractmethod
    def advance(self, tokens_B: Tensor, step: int) -> None:
        """Read each sequence's `step`-th sampled token (from 0); sets the next `logits_BV`."""


class CopiedPrompt:
    """One block's keys and values: each sequence has its own, prompt included."""

    def __init__(
        self, prompt: tuple[Tensor, Tensor], length: int, group: int, real_PS: Tensor | None
    ) -> None:
        self.filled = prompt[0].shape[2]
        self.cache = tuple(self._room(x, length, group) for x in prompt)
        self.real: Tensor | None = None  # which indices hold a token, (B, 1, 1, S + T)
        if real_PS is not None:
            padded = F.pad(real_PS, (0, length), value=True)
            self.real = padded[:, None, None].repeat_interleave(group, dim=0)

    @staticmethod
    def _room(x_PHSD: Tensor, length: int, group: int) -> Tensor:
        """The prompt's keys or values, one copy a sequence, with room for the sampled tokens."""
        p, h, s, d = x_PHSD.shape
        room = x_PHSD.new_empty((p, group, h, s + length, d))
        room[..., :s, :] = x_PHSD.unsqueeze(1)
        return room.flatten(0, 1)

    def attend(self, qk: Tensor, v_BHD: Tensor, step: int) -> Tensor:
        """Attention (B, W) of the queries qk[:, 0], already times D^-1/2; keeps keys qk[:, 1] and values."""
        end = self.filled + step + 1
        k_BHTD, v_BHTD = self.cache
        k_BHTD[:, :, end - 1], v_BHTD[:, :, end - 1] = qk[:, 1], v_BHD
        mask = None if self.real is None else self.real[..., :end]
        k_BHTD, v_BHTD = k_BHTD[:, :, :end], v_BHTD[:, :, :end]
        q_BH1D = qk[:, 0].unsqueeze(2)
        return F.scaled_dot_product_attention(q_BH1D, k_BHTD, v_BHTD, attn_mask=mask, scale=1.0).flatten(1)


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
        self.room = (p, h, group, self.block, d)
        self.own: list[tuple[Tensor, Tensor]] = []  # a sequence's own tokens, block after block
        self.padding = None if real_PS is None else ~real_PS[:, None, None]  # (P, 1, 1, S)

    def attend(self, qk: Tensor, v_BHD: Tensor, step: int) -> Tensor:
        """As CopiedPrompt.attend."""
        q_PHGD, k_PHGD, v_PHGD = (self._grouped(x) for x in (qk[:, 0], qk[:, 1], v_BHD))
        q_PHGD = q_PHGD.contiguous()  # two products read it
        place = step % self.block
        if place == 0:
            self.own.append((k_PHGD.new_empty(self.room), v_PHGD.new_empty(self.room)))
        k_PHGTD, v_PHGTD = self.own[-1]
        k_PHGTD[..., place, :], v_PHGTD[..., place, :] = k_PHGD, v_PHGD
        own = [*self.own[:-1], (k_PHGTD[..., : place + 1, :], v_PHGTD[..., : place + 1, :])]
        prompt_PHGS = q_PHGD @ self.k_PHSD.mT
        if self.padding is not None:
            prompt_PHGS = prompt_PHGS.masked_fill(self.padding, float("-inf"))
        scores = [prompt_PHGS, *((q_PHGD.unsqueeze(-2) @ k.mT).squeeze(-2) for k, _ in own)]
        weights = torch.cat(scores, dim=-1).softmax(-1).to(v_BHD.dtype)
        prompt, *parts = weights.split([x.shape[-1] for x in scores], dim=-1)
        attended_PHGD = prompt @ self.v_PHSD
        for part_PHGT, (_, v) in zip(parts, own, strict=True):
            attended_PHGD += (part_PHGT.unsqueeze(-2) @ v).squeeze(-2)
        return attended_PHGD.transpose(1, 2).flatten(2).flatten(0, 1)

    def _grouped(self, x_BHD: Tensor) -> Tensor:
        return x_BHD.unflatten(0, (-1, self.group)).transpose(1, 2)


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
        return F.linear(unit(x_BW, self.floor)[0], self.head, self.bias).float()


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
