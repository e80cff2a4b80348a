"""Rollouts against transformers' `generate` on an equal model, in one run.

    python -m benchmarks.rollout [runs]

The peer is a LlamaForCausalLM of the same shape that holds our weights: greedy tokens of the two are
compared before anything is timed. Both sample at temperature 1 from the whole vocabulary, a group a
prompt, the same number of tokens a sequence (no end token); ours also reports each token's
log-probability and entropy, which training needs and `generate` is not asked for. `ratio`: the peer's
time over ours at the project's default rollout; `ratio_long`: likewise for longer problems.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import set_verbosity_error

from arena.config import Addition, Size, TrainerConfig
from arena.policy import TransformerPolicy
from arena.rollout import sample, sequence_seeds
from arena.tasks import build_task
from arena.tasks.base import Task
from arena.transformer import ROTARY_BASE, Block, TransformerLM
from benchmarks.common import device_in_use, last_line, seconds_in_turn

PROMPTS, GROUP = 32, 8
"""The default rollout of the arms trained by reward."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A shape to measure."""

    name: str
    task: Addition
    size: Size


CASES = (
    Case(
        name="default",
        task=Addition(name="addition", min_digits=2, max_digits=2),
        size=Size(name="6xs", layers=2, heads=2, width=64, lr=3e-3),
    ),
    Case(
        name="long",
        task=Addition(name="addition_chain", min_digits=32, max_digits=32, chain=True),
        size=Size(name="4xs", layers=2, heads=2, width=128, lr=2.4e-3),
    ),
)


@torch.no_grad()
def equal_llama(model: TransformerLM, size: Size, vocabulary: int, positions: int) -> Any:
    """transformers' Llama with our weights: the same function of the same tokens.

    Both turn (x_i, x_{i + D/2}) by position * base^(-2i/D), so rows need no reordering; ours keeps
    queries, keys and values, and gate and up, in one matrix each, in this order.
    """
    # Keyword settings: the constructor's own signature is untyped.
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": positions,
        "rms_norm_eps": model.backbone.norm.eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROTARY_BASE},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    # Any: `generate` is typed by a protocol that transformers' own classes do not meet.
    llama: Any = LlamaForCausalLM(LlamaConfig(**settings))
    llama = llama.to(model.embedding.weight.device).eval()
    state: dict[str, Tensor] = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.backbone.norm.weight,
        "lm_head.weight": model.head.weight,
    }
    for i, block in enumerate(model.backbone.blocks):
        assert isinstance(block, Block)
        attention, mlp = block.attention, block.mlp
        parts = {
            "input_layernorm": block.norm_attention.weight,
            "post_attention_layernorm": block.norm_mlp.weight,
            "self_attn.o_proj": attention.out.weight,
            "mlp.down_proj": mlp.out.weight,
        }
        parts |= dict(
            zip(
                ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                attention.qkv.weight.chunk(3),
                strict=True,
            )
        )
        parts |= dict(zip(("mlp.gate_proj", "mlp.up_proj"), mlp.gate_up.weight.chunk(2), strict=True))
        state |= {f"model.layers.{i}.{name}.weight": weight for name, weight in parts.items()}
    llama.load_state_dict(state)
    return llama


def contestants(
    case: Case, device: torch.device
) -> tuple[dict[str, Callable[[], Any]], float, int, tuple[int, int]]:
    """The two samplers, the share of greedy tokens on which they agree, tokens a call, lengths."""
    task: Task = build_task(case.task)
    task.end = None  # every sequence runs to its full length, in both
    torch.manual_seed(0)
    model = TransformerPolicy(case.size, task.vocabulary).to(device).eval()
    prompt, length = task.longest()
    llama = equal_llama(model, case.size, task.vocabulary, prompt + length)
    prompts = [task.problem("train", 0, i).prompt for i in range(PROMPTS)]
    tokens = torch.tensor(prompts, device=device)
    everything = torch.ones_like(tokens)

    def ours(temperature: float = 1.0, group: int = GROUP) -> Any:
        seeds = sequence_seeds(prompts, group, 0)
        return sample(model, task, prompts, length=length, group=group, temperature=temperature, seeds=seeds)

    def generate(**settings: Any) -> Tensor:
        return llama.generate(
            tokens,
            attention_mask=everything,
            max_new_tokens=length,
            min_new_tokens=length,
            pad_token_id=task.pad,
            **settings,
        )[:, prompt:]

    def peer() -> Tensor:
        return generate(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=GROUP)

    greedy = torch.tensor(ours(temperature=0.0, group=1).completions)
    equal = float((greedy == generate(do_sample=False).cpu()).float().mean())
    if equal < 1:
        raise RuntimeError(f"{case.name}: greedy tokens agree in {equal:.1%} only; the models are not equal")
    assert peer().shape == (PROMPTS * GROUP, length)
    return {"ours": ours, "generate": peer}, equal, PROMPTS * GROUP * length, (prompt, length)


def main(runs: int = 7) -> None:
    """Compare greedy tokens, time both at each shape, print."""
    set_verbosity_error()
    torch.set_num_threads(TrainerConfig().threads)  # as a cell runs, one to a core
    device = device_in_use()
    table = Table(title=f"Rollouts: {PROMPTS} prompts x {GROUP} samples")
    for column in ("case", "size", "prompt", "sampled", "ours tokens/s", "generate tokens/s", "ratio"):
        table.add_column(column)
    figures: dict[str, Any] = {}
    for case in CASES:
        calls, equal, tokens, (prompt, length) = contestants(case, device)
        times = seconds_in_turn(calls, runs, device)
        ratio = times["generate"] / times["ours"]
        rates = {name: round(tokens / seconds) for name, seconds in times.items()}
        suffix = "" if case is CASES[0] else f"_{case.name}"
        figures |= {
            f"ratio{suffix}": round(ratio, 3),
            f"tokens_per_second{suffix}": rates,
            f"seconds{suffix}": {k: round(v, 5) for k, v in times.items()},
            f"greedy_equal{suffix}": equal == 1,
            f"shape{suffix}": {"size": case.size.name, "prompt": prompt, "sampled": length},
        }
        numbers = (str(prompt), str(length), *(f"{r:,}" for r in rates.values()), f"{ratio:.2f}")
        table.add_row(case.name, case.size.name, *numbers)
    Console().print(table)
    last_line("rollout", device, **figures, sequences=PROMPTS * GROUP, runs=runs)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
