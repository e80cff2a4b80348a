"""The energy: a context pass, computed once, and a candidate pass for every step of thinking.

Shapes as in arena.transformer; M candidates per sequence, each a distribution over V for the token
after one observed position. A candidate attends to the observed tokens up to its position and to
itself, nothing else; it sits at the rotary position of the token that it guesses.

Source: arXiv 2507.02092, autoregressive EBT; derived there or from its code: that the observed
stream never sees a candidate, so that its keys and values serve every step.
"""

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor, nn

from arena.config import Size
from arena.transformer import Backbone, Block, embed, initialise, rotary_tables
from ebt.config import EBTArm


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the candidates need to know of the observed tokens."""

    keys_values: list[tuple[Tensor, Tensor]]
    """Keys and values of every block, each (B, H, S, D)."""
    mask: Tensor | None
    """Additive mask, 0 or -inf, (1 or B, 1, M, S): which observed tokens a candidate attends to; none:
    all of them."""
    rotary: tuple[Tensor, Tensor]
    """Cosines and sines at the candidates' positions, (M, D) or (B, 1, M, D)."""
    start_BMV: Tensor | None = None
    """Logits of the language-model head on the observed stream, if the model has one."""

    def detached(self) -> "Context":
        """The same keys and values as leaves that collect gradients of their own."""
        leaves = [(k.detach().requires_grad_(), v.detach().requires_grad_()) for k, v in self.keys_values]
        return replace(self, keys_values=leaves)

    def constant(self) -> "Context":
        """The same keys and values without their graph, fit for one: also if inference mode made them."""
        cos, sin = map(_constant, self.rotary)
        pairs = [(_constant(k), _constant(v)) for k, v in self.keys_values]
        return replace(self, keys_values=pairs, rotary=(cos, sin))

    def span(self, first: int, end: int) -> "Context":
        """The context of the candidates first to end - 1."""
        cos, sin = self.rotary
        return replace(
            self,
            mask=None if self.mask is None else self.mask[:, :, first:end],
            rotary=(cos[..., first:end, :], sin[..., first:end, :]),
        )

    def select(self, index_BN: Tensor) -> "Context":
        """The context of some of the candidates, by their index into M."""
        batch, mask = index_BN.shape[0], self.mask
        rows = index_BN[:, None, :, None]
        if mask is not None:
            mask = mask.expand(batch, -1, -1, -1).gather(2, rows.expand(-1, -1, -1, mask.shape[-1]))
        cos, sin = (t.expand(batch, 1, *t.shape[-2:]) for t in self.rotary)
        return Context(
            keys_values=self.keys_values,
            mask=mask,
            rotary=(
                cos.gather(2, rows.expand(-1, -1, -1, cos.shape[-1])),
                sin.gather(2, rows.expand(-1, -1, -1, sin.shape[-1])),
            ),
        )


class EnergyModel(nn.Module):
    """Energy of a candidate distribution given the tokens before it.

    A subclass may let the candidates see each other: then one energy, (B, 1), belongs to all of them.

    Args:
        steps: steps of thinking that the conditioning tells apart.
        conditioning, vocabulary_map: see ebt.config.EBTArm.
        start_head: give the observed stream a language-model head.
        correct: a linear map of the candidate stream to logits in place of the energy head.
    """

    together = False
    """Whether the candidates of a sequence see each other."""

    def __init__(
        self,
        size: Size,
        vocabulary: int,
        steps: int,
        *,
        conditioning: str = "step",
        vocabulary_map: str = "learned",
        start_head: bool = False,
        correct: bool = False,
    ) -> None:
        super().__init__()
        self.vocabulary, self.steps = vocabulary, steps
        self.embedding = nn.Embedding(vocabulary, size.width)
        embed(self.embedding.weight)
        self.candidate: nn.Linear | None = None
        if vocabulary_map == "learned":
            self.candidate = nn.Linear(vocabulary, size.width, bias=False)
            # A one-hot candidate then enters at the scale of an observed token's embedding.
            embed(self.candidate.weight.mT)
        self.step: nn.Embedding | None = None
        if conditioning == "step":
            self.step = nn.Embedding(steps, size.width)
            embed(self.step.weight)
        self.backbone = Backbone(size)
        self.modulation: nn.Parameter | None = None
        if conditioning in ("adaln", "adaln_zero"):
            # Shift, scale and gate of attention, of the MLP, then shift and scale of the last norm. The
            # step takes few values, so that a table holds what DiT computes from its embedding.
            table = torch.zeros(steps, 6 * size.layers + 2, size.width)
            if conditioning == "adaln":
                table[:, 2:-2:3] = 1.0
            self.modulation = nn.Parameter(table)
        self.head = nn.Linear(size.width, vocabulary if correct else 1, bias=False)
        initialise(self.head)
        if conditioning == "adaln_zero":
            nn.init.zeros_(self.head.weight)
        self.start: nn.Linear | None = None
        if start_head:
            self.start = nn.Linear(size.width, vocabulary, bias=False)
            initialise(self.start)

    @property
    def knows_steps(self) -> bool:
        """Whether the energy depends on the step."""
        return self.step is not None or self.modulation is not None

    def observe(self, tokens_BS: Tensor, positions_BM: Tensor | None = None) -> Context:
        """Context for candidates after the given observed positions (none: after every one)."""
        length = tokens_BS.shape[1]
        order = torch.arange(length, device=tokens_BS.device)
        start, x = None, self.embedding(tokens_BS)
        if self.start is None:
            keys_values = self.backbone.keys_values(x, order)
        else:
            hidden, keys_values = self.backbone.observe(x, order)
            if positions_BM is not None:
                hidden = hidden.gather(1, positions_BM[..., None].expand(-1, -1, hidden.shape[-1]))
            start = self.start(self.backbone.norm(hidden))
        if positions_BM is None:
            allowed = (order <= order[:, None])[None, None]
            places = order + 1
        else:
            allowed = (order <= positions_BM[..., None])[:, None]
            places = (positions_BM + 1)[:, None]
        return Context(
            # Every step reads them twice and more: laid out once, not at each product.
            keys_values=[(k.contiguous(), v.contiguous()) for k, v in keys_values],
            mask=additive(allowed, self.embedding.weight.dtype),
            rotary=rotary_tables(places, self.backbone.head_width),
            start_BMV=start,
        )

    def hidden(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
        """The candidate stream (B, M, W) after the last norm, at a step of thinking."""
        x = self.enter(p_BMV)
        # Beyond the known steps the last one goes on; think() asks before it comes to that.
        step = min(step, self.steps - 1)
        if self.step is not None:
            x = x + self.step.weight[step]
        return self.stream(x, context, None if self.modulation is None else self.modulation[step])

    def enter(self, p_BMV: Tensor) -> Tensor:
        """Candidate distributions at the model's width (B, M, W)."""
        return p_BMV @ self.embedding.weight if self.candidate is None else self.candidate(p_BMV)

    def stream(self, x: Tensor, context: Context, rows: Tensor | None) -> Tensor:
        """The blocks and the last norm over the candidate stream (B, M, W), modulated if there are rows."""
        for i, (block, (k, v)) in enumerate(zip(self.backbone.blocks, context.keys_values, strict=True)):
            assert isinstance(block, Block)
            if rows is None:
                q, k_self, v_self = block.project(x, context.rotary)
                x = block.finish(x, self.attend(q, k_self, v_self, k, v, context.mask))
            else:
                shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = rows[6 * i : 6 * i + 6]
                normed = modulate(block.norm_attention(x), shift, scale)
                q, k_self, v_self = block.attention.project(normed, context.rotary)
                attended = self.attend(q, k_self, v_self, k, v, context.mask)
                x = x + gate * block.attention.merge(attended)
                x = x + gate_mlp * block.mlp(modulate(block.norm_mlp(x), shift_mlp, scale_mlp))
        x = self.backbone.norm(x)
        return x if rows is None else modulate(x, rows[-2], rows[-1])

    def attend(
        self, q: Tensor, k_self: Tensor, v_self: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Attention (B, H, M, D) of the candidates, whose own keys and values are k_self and v_self."""
        return attend(q, k_self, v_self, k, v, mask)

    def forward(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
        """Energies (B, M) of candidate distributions at a step of thinking."""
        return rearrange(self.head(self.hidden(p_BMV, context, step)), "b m 1 -> b m")


def build_energy(arm: EBTArm, size: Size, vocabulary: int) -> EnergyModel:
    """The energy model that an arm's configuration asks for."""
    return EnergyModel(
        size,
        vocabulary,
        arm.steps,
        conditioning=arm.conditioning,
        vocabulary_map=arm.vocabulary_map,
        start_head=arm.start == "head",
        correct=arm.refiner == "head",
    )


def _constant(x: Tensor) -> Tensor:
    return x.clone() if x.is_inference() else x.detach()


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Adaptive layer norm's shift and scale (DiT, arXiv 2212.09748)."""
    return x * (1 + scale) + shift


def attend(q: Tensor, k_self: Tensor, v_self: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Each candidate's attention (B, H, M, D) to the context and to itself."""
    q = q * q.shape[-1] ** -0.5
    observed = q @ k.mT if mask is None else q @ k.mT + mask
    scores = torch.cat((observed, (q * k_self).sum(-1, keepdim=True)), dim=-1)
    # Not the fused kernel: it has no double backward.
    weights = scores.softmax(-1)
    return weights[..., :-1] @ v + weights[..., -1:] * v_self


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Boolean mask as 0 and -inf."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
        ~allowed, float("-inf")
    )
