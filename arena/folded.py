"""Blocks prepared for decoding: the same function in fewer operations, without a graph.

All that only scales or shifts a linear map's input or output goes into its matrix, once: a norm's gain,
a modulation's scale, shift and gate, and attention's D^-1/2. What remains of a norm is unit(x) = x / r
with r = (x.x + W eps)^1/2, whose missing factor W^1/2 is in the matrix too. For a few tokens it is the
number of operations that takes the time, not the arithmetic.

Shapes as in arena.transformer; N = B M tokens in one row for the linear maps.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from arena.transformer import Block, RMSNorm, rotate


@dataclass(frozen=True, kw_only=True)
class Folded:
    """One block's matrices, and their shifts if a modulation has any."""

    qkv: Tensor
    qkv_shift: Tensor | None
    attention_out: Tensor
    gate_up: Tensor
    gate_up_shift: Tensor | None
    mlp_out: Tensor
    floor: tuple[Tensor, Tensor]
    """(W eps)^1/2 of the two norms, scalars."""
    head_width: int

    def project(
        self, x_NW: Tensor, batch: int, tables: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, times D^-1/2, rotated keys and values of a stream: (B, H, M, D) each."""
        u_NW, _ = unit(x_NW, self.floor[0])
        qkv = heads(F.linear(u_NW, self.qkv, self.qkv_shift), batch, self.head_width)
        q, k = rotate(qkv[:2], tables)
        return q, k, qkv[2]

    def finish(self, x_NW: Tensor, attended_NW: Tensor) -> Tensor:
        """The stream after its attention output and the SwiGLU are added."""
        x_NW = F.linear(attended_NW, self.attention_out).add_(x_NW)
        u_NW, _ = unit(x_NW, self.floor[1])
        gate, up = F.linear(u_NW, self.gate_up, self.gate_up_shift).chunk(2, dim=-1)
        return F.linear(F.silu(gate).mul_(up), self.mlp_out).add_(x_NW)


def fold(block: Block, rows: Tensor | None = None) -> Folded:
    """A block's matrices with its norms, attention's scale and the rows (6, W) of a modulation in them."""
    attention, mlp = block.attention, block.mlp
    width, count = attention.out.out_features, attention.heads
    shift, gain, gate, shift_mlp, gain_mlp, gate_mlp = (None,) * 6 if rows is None else rows
    qkv = attention.qkv.weight.clone()
    qkv[:width] *= (width // count) ** -0.5
    norms = block.norm_attention, block.norm_mlp
    return Folded(
        qkv=scaled(qkv, norms[0].weight, gain),
        qkv_shift=None if shift is None else qkv @ shift,
        attention_out=attention.out.weight if gate is None else attention.out.weight * gate[:, None],
        gate_up=scaled(mlp.gate_up.weight, norms[1].weight, gain_mlp),
        gate_up_shift=None if shift_mlp is None else mlp.gate_up.weight @ shift_mlp,
        mlp_out=mlp.out.weight if gate_mlp is None else mlp.out.weight * gate_mlp[:, None],
        floor=(floor(norms[0]), floor(norms[1])),
        head_width=width // count,
    )


def floor(norm: RMSNorm) -> Tensor:
    """(W eps)^1/2, a scalar."""
    return norm.weight.new_tensor((norm.weight.shape[0] * norm.eps) ** 0.5)


def scaled(matrix: Tensor, weight: Tensor, gain: Tensor | None = None) -> Tensor:
    """A matrix on a norm's output as one on unit(x)."""
    columns = weight * weight.shape[0] ** 0.5
    return matrix * (columns if gain is None else columns * (1 + gain))


def unit(x_NW: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """x / r with r = (x.x + floor^2)^1/2, and r (N, 1)."""
    r_N1 = torch.hypot(torch.linalg.vector_norm(x_NW, dim=-1, keepdim=True), floor)
    return x_NW / r_N1, r_N1


def heads(x: Tensor, batch: int, head_width: int, parts: int = 3) -> Tensor:
    """Projections side by side (N, parts W) as (parts, B, H, M, D)."""
    # Not einops: for a few tokens its bookkeeping takes longer than the products.
    x = x.view(batch, x.shape[0] // batch, parts, -1, head_width)
    return x.permute(2, 0, 3, 1, 4)


def merged(x_BHMD: Tensor) -> Tensor:
    """Heads back to the model width: (N, W)."""
    return x_BHMD.transpose(1, 2).flatten(2).flatten(0, 1)
