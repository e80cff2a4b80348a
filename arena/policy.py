"""Policies: what sampling, scoring and the budget need of a language model; and the arena's own.

Shapes (suffixes): P prompts, B = P * group sequences (sequence b continues prompt b // group),
S padded prompt length, T sampled tokens, M supervised tokens, V the task's vocabulary,
W model width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from arena.config import Size
from arena.data import Batch
from arena.decoder import Decoder, TransformerDecoder
from arena.shape import Shape, arena_shape
from arena.transformer import TransformerLM


class Policy(nn.Module, ABC):
    """A distribution over the task's tokens after a prefix of them."""

    shape: Shape
    """What its passes cost."""

    @abstractmethod
    def read(self, prompts: Sequence[Sequence[int]], *, pad: int, length: int, group: int) -> Decoder:
        """Read the prompts, once for each group, with room for `length` sampled tokens."""

    @abstractmethod
    def predicted(self, batch: Batch) -> Tensor:
        """Logits for the batch's supervised tokens, (B, M, V)."""

    @abstractmethod
    def non_embedding_parameters(self) -> int:
        """Parameters other than the maps between vocabulary and width."""


class TransformerPolicy(TransformerLM, Policy):
    """Transformer++ on the arena's backbone."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__(size, vocabulary)
        self.shape = arena_shape(size, vocabulary)

    def read(self, prompts: Sequence[Sequence[int]], *, pad: int, length: int, group: int) -> Decoder:
        return TransformerDecoder(self, prompts, pad, length, group)

    def predicted(self, batch: Batch) -> Tensor:
        hidden_BSW, _ = self(batch.tokens_BS)
        if batch.everywhere:
            return self.logits(hidden_BSW)
        index_BMW = batch.positions_BM.unsqueeze(-1).expand(-1, -1, hidden_BSW.shape[-1])
        return self.logits(hidden_BSW.gather(1, index_BMW))

    def non_embedding_parameters(self) -> int:
        return sum(p.numel() for p in self.backbone.parameters())
