"""A cell's checkpoint back to a trained arm. Data only: nothing in the file is executed."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arena.config import ConfigError, Size, TaskConfig, require
from arena.tasks import TASKS, task_class
from ebt.config import EBTArm
from ebt.energy import build_energy
from ebt.gate import initial_cut
from ebt.infer import EBT

KINDS = {config.kind: config for config in TASKS}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A trained arm and what it was trained on."""

    ebt: EBT
    size: Size
    task: TaskConfig


def load(path: Path) -> Loaded:
    """Read a checkpoint that `python -m compare` wrote.

    Raises:
        ConfigError: no such file, not a checkpoint, of another arm, or its tensors do not fit.
    """
    require(path.is_file(), f"checkpoint={path}: no such file; give a cell's checkpoint.ckpt")
    try:
        raw: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        cell, state = raw["cell"], raw["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        raise ConfigError(
            f"checkpoint={path}: not a checkpoint of this project ({type(error).__name__}); give a cell's "
            "checkpoint.ckpt"
        ) from error
    kind = cell["arm"].get("kind")
    require(kind == "ebt", f"checkpoint={path}: an arm of family {kind}; generation needs family ebt")
    try:
        arm, size = EBTArm(**cell["arm"]), Size(**cell["size"])
        task: TaskConfig = KINDS[cell["task"]["kind"]](**cell["task"])
    except (TypeError, KeyError) as error:
        raise ConfigError(
            f"checkpoint={path}: its configuration is of another version ({error}); train the cell again"
        ) from error
    holder = _Holder(arm, size, task_class(task).vocabulary)
    restore(holder, state, str(path))
    return Loaded(ebt=holder.ebt(arm), size=size, task=task)


class _Holder(nn.Module):
    """The parts of an EBTModule that its checkpoint holds, under the same names."""

    def __init__(self, arm: EBTArm, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.model = build_energy(arm, size, vocabulary)
        self.alpha = nn.Parameter(torch.tensor(float("nan")))
        self.register_buffer("cut", initial_cut(arm), persistent=arm.gate == "entropy")
        self.cut: Tensor

    def ebt(self, arm: EBTArm) -> EBT:
        return EBT(arm=arm, model=self.model, alpha=self.alpha.detach(), cut=self.cut)


def restore(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load a state whose names and shapes must be the module's own.

    Raises:
        ConfigError: names the first tensor that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    for name in (*own, *state):
        found = tuple(state[name].shape) if name in state else "missing"
        expected = tuple(own[name].shape) if name in own else "unknown"
        require(
            found == expected,
            f"{source}: tensor {name} is {found} in the file and {expected} in the model; use the size, task "
            "and arm that it was trained with",
        )
    module.load_state_dict(state)
