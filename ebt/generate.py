"""Text from a trained energy-based transformer, printed as it comes.

    python -m ebt.generate checkpoint=runs/cells/HASH/checkpoint.ckpt prompt='def main('

Every setting is key=value; `python -m ebt.generate --help` lists them.
"""

import codecs
import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from arena.config import ConfigError, require, require_choice
from arena.seeding import generator
from arena.tasks import task_class, trained_length
from ebt.checkpoint import Loaded, load
from ebt.config import Thinking
from ebt.decode import Decoder, Sampling
from ebt.infer import Noise
from ebt.think import Thought


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line takes."""

    checkpoint: str = MISSING  # a cell's checkpoint.ckpt
    prompt: str = MISSING  # text to go on from
    tokens: int | None = None  # most tokens to generate; none: what the trained length has room for
    seed: int = 0  # of starts, noise and sampled tokens
    show: str = "text"  # text; or energy, a line per token: probability, energy, steps taken
    beyond_context: bool = False  # go on past the length seen in training
    steps: int | None = None  # steps of thinking per token; none: as trained
    restarts: int = 1  # descents per token; one is kept
    choose: str = "min_energy"  # which: min_energy, max_energy, largest_drop
    langevin: float = 0.0  # noise on the logits before a step
    langevin_steps: str = "all"  # which steps have it: all, first
    alpha: float | None = None  # step size; none: as trained
    accept: bool = False  # take a step only if the energy falls
    tolerance: float | None = None  # stop when the energy changes by no more than this
    hold_last: bool = False  # beyond the trained steps, go on with the last step's energy
    temperature: float = 0.0  # 0: the most probable token
    top_k: int = 0  # only the k most probable tokens; 0: all
    top_p: float = 1.0  # only the most probable tokens that reach this probability


def options(arguments: Sequence[str]) -> Options:
    """Options from key=value arguments. Raises ConfigError, one line, at the first that is of no use."""
    for argument in arguments:
        require("=" in argument, f"{argument}: write key=value; --help lists the keys")
    merged: DictConfig = OmegaConf.structured(Options)
    OmegaConf.set_readonly(merged, False)
    try:
        for argument in arguments:
            # A prompt may hold anything: only the first = belongs to the syntax. Fields convert strings.
            key, value = argument.split("=", 1)
            OmegaConf.update(merged, key, None if value == "null" else value)
        found = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(found, Options)
    require_choice("show", found.show, ("text", "energy"))
    require(found.tokens is None or found.tokens >= 1, f"tokens={found.tokens}: must be at least 1")
    require(found.prompt != "", "prompt=: give at least one symbol to go on from")
    return found


def speak(chosen: Options, loaded: Loaded) -> Tensor:
    """Generate and print; the tokens (T,).

    Raises:
        ConfigError: a symbol that the vocabulary lacks, a prompt too long, steps beyond the known ones.
    """
    task = task_class(loaded.task)
    prompt = task.tokens(chosen.prompt)
    room = trained_length(loaded.task) - len(prompt)
    limit = chosen.tokens if chosen.tokens is not None else max(room, 1)
    require(
        chosen.beyond_context or limit <= room,
        f"prompt of {len(prompt)} tokens and tokens={limit}: training saw {len(prompt) + room} together; "
        "shorten the prompt, lower tokens, or set beyond_context=true",
    )
    arm = loaded.ebt.arm
    names = {f.name for f in dataclasses.fields(Thinking)} - {"steps"}
    thinking = Thinking(
        steps=arm.full_steps if chosen.steps is None else chosen.steps,
        **{
            **{name: value for name, value in vars(chosen).items() if name in names},
            "hold_last": chosen.hold_last or (chosen.steps is None and arm.extra_steps > 0),
        },
    )
    thinking.validate()
    sampling = Sampling(temperature=chosen.temperature, top_k=chosen.top_k, top_p=chosen.top_p)
    sampling.validate()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder = Decoder(
        loaded.ebt.to(device),
        loaded.size,
        noise=Noise(device, chosen.seed, "generate"),
        langevin=Noise(device, chosen.seed, "langevin"),
        draws=generator(device, chosen.seed, "draws"),
    )
    printer = Printer(task.symbols, is_bytes=task.vocabulary == 256, energies=chosen.show == "energy")
    tokens = decoder.run(
        torch.tensor([prompt], device=device),
        limit=limit,
        thinking=thinking,
        end=task.end,
        sampling=sampling,
        energy=chosen.show == "energy",
        on_token=printer,
    )
    printer.close()
    return tokens[0]


class Printer:
    """Prints tokens as they come: as text, or a line each with energy and steps."""

    def __init__(self, symbols: str, *, is_bytes: bool, energies: bool) -> None:
        self._symbols, self._energies = symbols, energies
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace") if is_bytes else None
        if energies:
            print("token   probability    energy  steps")

    def __call__(self, token_B: Tensor, thought: Thought) -> None:
        token = int(token_B[0])
        if not self._energies:
            text = self._symbols[token] if self._utf8 is None else self._utf8.decode(bytes([token]))
            print(text, end="", flush=True)
            return
        probability = float(thought.logits_BMV[0, 0].float().softmax(-1)[token])
        energy = float("nan") if thought.energy_BM is None else float(thought.energy_BM[0, 0])
        shown = "-" if math.isnan(energy) else f"{energy:.4f}"
        steps = int(thought.steps_BM[0, 0])
        print(f"{self._symbols[token]!r:7} {probability:11.3f} {shown:>9} {steps:6d}", flush=True)

    def close(self) -> None:
        """End the line."""
        if not self._energies:
            print(self._utf8.decode(b"", final=True) if self._utf8 is not None else "")


def usage() -> str:
    """The settings, from the source that declares them."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    keys = [line.strip() for line in lines if line.startswith("    ") and "  # " in line and ": " in line]
    return f"{__doc__}\n" + "\n".join(f"  {key}" for key in keys)


def main(arguments: Sequence[str]) -> int:
    """The command; its exit status: 0, or 2 for what cannot be done."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    try:
        chosen = options(arguments)
        speak(chosen, load(Path(chosen.checkpoint)))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
