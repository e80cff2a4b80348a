"""The one backbone: pre-norm blocks with rotary attention and SwiGLU, no biases; and Transformer++.

Shapes (suffixes): B batch, S sequence, M queries, T keys, H heads, D head width, W model width,
V vocabulary. A stream of queries attends to the keys that a boolean mask allows, so the same block
serves training, cached decoding and, in the energy-based arm, the candidate stream.

Source: "Transformer++" as in arXiv 2507.02092 (RMSNorm, rotary embedding, SwiGLU).
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from arena.config import Size

ROTARY_BASE = 10_000.0


def at_least_fp32(x: Tensor) -> Tensor:
    """Half precision as fp32, anything wider as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class RMSNorm(nn.Module):
    """x / rms(x) * weight (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # Plain arithmetic in fp32: differentiable twice, exact under bf16 autocast.
        x32 = at_least_fp32(x)
        scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)
        return (x32 * scale).to(x.dtype) * self.weight


def rotary_tables(positions: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, each `positions.shape + (head_width,)`, fp32 (Su et al. 2021)."""
    exponents = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angles = positions.float().unsqueeze(-1) * ROTARY_BASE**-exponents
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x_BHMD: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (x_i, x_{i + D/2}) by its position's angle."""
    cos, sin = (t.to(x_BHMD.dtype) for t in tables)
    return torch.addcmul(x_BHMD * cos, x_BHMD.roll(x_BHMD.shape[-1] // 2, dims=-1), sin)


class Attention(nn.Module):
    """Multi-head attention; who attends to whom is the caller's business."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width, bias=False)
        self.out = nn.Linear(size.width, size.width, bias=False)

    def project(self, x_BMW: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys and values, each (B, H, M, D)."""
        qkv = rearrange(self.qkv(x_BMW), "b m (n h d) -> n b h m d", n=3, h=self.heads)
        q, k = rotate(qkv[:2], tables)
        return q, k, qkv[2]

    def project_keys_values(self, x_BMW: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Rotated keys and values without the queries."""
        width = self.out.out_features
        kv = F.linear(x_BMW, self.qkv.weight[width:])
        k, v = rearrange(kv, "b m (n h d) -> n b h m d", n=2, h=self.heads)
        return rotate(k, tables), v

    def merge(self, x_BHMD: Tensor) -> Tensor:
        """Heads back to the model width."""
        return self.out(rearrange(x_BHMD, "b h m d -> b m (h d)"))


class SwiGLU(nn.Module):
    """W_out(silu(W_gate x) * W_up x) (Shazeer 2020)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate_up = nn.Linear(size.width, 2 * size.hidden, bias=False)
        self.out = nn.Linear(size.hidden, size.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * up)


class Block(nn.Module):
    """Pre-norm attention and SwiGLU, each added to the residual stream."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm_attention = RMSNorm(size.width)
        self.attention = Attention(size)
        self.norm_mlp = RMSNorm(size.width)
        self.mlp = SwiGLU(size)

    def project(self, x: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a stream, each (B, H, M, D)."""
        return self.attention.project(self.norm_attention(x), tables)

    def project_keys_values(self, x: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values alone."""
        return self.attention.project_keys_values(self.norm_attention(x), tables)

    def finish(self, x_BMW: Tensor, attended_BHMD: Tensor) -> Tensor:
        """The stream after its attention output and the SwiGLU are added."""
        x_BMW = x_BMW + self.attention.merge(attended_BHMD)
        return x_BMW + self.mlp(self.norm_mlp(x_BMW))


class Backbone(nn.Module):
    """Blocks and the last norm, initialised the same way for every contender."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.head_width = size.width // size.heads
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = RMSNorm(size.width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialise(module)
        for block in self.blocks:
            assert isinstance(block, Block)
            for last in (block.attention.out, block.mlp.out):
                # Residual branches start smaller with depth (GPT-2).
                with torch.no_grad():
                    last.weight /= math.sqrt(2 * size.layers)

    def observe(
        self,
        x_BSW: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        cache: "list[tuple[Tensor, Tensor]] | None" = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Run a stream of observed tokens.

        Args:
            x_BSW: embedded tokens.
            positions: rotary positions, (S,) or (B, 1, S).
            mask: who may attend to whom, bool, broadcastable to (B, H, S, T); none: causal.
            cache: keys and values of earlier tokens, one pair a block; they stand before the new ones.
        Returns:
            the stream before the last norm, and each block's keys and values (B, H, T, D).
        Raises:
            ValueError: several new tokens after a cache, and no mask to say who sees whom.
        """
        if cache is not None and mask is None and x_BSW.shape[1] > 1:
            raise ValueError(
                f"{x_BSW.shape[1]} tokens after a cache need a mask; give one, or one token at a time"
            )
        tables = rotary_tables(positions, self.head_width)
        context: list[tuple[Tensor, Tensor]] = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.project(x_BSW, tables)
            if cache is not None:
                k, v = torch.cat((cache[i][0], k), dim=2), torch.cat((cache[i][1], v), dim=2)
            context.append((k, v))
            causal = mask is None and cache is None
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
            x_BSW = block.finish(x_BSW, attended)
        return x_BSW, context

    def keys_values(
        self,
        x_BSW: Tensor,
        positions: Tensor,
        cache: list[tuple[Tensor, Tensor]] | None = None,
        *,
        causal: bool = True,
    ) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (B, H, T, D) of every block over a stream, and nothing more.

        The last block's queries, attention and SwiGLU would feed an output that nobody reads. With
        the cache of earlier tokens, x holds the one token that follows them. Not causal: every token
        sees every other.
        """
        tables = rotary_tables(positions, self.head_width)
        context: list[tuple[Tensor, Tensor]] = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q = None
            if i + 1 == len(self.blocks):
                k, v = block.project_keys_values(x_BSW, tables)
            else:
                q, k, v = block.project(x_BSW, tables)
            if cache is not None:
                k, v = torch.cat((cache[i][0], k), dim=2), torch.cat((cache[i][1], v), dim=2)
            context.append((k, v))
            if q is not None:
                attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal and cache is None)
                x_BSW = block.finish(x_BSW, attended)
        return context


def initialise(linear: nn.Linear) -> None:
    """Normal with standard deviation 1 / sqrt(inputs): outputs of unit scale at any width."""
    nn.init.normal_(linear.weight, std=linear.in_features**-0.5)


def embed(rows_VW: Tensor) -> None:
    """Initialise an embedding table: normal with standard deviation width^-1/2, rows of unit length.

    Rows eight times longer drown what the first blocks write: of three-digit sums, one layer of width
    64 then gets none right after 832 steps of 64, where this scale gets 98% right.
    """
    nn.init.normal_(rows_VW, std=rows_VW.shape[-1] ** -0.5)


class TransformerLM(nn.Module):
    """Transformer++: token embedding, backbone, language-model head."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size.width)
        embed(self.embedding.weight)
        self.backbone = Backbone(size)
        self.head = nn.Linear(size.width, vocabulary, bias=False)
        initialise(self.head)

    def forward(
        self,
        tokens_BS: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: list[tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Hidden states (B, S, W) after the last norm, and the keys and values of every block."""
        if positions is None:
            positions = torch.arange(tokens_BS.shape[1], device=tokens_BS.device)
        x, context = self.backbone.observe(self.embedding(tokens_BS), positions, mask, cache)
        return self.backbone.norm(x), context

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary for hidden states of any leading shape."""
        return self.head(hidden)
