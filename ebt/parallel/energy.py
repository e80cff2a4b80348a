"""The energy of a whole answer: all its cells are candidates that see the prompt and each other.

Shapes as in ebt.energy; S tokens of the prompt, M cells of the answer, the same for every problem. The
prompt is read once, in both directions, and never sees a candidate; a candidate attends to all of the
prompt and to every candidate. Cell m sits at the rotary position that follows the prompt's by m, and
carries a learned embedding of its place: an unknown cell holds nothing else to be told apart by.

    E = sum over cells of head(h_m)        one number per answer, whose gradient reaches every cell

since each h_m has seen them all. The blocks, the initialisation and the objective are those of the
autoregressive form (arXiv 2507.02092).
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from arena.config import Size
from arena.transformer import embed, rotary_tables
from ebt.energy import Context, EnergyModel


class ParallelEnergyModel(EnergyModel):
    """Energy (B, 1) of the candidate distributions (B, M, V) of whole answers.

    Args:
        answer: cells of an answer.
        others as of EnergyModel; with a start head, the start of every cell is read off one pass in which
        the cells hold their place alone.
    """

    together = True

    def __init__(
        self,
        size: Size,
        vocabulary: int,
        steps: int,
        answer: int,
        *,
        conditioning: str = "step",
        vocabulary_map: str = "learned",
        start_head: bool = False,
    ) -> None:
        super().__init__(
            size,
            vocabulary,
            steps,
            conditioning=conditioning,
            vocabulary_map=vocabulary_map,
            start_head=start_head,
        )
        self.place = nn.Embedding(answer, size.width)
        embed(self.place.weight)

    def observe(self, tokens_BS: Tensor, positions_BM: Tensor | None = None) -> Context:
        """Context of whole answers to prompts (B, S), all of one length."""
        batch, length = tokens_BS.shape
        order = torch.arange(length + self.place.num_embeddings, device=tokens_BS.device)
        keys_values = self.backbone.keys_values(self.embedding(tokens_BS), order[:length], causal=False)
        context = Context(
            keys_values=[(k.contiguous(), v.contiguous()) for k, v in keys_values],
            mask=None,
            rotary=rotary_tables(order[length:], self.backbone.head_width),
        )
        if self.start is None:
            return context
        blank = self.place.weight.expand(batch, -1, -1)
        return Context(
            keys_values=context.keys_values,
            mask=None,
            rotary=context.rotary,
            start_BMV=self.start(self.stream(blank, context, None)),
        )

    def enter(self, p_BMV: Tensor) -> Tensor:
        return super().enter(p_BMV) + self.place.weight

    def attend(
        self, q: Tensor, k_self: Tensor, v_self: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Attention (B, H, M, D) of every candidate to the prompt and to all candidates."""
        q = q * q.shape[-1] ** -0.5
        scores = torch.cat((q @ k.mT, q @ k_self.mT), dim=-1)
        # Not the fused kernel: it has no double backward.
        prompt, own = scores.softmax(-1).split((k.shape[2], k_self.shape[2]), dim=-1)
        return prompt @ v + own @ v_self

    def forward(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
        """Energies (B, 1) of whole answers at a step of thinking."""
        return rearrange(self.head(self.hidden(p_BMV, context, step)), "b m 1 -> b m").sum(1, keepdim=True)
