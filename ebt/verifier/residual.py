"""A residual energy over whole sequences, and the noise-contrastive loss that trains it.

Shapes (suffixes): B sequences, S padded length, W model width.

Source: arXiv 2004.11714. There a pretrained bidirectional encoder is the energy; here it is the
start model's own backbone, read in both directions.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from arena.config import Size
from arena.transformer import Backbone, TransformerLM, embed, initialise


class Residual(nn.Module):
    """Energy of a prompt with its answer: every token sees every token, the mean state gives one number."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size.width)
        embed(self.embedding.weight)
        self.backbone = Backbone(size)
        self.head = nn.Linear(size.width, 1, bias=False)
        initialise(self.head)

    def begin_from(self, start: TransformerLM) -> None:
        """Take over the start model's embedding and blocks."""
        self.embedding.load_state_dict(start.embedding.state_dict())
        self.backbone.load_state_dict(start.backbone.state_dict())

    def forward(self, tokens_BS: Tensor, real_BS: Tensor) -> Tensor:
        """Energies (B,); `real_BS` tells tokens from the padding on their right."""
        positions = torch.arange(tokens_BS.shape[1], device=tokens_BS.device)
        seen = rearrange(real_BS, "b t -> b 1 1 t")
        x_BSW, _ = self.backbone.observe(self.embedding(tokens_BS), positions, seen)
        weight_BS1 = rearrange(real_BS, "b s -> b s 1").to(x_BSW.dtype)
        mean_BW = (self.backbone.norm(x_BSW) * weight_BS1).sum(1) / weight_BS1.sum(1)
        return rearrange(self.head(mean_BW), "b 1 -> b")


def stack(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Whole sequences padded on the right (B, S), and which entries are tokens, bool."""
    length = max(map(len, rows))
    tokens_BS = torch.tensor([(*row, *(pad,) * (length - len(row))) for row in rows], device=device)
    lengths_B1 = torch.tensor([[len(row)] for row in rows], device=device)
    return tokens_BS, torch.arange(length, device=device) < lengths_B1


def contrast(data_B: Tensor, samples_N: Tensor) -> Tensor:
    """-log sigmoid(-E) on the data's answers, -log sigmoid(E) on samples of the start; means, added.

    arXiv 2004.11714, eq. 3. Its optimum is E = log p_start - log p_data, whatever the number of samples
    a data answer: each mean stands for its own expectation.
    """
    return F.softplus(data_B).mean() + F.softplus(-samples_N).mean()
