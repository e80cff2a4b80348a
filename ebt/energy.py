"""The energy: a context pass, computed once, and a candidate pass for every step of thinking.

Shapes as in arena.transformer; M candidates a sequence, each a distribution over V for the token
after one observed position. A candidate attends to the observed tokens up to its position and to
itself, nothing else; it sits at the rotary position of the token that it guesses.

Source: arXiv 2507.02092, autoregressive EBT; derived there or from its code: that the observed
stream never sees a candidate, so that its keys and values serve every step.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from arena.config import Size
from arena.transformer import Backbone, Block, embed, initialise, rotary_tables


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the candidates need to know of the observed tokens."""

    keys_values: list[tuple[Tensor, Tensor]]
    """Keys and values of every block, each (B, H, S, D)."""
    mask: Tensor
    """Additive mask, 0 or -inf, (1 or B, 1, M, S): which observed tokens a candidate attends to."""
    rotary: tuple[Tensor, Tensor]
    """Cosines and sines at the candidates' positions."""

    def detached(self) -> "Context":
        """The same values as leaves that collect gradients of their own."""
        leaves = [(k.detach().requires_grad_(), v.detach().requires_grad_()) for k, v in self.keys_values]
        return Context(keys_values=leaves, mask=self.mask, rotary=self.rotary)


class EnergyModel(nn.Module):
    """Energy of a candidate distribution given the tokens before it."""

    def __init__(self, size: Size, vocabulary: int, steps: int, step_embedding: bool) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, size.width)
        embed(self.embedding.weight)
        self.candidate = nn.Linear(vocabulary, size.width, bias=False)
        # A one-hot candidate then enters at the scale of an observed token's embedding.
        embed(self.candidate.weight.mT)
        self.step = nn.Embedding(steps, size.width) if step_embedding else None
        if self.step is not None:
            embed(self.step.weight)
        self.backbone = Backbone(size)
        self.head = nn.Linear(size.width, 1, bias=False)
        initialise(self.head)

    def observe(self, tokens_BS: Tensor, positions_BM: Tensor | None = None) -> Context:
        """Context for candidates after the given observed positions (none: after every one)."""
        length = tokens_BS.shape[1]
        order = torch.arange(length, device=tokens_BS.device)
        keys_values = self.backbone.keys_values(self.embedding(tokens_BS), order)
        if positions_BM is None:
            allowed = (order <= order[:, None])[None, None]
            places = order + 1
        else:
            allowed = (order <= positions_BM[..., None])[:, None]
            places = (positions_BM + 1)[:, None]
        return Context(
            keys_values=keys_values,
            mask=additive(allowed, self.embedding.weight.dtype),
            rotary=rotary_tables(places, self.backbone.head_width),
        )

    def forward(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
        """Energies (B, M) of candidate distributions at a step of thinking."""
        x = self.candidate(p_BMV)
        if self.step is not None:
            # Beyond the trained steps the last embedding goes on.
            x = x + self.step.weight[min(step, self.step.num_embeddings - 1)]
        for block, (k, v) in zip(self.backbone.blocks, context.keys_values, strict=True):
            assert isinstance(block, Block)
            q, k_self, v_self = block.project(x, context.rotary)
            q = q * q.shape[-1] ** -0.5
            scores = torch.cat((q @ k.mT + context.mask, (q * k_self).sum(-1, keepdim=True)), dim=-1)
            # Not the fused kernel: it has no double backward.
            weights = scores.softmax(-1)
            attended = weights[..., :-1] @ v + weights[..., -1:] * v_self
            x = block.finish(x, attended)
        return rearrange(self.head(self.backbone.norm(x)), "b m 1 -> b m")


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Boolean mask as 0 and -inf."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(
        ~allowed, float("-inf")
    )
