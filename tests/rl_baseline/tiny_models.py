"""Tiny causal language models with random weights, and tokenizers of three kinds, saved to a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rl_baseline.symbols import stand_in

VOCABULARY = 300
LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,  # far from uniform, so that a wrong position or mask is seen
}
FAMILIES: dict[str, Callable[[], Any]] = {
    # Its padding id, 0, is the digit 0 once the vocabulary is cut.
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, num_key_value_heads=2, pad_token_id=0)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**LLAMA, num_key_value_heads=2, tie_word_embeddings=True)),
    # Dropout is on, as published.
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3
        )
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**LLAMA)),
}


def byte_level() -> Tokenizer:
    """All bytes, as GPT-2's family has them, in an order of its own."""
    spellings = {stand_in(b): (b * 7 + 11) % 256 for b in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=spellings, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_piece(characters: str, *, fallback: bool) -> Tokenizer:
    """Characters, and bytes if asked for, as SentencePiece writes them; a space is a low line."""
    names = ["<unk>", *([f"<0x{b:02X}>" for b in range(256)] if fallback else []), "▁", *characters]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={n: i for i, n in enumerate(names)}, merges=[], unk_token="<unk>", byte_fallback=True
        )
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def save(folder: Path, make: Callable[[], Any], tokenizer: Tokenizer | None) -> str:
    torch.manual_seed(0)
    make().save_pretrained(folder)
    if tokenizer is not None:
        PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return str(folder)
