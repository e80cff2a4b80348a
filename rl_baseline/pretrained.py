"""Pretrained models as policies: where they lie, what they cost, what identifies them. No torch here.

A local folder is described by its `config.json` and by the headers of its safetensors files, which
name every tensor and its shape: nothing is loaded to draw a plan. A name on the hub is described by
transformers' AutoConfig and an empty model.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from arena.config import ConfigError, require
from arena.shape import Shape

VOCABULARY_MAPS = re.compile(r"(^|\.)(embed_tokens|wte|embed_in|word_embeddings|lm_head|embed_out)\.")
HEADS = re.compile(r"(^|\.)(lm_head|embed_out)\.weight$")
POSITION_TABLES = re.compile(r"(^|\.)(wpe|embed_positions|position_embeddings)\.")
BUFFERS = re.compile(r"\.(inv_freq|masked_bias)$")
UNCOUNTED = ("num_experts", "num_local_experts", "n_routed_experts", "kv_lora_rank", "linear_num_value_heads")
"""Settings of models whose tokens do not pass every weight, or whose attention is of another kind."""
SAMPLES, SAMPLE_BYTES = 64, 1 << 16
"""What is read of a weights file to tell it from another: enough to see any training step."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A pretrained model without its weights."""

    name: str
    """As the user gave it."""
    config: Mapping[str, Any]
    """Content of its config.json."""
    tensors: Mapping[str, tuple[int, ...]]
    """Name and shape of each parameter; tied ones once or twice."""

    def number(self, *keys: str) -> int:
        """The first of the settings that the configuration holds.

        Raises:
            ConfigError: none of them is there.
        """
        for key in keys:
            value = self.config.get(key)
            if isinstance(value, int):
                return value
        raise ConfigError(
            f"arm.pretrained={self.name}: its config.json holds none of {', '.join(keys)}; choose a "
            "text-only decoder with attention"
        )

    @property
    def vocabulary(self) -> int:
        """Token ids of the model as published."""
        return self.number("vocab_size")

    @property
    def positions(self) -> int | None:
        """Tokens that the model has positions for; none: it does not say."""
        keys = ("max_position_embeddings", "n_positions")
        return next((self.config[key] for key in keys if isinstance(self.config.get(key), int)), None)

    def shape(self, vocabulary: int) -> Shape:
        """Cost and parameters once the vocabulary is cut to `vocabulary` tokens.

        Raises:
            ConfigError: not a dense decoder with ordinary attention, so the count would be wrong.
        """
        refused = next((key for key in UNCOUNTED if self.config.get(key)), None)
        require(
            refused is None,
            f"arm.pretrained={self.name}: {refused} in its config.json: the FLOPs of such models are not "
            "counted here; choose a dense decoder",
        )
        layers = self.number("num_hidden_layers", "n_layer", "num_layers")
        heads = self.number("num_attention_heads", "n_head")
        width = self.number("hidden_size", "n_embd", "d_model")
        head_width = self.config.get("head_dim") or width // heads
        inner = {n: s for n, s in self.tensors.items() if not VOCABULARY_MAPS.search(n)}
        tables = {n: s for n, s in self.tensors.items() if VOCABULARY_MAPS.search(n)}
        head = next((s for n, s in tables.items() if HEADS.search(n)), None)
        table = next((s for n, s in tables.items() if n.endswith("weight") and not HEADS.search(n)), None)
        if table is None:
            raise ConfigError(
                f"arm.pretrained={self.name}: no embedding table among its weights; choose a decoder whose "
                "table is named as in Llama, GPT-2 or GPT-NeoX"
            )
        tied = head is None or bool(self.config.get("tie_word_embeddings", False))
        embeddings = vocabulary * (table[1] if tied or head is None else table[1] + head[1])
        embeddings += vocabulary * sum(len(s) == 1 for s in tables.values())  # the head's bias
        weights = sum(prod(s) for n, s in inner.items() if len(s) == 2 and not POSITION_TABLES.search(n))
        count = sum(prod(s) for n, s in inner.items() if len(s) in (1, 2) and not BUFFERS.search(n))
        return Shape(
            token=2.0 * weights,
            pair=4.0 * layers * heads * head_width,
            prediction=2.0 * (table if head is None else head)[1] * vocabulary,
            # The model's own forward pass may scale or cap its logits; it is called whole.
            everywhere=True,
            parameters=count + embeddings,
            non_embedding=count,
        )


def is_local(pretrained: str) -> bool:
    """Whether the name is a folder's."""
    return Path(pretrained).is_dir()


def file(pretrained: str, revision: str | None, name: str) -> Path | None:
    """A small file of the model, fetched from the hub if the model is no folder; none: it has no such file.

    Raises:
        ConfigError: no such folder or model, or it cannot be reached.
    """
    if is_local(pretrained):
        require(
            revision is None,
            f"arm.revision={revision}: {pretrained} is a local folder, which has no revisions; leave it out",
        )
        path = Path(pretrained) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(pretrained, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    except Exception as error:
        raise unavailable(pretrained, error) from error
    return None if found is None else Path(found)


def unavailable(pretrained: str, error: Exception) -> ConfigError:
    """The one-line error of a model that cannot be had."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConfigError(
        f"arm.pretrained={pretrained}: cannot be loaded ({reason}); give a folder written by save_pretrained "
        "or a name on the hub, and check the network"
    )


@lru_cache(maxsize=8)
def describe(pretrained: str, revision: str | None) -> Description:
    """A model's configuration and tensor shapes; torch is imported for a name on the hub only.

    Raises:
        ConfigError: it cannot be had, or its weights are not safetensors.
    """
    if not is_local(pretrained):
        return _describe_hub(pretrained, revision)
    path = file(pretrained, revision, "config.json")
    if path is None:
        raise ConfigError(
            f"arm.pretrained={pretrained}: holds no config.json; give a folder written by save_pretrained"
        )
    tensors: dict[str, tuple[int, ...]] = {}
    for weights in weight_files(pretrained):
        for name, entry in json.loads(_header(weights)).items():
            if name != "__metadata__":
                tensors[name] = tuple(entry["shape"])
    return Description(name=pretrained, config=json.loads(path.read_bytes()), tensors=tensors)


def weight_files(folder: str) -> list[Path]:
    """The safetensors files of a local model.

    Raises:
        ConfigError: there are none.
    """
    index = Path(folder) / "model.safetensors.index.json"
    if index.is_file():
        return [
            Path(folder) / name for name in sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        ]
    single = Path(folder) / "model.safetensors"
    require(
        single.is_file(),
        f"arm.pretrained={folder}: holds no model.safetensors; save the model with save_pretrained "
        "(other formats can run code while loading and are refused)",
    )
    return [single]


def fingerprint(pretrained: str | None) -> dict[str, Any]:
    """What identifies a local model wherever it lies; a name on the hub identifies itself."""
    if pretrained is None or not is_local(pretrained):
        return {}
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json"):
        path = Path(pretrained) / name
        digest.update(path.read_bytes() if path.is_file() else b"none")
    for path in weight_files(pretrained):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        digest.update(_header(path))
        with path.open("rb") as handle:
            for i in range(SAMPLES):
                handle.seek(max(0, size - SAMPLE_BYTES) * i // (SAMPLES - 1))
                digest.update(handle.read(SAMPLE_BYTES))
    return {"pretrained": Path(pretrained).resolve().name, "pretrained_sha256": digest.hexdigest()}


def _header(path: Path) -> bytes:
    """The JSON at the start of a safetensors file: eight bytes of length, then itself."""
    with path.open("rb") as handle:
        return handle.read(int.from_bytes(handle.read(8), "little"))


def _describe_hub(pretrained: str, revision: str | None) -> Description:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(pretrained, revision=revision, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise unavailable(pretrained, error) from error
    tensors = {name: tuple(p.shape) for name, p in model.named_parameters()}
    return Description(name=pretrained, config=config.to_dict(), tensors=tensors)
