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
from einops import rearrange
from torch import Tensor

from arena.transformer import Block, TransformerLM, rotary_tables, rotate

SHARED_FROM = 16
"""Prompt length from which a group's sequences attend to one copy of their prompt. Below, a copy each
is as fast, and gives the numbers to the last bit that earlier records were made with."""


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

    def attend(self, q_BHD: Tensor, k_BHD: Tensor, v_BHD: Tensor, step: int) -> Tensor:
        end = self.filled + step + 1
        k_BHTD, v_BHTD = self.cache
        k_BHTD[:, :, end - 1], v_BHTD[:, :, end - 1] = k_BHD, v_BHD
        mask = None if self.real is None else self.real[..., :end]
        attended = F.scaled_dot_product_attention(
            q_BHD.unsqueeze(2), k_BHTD[:, :, :end], v_BHTD[:, :, :end], attn_mask=mask
        )
        return rearrange(attended, "b h 1 d -> b (h d)")


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
        self.own_k, self.own_v = (self.k_PHSD.new_empty((p, h, group, length, d)) for _ in range(2))
        self.padding = None if real_PS is None else ~real_PS[:, None, None]  # (P, 1, 1, S)

    def attend(self, q_BHD: Tensor, k_BHD: Tensor, v_BHD: Tensor, step: int) -> Tensor:
        q_PHGD, k_PHGD, v_PHGD = (
            rearrange(x, "(p g) h d -> p h g d", g=self.group) for x in (q_BHD, k_BHD, v_BHD)
        )
        self.own_k[..., step, :], self.own_v[..., step, :] = k_PHGD, v_PHGD
        k_PHGTD, v_PHGTD = self.own_k[..., : step + 1, :], self.own_v[..., : step + 1, :]
        q_PHGD = q_PHGD * q_PHGD.shape[-1] ** -0.5
        prompt_PHGS = q_PHGD @ self.k_PHSD.mT
        if self.padding is not None:
            prompt_PHGS = prompt_PHGS.masked_fill(self.padding, float("-inf"))
        own_PHGT = (q_PHGD.unsqueeze(-2) @ k_PHGTD.mT).squeeze(-2)
        weights = torch.cat((prompt_PHGS, own_PHGT), dim=-1).softmax(-1).to(q_BHD.dtype)
        prompt, own = weights[..., : self.filled], weights[..., self.filled :]
        attended_PHGD = prompt @ self.v_PHSD + (own.unsqueeze(-2) @ v_PHGTD).squeeze(-2)
        return rearrange(attended_PHGD, "p h g d -> (p g) (h d)")


class TransformerDecoder(Decoder):
    """Transformer++; keys and values are kept in place."""

    def __init__(
        self, model: TransformerLM, prompts: Sequence[Sequence[int]], pad: int, length: int, group: int
    ) -> None:
        self.model = model
        tokens, index, first = pad_left(prompts, pad, length, model.embedding.weight.device)
        self.filled = width = tokens.shape[1]
        positions, mask, real = index, None, None
        if first is not None:
            positions = (index - first[:, None]).clamp(min=0)
            prompt = index[:width]
            real = prompt >= first[:, None]
            # Padding sees itself: a query that sees nothing would give NaN.
            itself = torch.eye(width, dtype=torch.bool, device=tokens.device)
            mask = (prompt <= prompt[:, None]) & real[:, None, None] | itself
            following = positions[:, None, None, width:].repeat_interleave(group, dim=0)
            hidden, context = model(tokens, positions[:, None, :width], mask)
        else:
            following = index[width:]
            hidden, context = model(tokens, index[:width])
        self.logits_BV = model.logits(hidden[:, -1]).float().repeat_interleave(group, dim=0)
        self.tables = rotary_tables(following, model.backbone.head_width)
        kind = CopiedPrompt if width < SHARED_FROM else SharedPrompt
        self.caches = [kind(pair, length, group, real) for pair in context]

    def advance(self, tokens_B: Tensor, step: int) -> None:
        # Block's own steps, but without an axis for the one token, and with the rotation where queries
        # and keys lie together: for small models it is the layout that takes the time.
        cos, sin = (t[..., step, :] for t in self.tables)
        x_BW = self.model.embedding(tokens_B)
        for block, cache in zip(self.model.backbone.blocks, self.caches, strict=True):
            assert isinstance(block, Block)
            qkv_BW = block.attention.qkv(block.norm_attention(x_BW))
            qkv = rearrange(qkv_BW, "b (n h d) -> b n h d", n=3, h=block.attention.heads)
            q, k = rotate(qkv[:, :2], (cos, sin)).unbind(1)
            x_BW = x_BW + block.attention.out(cache.attend(q, k, qkv[:, 2], step))
            x_BW = x_BW + block.mlp(block.norm_mlp(x_BW))
        self.logits_BV = self.model.logits(self.model.backbone.norm(x_BW)).float()


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
