"""A pretrained language model as a policy, and the choice between it and the arena's own.

Shapes as in `arena.policy`.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from arena.config import Cell, ConfigError
from arena.data import Batch
from arena.decoder import Decoder, pad_left
from arena.policy import Policy, TransformerPolicy
from arena.shape import Shape
from arena.tasks.base import Task
from rl_baseline import pretrained
from rl_baseline.symbols import task_tokens


def build_policy(cell: Cell, task: Task) -> Policy:
    """The policy that the cell's arm names: the arena's backbone, or a pretrained model.

    Raises:
        ConfigError: the pretrained model cannot be had, counted or spoken to in the task's symbols.
    """
    if cell.arm.pretrained is None:
        return TransformerPolicy(cell.size, task.vocabulary)
    return load_policy(cell.arm.pretrained, cell.arm.revision, task)


class PretrainedPolicy(Policy):
    """A causal language model of transformers whose vocabulary is cut to the task's tokens.

    Its token ids are the task's own, and its distribution is over them alone, so that likelihoods,
    entropies and samples mean what they mean for the arena's backbone. Prompts are the task's symbols
    and nothing else: no token for the beginning of a text is put before them.
    """

    def __init__(self, lm: Any, shape: Shape) -> None:
        # Any: transformers' classes are typed too loosely to be of help here.
        super().__init__()
        self.lm = lm
        self.shape = shape
        self.lm.eval()

    def train(self, mode: bool = True) -> "PretrainedPolicy":
        """Training mode without dropout: a token is scored by the very distribution it was drawn from."""
        super().train(mode)
        self.lm.eval()
        return self

    def read(self, prompts: Sequence[Sequence[int]], *, pad: int, length: int, group: int) -> Decoder:
        return PretrainedDecoder(self.lm, prompts, pad, length, group)

    def predicted(self, batch: Batch) -> Tensor:
        # Padding stands on the right, where a causal model looks from nowhere that counts.
        logits_BSV = self.lm(input_ids=batch.tokens_BS, use_cache=False).logits
        if batch.everywhere:
            return logits_BSV
        return logits_BSV.gather(1, batch.positions_BM.unsqueeze(-1).expand(-1, -1, logits_BSV.shape[-1]))

    def non_embedding_parameters(self) -> int:
        maps = {id(p) for p in (*self.lm.get_input_embeddings().parameters(), *_head(self.lm).parameters())}
        return sum(p.numel() for p in self.lm.parameters() if id(p) not in maps)


class PretrainedDecoder(Decoder):
    """The model's own cache. Prompts of different length are padded on the left and masked."""

    def __init__(self, lm: Any, prompts: Sequence[Sequence[int]], pad: int, length: int, group: int) -> None:
        self.lm = lm
        tokens, index, first = pad_left(prompts, pad, length, lm.device)
        self.filled = width = tokens.shape[1]
        positions, self.keys = index.expand(len(prompts), -1), None
        if first is not None:
            positions = (index - first[:, None]).clamp(min=0)
            self.keys = (index >= first[:, None]).long()
        mask = None if self.keys is None else self.keys[:, :width]
        out = lm(input_ids=tokens, attention_mask=mask, position_ids=positions[:, :width], use_cache=True)
        self.logits_BV = out.logits[:, -1].float().repeat_interleave(group, dim=0)
        self.positions = positions[:, width:].repeat_interleave(group, dim=0)
        if self.keys is not None:
            self.keys = self.keys.repeat_interleave(group, dim=0)
        self.cache = out.past_key_values
        self.cache.batch_repeat_interleave(group)

    def advance(self, tokens_B: Tensor, step: int) -> None:
        out = self.lm(
            input_ids=tokens_B.unsqueeze(1),
            attention_mask=None if self.keys is None else self.keys[:, : self.filled + step + 1],
            position_ids=self.positions[:, step : step + 1],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.logits_BV = out.logits[:, -1].float()


def load_policy(name: str, revision: str | None, task: Task) -> PretrainedPolicy:
    """A pretrained model, in fp32, its vocabulary cut to the task's tokens.

    Only safetensors are read and no code of the model's repository is run.

    Raises:
        ConfigError: it cannot be had, counted, given positions, or spoken to in the task's symbols.
    """
    from transformers import AutoModelForCausalLM

    tokens = task_tokens(name, revision, task)
    shape = pretrained.describe(name, revision).shape(task.vocabulary)
    try:
        lm: Any = AutoModelForCausalLM.from_pretrained(
            name, revision=revision, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:
        raise pretrained.unavailable(name, error) from error
    if "position_ids" not in inspect.signature(lm.forward).parameters:
        raise ConfigError(
            f"arm.pretrained={name}: {type(lm).__name__} takes no position_ids, which prompts of different "
            "length need; choose a model with rotary or learned positions"
        )
    cut_vocabulary(lm, tokens)
    real = 2.0 * _matrix_weights(lm), sum(p.numel() for p in lm.parameters())
    if real != (shape.token, shape.parameters):
        raise ConfigError(
            f"arm.pretrained={name}: {shape.token:.0f} FLOPs a token and {shape.parameters} parameters by "
            f"its files, {real[0]:.0f} and {real[1]} as loaded; {type(lm).__name__} cannot be costed, choose "
            "another family"
        )
    return PretrainedPolicy(lm, shape)


@torch.no_grad()
def cut_vocabulary(lm: Any, tokens: Sequence[int]) -> None:
    """Keep the embeddings and the logits of `tokens` only, which become ids 0, 1, ... in this order."""
    rows, embedding, head = torch.tensor(tokens), lm.get_input_embeddings(), _head(lm)
    tables = [embedding.weight] if head.weight is embedding.weight else [embedding.weight, head.weight]
    if head.bias is not None:
        tables.append(head.bias)
    for table in tables:
        table[: len(tokens)] = table[rows]  # indexing copies before it writes
    lm.resize_token_embeddings(len(tokens), mean_resizing=False)
    # An id that meant padding in the old vocabulary is a symbol in this one, and is to be trained.
    lm.get_input_embeddings().padding_idx = None


def _head(lm: Any) -> nn.Linear:
    head = lm.get_output_embeddings()
    assert isinstance(head, nn.Linear), f"{type(lm).__name__} has no linear head"
    return head


def _matrix_weights(lm: Any) -> int:
    """Weights of the matrix products that every token passes."""
    from transformers.pytorch_utils import Conv1D

    head = _head(lm)
    return sum(m.weight.numel() for m in lm.modules() if isinstance(m, nn.Linear | Conv1D) and m is not head)
