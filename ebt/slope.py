"""The energy and its gradient with respect to the candidate, written out: no graph, few operations.

Thinking needs E and dE/dp and nothing else. For a few candidates most of autograd's time goes to
recording and replaying small operations; here a candidate pass and its way back are one plain function.

Folding. All that only scales or shifts a linear map's input or output goes into its matrix, once: a
norm's gain, adaLN's scale, shift and gate, and attention's D^-1/2. What remains of a norm is
unit(x) = x / r with r = (x.x + W eps)^1/2, whose missing factor W^1/2 is in the matrix too. A block is

    u1 = unit(x)     q, k, v = A u1 + a     q, k <- R q, R k     (R turns by the candidate's position)
    s = [q.K + mask, q.k]    w = softmax(s)    o = w_context V + w_self v    x1 = x + O o
    u2 = unit(x1)    g, h = G u2 + b           x' = x1 + D (silu(g) h)

and the energy E = e . unit(x) + constant after the last one.

The way back, with d* for dE/d*: a linear map y = A x gives dx = A^T dy, and R its inverse, the turn by
the opposite angle. For u = x / r, dr/dx = u, so that dx = du / r - (x.du) u / r^2 = (du - u (u.du)) / r.
Attention, whose K and V know nothing of the candidate:

    dw = [do V^T, do.v]    ds = w (dw - sum(w dw))    dq = ds_context K + ds_self k
    dk = ds_self q         dv = w_self do

Candidates do not see each other: the sum's gradient is each one's own. Tests hold E and dE/dp against
autograd in fp64.

Shapes as in ebt.energy; N = B M, the candidates in one row for the linear maps.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from arena.transformer import Block, RMSNorm, rotate
from ebt.energy import Context, EnergyModel

silu_backward = torch.ops.aten.silu_backward
softmax_backward = torch.ops.aten._softmax_backward_data


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


def fold(block: Block, rows: Tensor | None = None) -> Folded:
    """A block's matrices with its norms, attention's scale and the rows (6, W) of a modulation in them."""
    attention, mlp = block.attention, block.mlp
    width, heads = attention.out.out_features, attention.heads
    shift, gain, gate, shift_mlp, gain_mlp, gate_mlp = (None,) * 6 if rows is None else rows
    qkv = attention.qkv.weight.clone()
    qkv[:width] *= (width // heads) ** -0.5
    norms = block.norm_attention, block.norm_mlp
    return Folded(
        qkv=_scaled(qkv, norms[0].weight, gain),
        qkv_shift=None if shift is None else qkv @ shift,
        attention_out=attention.out.weight if gate is None else attention.out.weight * gate[:, None],
        gate_up=_scaled(mlp.gate_up.weight, norms[1].weight, gain_mlp),
        gate_up_shift=None if shift_mlp is None else mlp.gate_up.weight @ shift_mlp,
        mlp_out=mlp.out.weight if gate_mlp is None else mlp.out.weight * gate_mlp[:, None],
        floor=(_floor(norms[0]), _floor(norms[1])),
    )


def _floor(norm: RMSNorm) -> Tensor:
    return norm.weight.new_tensor((norm.weight.shape[0] * norm.eps) ** 0.5)


def _scaled(matrix: Tensor, weight: Tensor, gain: Tensor | None) -> Tensor:
    columns = weight * weight.shape[0] ** 0.5
    return matrix * (columns if gain is None else columns * (1 + gain))


def unit(x_NW: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """x / r with r = (x.x + floor^2)^1/2, and r (N, 1)."""
    r_N1 = torch.hypot(torch.linalg.vector_norm(x_NW, dim=-1, keepdim=True), floor)
    return x_NW / r_N1, r_N1


def unit_back(du_NW: Tensor, u_NW: Tensor, r_N1: Tensor) -> Tensor:
    """dE/dx of u = unit(x)."""
    along_N1 = (u_NW * du_NW).sum(-1, keepdim=True)
    return torch.addcmul(du_NW, u_NW, along_N1, value=-1).div_(r_N1)


def heads(x_NW: Tensor, batch: int, parts: int, head_width: int) -> Tensor:
    """Projections side by side (N, parts W) as (parts, B, H, M, D)."""
    # Not einops: for a few candidates its bookkeeping takes longer than the products.
    x = x_NW.view(batch, x_NW.shape[0] // batch, parts, -1, head_width)
    return x.permute(2, 0, 3, 1, 4)


def merged(x_BHMD: Tensor) -> Tensor:
    """Heads back to the model width: (N, W)."""
    return x_BHMD.transpose(1, 2).flatten(2).flatten(0, 1)


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What a block's way back needs of its way up, in the docstring's names."""

    u1: Tensor
    r1: Tensor
    q: Tensor
    k_self: Tensor
    v_self: Tensor
    weights: Tensor
    u2: Tensor
    r2: Tensor
    gate: Tensor
    up: Tensor
    opened: Tensor


class Slope:
    """E and dE/dp of an energy model as its parameters are now; make a new one when they change."""

    def __init__(self, model: EnergyModel) -> None:
        self.model = model
        self._blocks = [b for b in model.backbone.blocks if isinstance(b, Block)]
        self._map = model.embedding.weight.mT if model.candidate is None else model.candidate.weight
        self._floor = _floor(model.backbone.norm)
        self._folded: dict[int, tuple[list[Folded], Tensor, Tensor | None]] = {}

    @torch.no_grad()
    def energy(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
        """Energies (B, M) of candidate distributions at a step of thinking."""
        x_NW, _ = self._up(p_BMV, context, step)
        u_NW, _ = unit(x_NW, self._floor)
        return self._read_out(u_NW, step).view(p_BMV.shape[:2])

    @torch.no_grad()
    def __call__(self, p_BMV: Tensor, context: Context, step: int = 0) -> tuple[Tensor, Tensor]:
        """Energies (B, M) of candidate distributions at a step of thinking, and dE/dp (B, M, V)."""
        x_NW, passed = self._up(p_BMV, context, step)
        u_NW, r_N1 = unit(x_NW, self._floor)
        folded, vector_W, _ = self._at(step)
        dx_NW = unit_back(vector_W.expand_as(u_NW), u_NW, r_N1)
        cos, sin = context.rotary
        for f, kept, (k, v) in zip(folded[::-1], passed[::-1], context.keys_values[::-1], strict=True):
            d = dx_NW @ f.mlp_out
            d = torch.cat((silu_backward(d * kept.up, kept.gate), d * kept.opened), dim=-1)
            dx_NW = dx_NW + unit_back(d @ f.gate_up, kept.u2, kept.r2)
            (do,) = heads(dx_NW @ f.attention_out, p_BMV.shape[0], 1, k.shape[-1])
            dw = torch.cat((do @ v.mT, (do * kept.v_self).sum(-1, keepdim=True)), dim=-1)
            ds = softmax_backward(dw.to(kept.weights.dtype), kept.weights, -1, kept.weights.dtype)
            ds, ds_self = ds[..., :-1], ds[..., -1:]
            dq = torch.addcmul(ds @ k, ds_self, kept.k_self)
            dqk = rotate(torch.stack((dq, ds_self * kept.q)), (cos, -sin))
            dv = kept.weights[..., -1:] * do
            d = torch.cat((dqk, dv[None])).permute(1, 3, 0, 2, 4).flatten(2).flatten(0, 1)
            dx_NW = dx_NW + unit_back(d @ f.qkv, kept.u1, kept.r1)
        energy_N = self._read_out(u_NW, step)
        return energy_N.view(p_BMV.shape[:2]), (dx_NW @ self._map).view(p_BMV.shape)

    def _up(self, p_BMV: Tensor, context: Context, step: int) -> tuple[Tensor, list[Passed]]:
        """The candidate stream (N, W) before the last norm."""
        model, batch = self.model, p_BMV.shape[0]
        given = None if model.step is None else model.step.weight[min(step, model.steps - 1)]
        x_NW = F.linear(p_BMV.flatten(0, 1), self._map, given)
        passed: list[Passed] = []
        for f, (k, v) in zip(self._at(step)[0], context.keys_values, strict=True):
            u1, r1 = unit(x_NW, f.floor[0])
            qkv = heads(F.linear(u1, f.qkv, f.qkv_shift), batch, 3, k.shape[-1])
            (q, k_self), v_self = rotate(qkv[:2], context.rotary), qkv[2]
            scores = q @ k.mT
            if context.mask is not None:
                scores += context.mask
            weights = torch.cat((scores, (q * k_self).sum(-1, keepdim=True)), dim=-1).softmax(-1)
            attended = torch.addcmul(weights[..., :-1] @ v, weights[..., -1:], v_self)
            x_NW = x_NW + F.linear(merged(attended), f.attention_out)
            u2, r2 = unit(x_NW, f.floor[1])
            gate, up = F.linear(u2, f.gate_up, f.gate_up_shift).chunk(2, dim=-1)
            opened = F.silu(gate)
            x_NW = x_NW + F.linear(opened * up, f.mlp_out)
            own = {"q": q, "k_self": k_self, "v_self": v_self, "weights": weights}
            mlp = {"gate": gate, "up": up, "opened": opened}
            passed.append(Passed(u1=u1, r1=r1, u2=u2, r2=r2, **own, **mlp))
        return x_NW, passed

    def _read_out(self, u_NW: Tensor, step: int) -> Tensor:
        _, vector_W, constant = self._at(step)
        energy_N = u_NW @ vector_W
        return energy_N if constant is None else energy_N + constant

    def _at(self, step: int) -> tuple[list[Folded], Tensor, Tensor | None]:
        """The blocks, the energy's vector (W,), and its constant, at a step."""
        model = self.model
        step = 0 if model.modulation is None else min(step, model.steps - 1)
        if step not in self._folded:
            rows = None if model.modulation is None else model.modulation[step]
            each = [None if rows is None else rows[6 * i : 6 * i + 6] for i in range(len(self._blocks))]
            gain = None if rows is None else rows[-1]
            vector_1W = _scaled(model.head.weight, model.backbone.norm.weight, gain)
            constant = None if rows is None else model.head.weight @ rows[-2]
            folded = [fold(block, rows) for block, rows in zip(self._blocks, each, strict=True)]
            self._folded[step] = folded, vector_1W[0], constant
        return self._folded[step]
