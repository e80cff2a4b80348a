"""The energy and its gradient with respect to the candidate, written out: no graph, few operations.

Thinking needs E and dE/dp and nothing else. For a few candidates most of autograd's time goes to
recording and replaying small operations; here a candidate pass and its way back are one plain function.

Matrices are those of arena.folded, norms' gains and all else folded in; what remains of a norm is
unit(x) = x / r with r = (x.x + W eps)^1/2. With lower case for shifts, a block is

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

from arena.folded import Folded, floor, fold, heads, merged, scaled, unit
from arena.transformer import Block, rotate
from ebt.energy import Context, EnergyModel

silu_backward = torch.ops.aten.silu_backward
softmax_backward = torch.ops.aten._softmax_backward_data


def unit_back(du_NW: Tensor, u_NW: Tensor, r_N1: Tensor) -> Tensor:
    """dE/dx of u = unit(x)."""
    along_N1 = (u_NW * du_NW).sum(-1, keepdim=True)
    return torch.addcmul(du_NW, u_NW, along_N1, value=-1).div_(r_N1)


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
        self._floor = floor(model.backbone.norm)
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
            (do,) = heads(dx_NW @ f.attention_out, p_BMV.shape[0], f.head_width, parts=1)
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
            qkv = heads(F.linear(u1, f.qkv, f.qkv_shift), batch, f.head_width)
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
            vector_1W = scaled(model.head.weight, model.backbone.norm.weight, gain)
            constant = None if rows is None else model.head.weight @ rows[-2]
            folded = [fold(block, rows) for block, rows in zip(self._blocks, each, strict=True)]
            self._folded[step] = folded, vector_1W[0], constant
        return self._folded[step]


class Differentiated:
    """What Slope gives, by autograd: for energies of whole answers, whose candidates see each other."""

    def __init__(self, model: EnergyModel) -> None:
        self.model = model

    @torch.no_grad()
    def energy(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
        """Energies (B, 1) at a step of thinking."""
        return self.model(p_BMV, context, step)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def __call__(self, p_BMV: Tensor, context: Context, step: int = 0) -> tuple[Tensor, Tensor]:
        """Energies (B, 1) at a step of thinking, and dE/dp (B, M, V)."""
        # A copy if inference mode made it: such a tensor takes no part in a graph.
        point = (p_BMV.clone() if p_BMV.is_inference() else p_BMV.detach()).requires_grad_()
        energy = self.model(point, context.constant(), step)
        (gradient,) = torch.autograd.grad(energy.sum(), point)
        return energy.detach(), gradient


AnySlope = Slope | Differentiated


def slope_of(model: EnergyModel) -> AnySlope:
    """The energy and its gradient, written out where that is known."""
    return Differentiated(model) if model.together else Slope(model)
