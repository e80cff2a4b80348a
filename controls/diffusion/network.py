"""Masked discrete diffusion over whole answers: the network, its loss, its bound and its decoding.

Shapes (suffixes): B problems, S tokens of a prompt, M cells of an answer, V vocabulary, W model width.
The prompt is read once, in both directions, and never sees the answer; every cell sees the prompt and all
cells. Cell m sits at the rotary position that follows the prompt's by m and carries a learned embedding
of its place. These are the layout and the blocks of the energy-based rival (ebt.parallel.energy).

Training (MDLM, arXiv 2406.07524, with its linear schedule; LLaDA, arXiv 2502.09992, whose supervised form
masks the answer alone): each cell is masked with probability t ~ U(0, 1], and

    loss = E[ 1/t  sum over masked cells of -log p(cell | prompt, the cells left) ] / M

Bound (as LLaDA estimates it, over the number l of masked cells in place of t, which varies less):

    -log p(answer | prompt) <= E over l ~ U{1..M} and which l of [ M/l  sum over masked of -log p ]
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arena.config import Size
from arena.transformer import Backbone, embed, initialise

Context = list[tuple[Tensor, Tensor]]


class MaskedTransformer(nn.Module):
    """Logits of every cell of an answer, given its prompt and the cells that are not masked."""

    def __init__(self, size: Size, vocabulary: int, answer: int) -> None:
        super().__init__()
        self.mask = vocabulary
        """Token of a masked cell: the first that the task does not use."""
        self.embedding = nn.Embedding(vocabulary + 1, size.width)
        embed(self.embedding.weight)
        self.place = nn.Embedding(answer, size.width)
        embed(self.place.weight)
        self.backbone = Backbone(size)
        self.head = nn.Linear(size.width, vocabulary, bias=False)
        initialise(self.head)

    def read(self, prompts_BS: Tensor) -> Context:
        """Keys and values of the prompts in every block, for any number of passes over the answers."""
        order = torch.arange(prompts_BS.shape[1], device=prompts_BS.device)
        return self.backbone.keys_values(self.embedding(prompts_BS), order, causal=False)

    def forward(self, cells_BM: Tensor, context: Context) -> Tensor:
        """Logits (B, M, V) of all cells; those given as `mask` are unknown."""
        length, answer = context[0][0].shape[2], cells_BM.shape[1]
        order = torch.arange(length, length + answer, device=cells_BM.device)
        everyone = torch.ones(answer, length + answer, dtype=torch.bool, device=cells_BM.device)
        x_BMW = self.embedding(cells_BM) + self.place.weight
        x_BMW, _ = self.backbone.observe(x_BMW, order, everyone, context)
        return self.head(self.backbone.norm(x_BMW))


def rates(problems: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Masking rates (B,) in (0, 1], spread evenly: (u + b / B) mod 1 with one u for the batch, which MDLM
    and VDM (arXiv 2107.00630, appendix I.1) draw for less variance."""
    u = torch.rand((), generator=generator, device=device)
    return 1 - (u + torch.arange(problems, device=device) / problems) % 1


def loss(
    model: MaskedTransformer, prompts_BS: Tensor, answers_BM: Tensor, rates_B: Tensor, uniform_BM: Tensor
) -> Tensor:
    """Mean over problems of the weighted loss a cell, nats; cells with uniform < rate are masked."""
    masked_BM = uniform_BM < rates_B[:, None]
    nats_BM = hidden_nats(model, model.read(prompts_BS), answers_BM, masked_BM)
    return (nats_BM / rates_B[:, None]).mean()


def hidden_nats(model: MaskedTransformer, context: Context, answers_BM: Tensor, masked_BM: Tensor) -> Tensor:
    """-log p (B, M) of the masked cells given the others, 0 at these."""
    logits_BMV = model(answers_BM.masked_fill(masked_BM, model.mask), context).float()
    return F.cross_entropy(logits_BMV.mT, answers_BM, reduction="none") * masked_BM


def bound(
    model: MaskedTransformer,
    prompts_BS: Tensor,
    answers_BM: Tensor,
    *,
    levels: int,
    generator: torch.Generator,
) -> Tensor:
    """Upper bound (B,) on -log p(answer | prompt), nats: an unbiased estimate of it from `levels` passes.

    The numbers of masked cells are drawn one from each of `levels` equal ranges of 1 to M.
    """
    (batch, answer), device = answers_BM.shape, answers_BM.device
    context = model.read(prompts_BS)
    total_B = torch.zeros(batch, device=device)
    for level in range(levels):
        u_B = (level + torch.rand(batch, generator=generator, device=device)) / levels
        count_B = (u_B * answer).long().clamp(max=answer - 1) + 1
        order_BM = torch.rand(answers_BM.shape, generator=generator, device=device).argsort(1).argsort(1)
        nats_BM = hidden_nats(model, context, answers_BM, order_BM < count_B[:, None])
        total_B += nats_BM.sum(1) * answer / count_B
    return total_B / levels


def schedule(answer: int, steps: int) -> list[int]:
    """Cells filled at each step, as even as can be, the larger numbers last; no step fills none."""
    steps = min(steps, answer)
    return [answer * (i + 1) // steps - answer * i // steps for i in range(steps)]


def unmask(model: MaskedTransformer, context: Context, cells_BM: Tensor, counts: Sequence[int]) -> None:
    """Fill masked cells in place, `counts` of them at each step: those whose most probable token is most
    probable (MaskGIT, arXiv 2202.04200, without its noise; LLaDA's low-confidence remasking)."""
    for count in counts:
        logits_BMV = model(cells_BM, context).float()
        confidence_BM, token_BM = logits_BMV.log_softmax(-1).max(-1)
        unknown_BM = cells_BM == model.mask
        chosen_BN = confidence_BM.masked_fill(~unknown_BM, float("-inf")).topk(count, dim=1).indices
        cells_BM.scatter_(1, chosen_BN, token_BM.gather(1, chosen_BN))
