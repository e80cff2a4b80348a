"""A trained energy-based transformer as a transformers model, for tools that evaluate such models.

`EBTForCausalLM` gives the logits that thinking ends with, at every position. Its `generate` is
transformers' own, without a cache; ebt.decode is the fast way.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.configuration_utils import PretrainedConfig
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import CausalLMOutput
from transformers.modeling_utils import PreTrainedModel

from arena.config import Size, require
from ebt.config import EBTArm, Thinking
from ebt.energy import build_energy
from ebt.infer import EBT, Noise, infer

SMALLEST = Size(name="6xs", layers=2, heads=2, width=64, lr=3e-3)
"""What a configuration without arguments describes, as transformers asks of each."""


class EBTConfig(PretrainedConfig):
    """Configuration: the arm's and the size's settings, the vocabulary, and how to think.

    Args:
        arm: fields of ebt.config.EBTArm; size: of arena.config.Size.
        vocab_size: tokens.
        thinking: fields of ebt.config.Thinking; none: the steps that the arm was trained for.
        seed: of the starts; the same input gives the same logits.
    """

    model_type = "ebt"

    def __init__(
        self,
        arm: dict[str, Any] | None = None,
        size: dict[str, Any] | None = None,
        vocab_size: int = 256,
        thinking: dict[str, Any] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.arm = arm if arm is not None else dataclasses.asdict(EBTArm(name="ebt_s1"))
        self.size = size if size is not None else dataclasses.asdict(SMALLEST)
        self.num_hidden_layers, self.hidden_size = self.size["layers"], self.size["width"]
        self.num_attention_heads = self.size["heads"]
        self.vocab_size, self.thinking, self.seed = vocab_size, thinking, seed
        super().__init__(**{"tie_word_embeddings": False, "use_cache": False, **kwargs})


class EBTForCausalLM(PreTrainedModel, GenerationMixin):
    """Next-token logits from thinking."""

    config_class = EBTConfig
    config: EBTConfig
    main_input_name = "input_ids"

    def __init__(self, config: EBTConfig) -> None:
        super().__init__(config)
        self.arm, size = EBTArm(**config.arm), Size(**config.size)
        self.arm.validate()
        size.validate()
        self.thinking = Thinking(**(config.thinking or {"steps": self.arm.full_steps, "hold_last": True}))
        self.thinking.validate()
        self.model = build_energy(self.arm, size, config.vocab_size)
        self.alpha = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("cut", torch.ones(()))
        self.cut: Tensor
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: the energy model initialises itself."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **unused: Any,
    ) -> CausalLMOutput:
        """Logits (B, S, V) after every token, and the mean loss of `labels` (-100: none), shifted here.

        Raises:
            ConfigError: padding on the left, which no position may stand for, or an unknown token.
        """
        length = input_ids.shape[1]
        largest = int(input_ids.max())
        require(
            largest < self.config.vocab_size,
            f"input_ids hold {largest}: the vocabulary has {self.config.vocab_size} tokens; use the tokens "
            "that it was trained on",
        )
        if attention_mask is not None:
            mask = attention_mask.bool()
            require(
                bool((mask[:, :-1] | ~mask[:, 1:]).all()),
                "attention_mask: padding on the left; pad on the right, which changes no earlier position",
            )
        with torch.no_grad():
            context = self.model.observe(input_ids)
            ebt = EBT(arm=self.arm, model=self.model, alpha=self.alpha.detach(), cut=self.cut)
            shape = (input_ids.shape[0], length)
            device = input_ids.device
            logits = infer(
                ebt,
                context,
                shape,
                self.thinking,
                noise=Noise(device, self.config.seed, "pretrained"),
                langevin=Noise(device, self.config.seed, "langevin"),
            ).logits_BMV
        loss = None
        if labels is not None:
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)  # pyright: ignore[reportArgumentType]

    def prepare_inputs_for_generation(self, input_ids: Any, *unused: Any, **ignored: Any) -> dict[str, Any]:
        """The whole prefix each time: there is no cache here."""
        return {"input_ids": input_ids}


def as_pretrained(ebt: EBT, size: Size, vocabulary: int, thinking: Thinking | None = None) -> EBTForCausalLM:
    """A trained arm as a transformers model; `save_pretrained` then writes it as safetensors."""
    config = EBTConfig(
        arm=dataclasses.asdict(ebt.arm),
        size=dataclasses.asdict(size),
        vocab_size=vocabulary,
        thinking=None if thinking is None else dataclasses.asdict(thinking),
    )
    model = EBTForCausalLM(config)
    model.model.load_state_dict(ebt.model.state_dict())
    with torch.no_grad():
        model.alpha.copy_(ebt.alpha)
        model.cut.copy_(ebt.cut)
    return model.eval()


AutoConfig.register("ebt", EBTConfig)
AutoModelForCausalLM.register(EBTConfig, EBTForCausalLM)
