"""The families of arms: what a plan needs to know of each, and how to build its module.

A new family is one entry here, one configuration class and one Contender; a new arm of a known
family is one YAML file in conf/arm. Nothing here imports torch until a module is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import controls.diffusion.cost
import controls.looped.cost
import ebt.cost
import ebt.parallel.cost
import ebt.verifier.cost
import rl_baseline.cost
from arena.config import Cell, TrainerConfig, require
from arena.tasks.base import Task
from controls.diffusion.config import DiffusionArm
from controls.looped.config import LoopedArm
from ebt.config import EBTArm
from ebt.parallel.config import ParallelArm
from ebt.verifier.config import VerifierArm
from rl_baseline import pretrained
from rl_baseline.config import RLArm, TransformerArm

if TYPE_CHECKING:
    from arena.contender import Contender


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the harness knows of a family of arms."""

    config: type
    """Configuration class; its field `kind` names the family."""
    minimum_flops: Callable[[Cell, Task], float]
    """Smallest budget with which it can train."""
    step_flops: Callable[[Cell, Task], float]
    """Most that a step on next tokens costs."""
    parameters: Callable[[Cell, Task], tuple[int, int]]
    """Parameters in all, and without vocabulary maps."""
    build: "Callable[[Cell, Task], Contender]"
    fingerprint: Callable[[Cell], dict[str, Any]]
    """What identifies the files that an arm starts from."""


def _ebt(cell: Cell, task: Task) -> "Contender":
    from ebt.module import EBTModule

    return EBTModule(cell, task)


def _parallel(cell: Cell, task: Task) -> "Contender":
    from ebt.parallel.module import ParallelModule

    return ParallelModule(cell, task)


def _verifier(cell: Cell, task: Task) -> "Contender":
    from ebt.verifier.module import VerifierModule

    return VerifierModule(cell, task)


def _transformer(cell: Cell, task: Task) -> "Contender":
    from rl_baseline.supervised import TransformerModule

    return TransformerModule(cell, task)


def _looped(cell: Cell, task: Task) -> "Contender":
    from controls.looped.module import LoopedModule

    return LoopedModule(cell, task)


def _diffusion(cell: Cell, task: Task) -> "Contender":
    from controls.diffusion.module import DiffusionModule

    return DiffusionModule(cell, task)


def _rl(cell: Cell, task: Task) -> "Contender":
    from rl_baseline.module import RLModule

    return RLModule(cell, task)


def _no_files(cell: Cell) -> dict[str, Any]:
    return {}


def _pretrained(cell: Cell) -> dict[str, Any]:
    return pretrained.fingerprint(cell.arm.pretrained)


FAMILIES: dict[str, Family] = {
    "ebt": Family(
        config=EBTArm,
        minimum_flops=ebt.cost.minimum_flops,
        step_flops=ebt.cost.step_flops,
        parameters=ebt.cost.parameters,
        build=_ebt,
        fingerprint=_no_files,
    ),
    "parallel": Family(
        config=ParallelArm,
        minimum_flops=ebt.parallel.cost.minimum_flops,
        step_flops=ebt.parallel.cost.step_flops,
        parameters=ebt.parallel.cost.parameters,
        build=_parallel,
        fingerprint=_no_files,
    ),
    "verifier": Family(
        config=VerifierArm,
        minimum_flops=ebt.verifier.cost.minimum_flops,
        step_flops=ebt.verifier.cost.step_flops,
        parameters=ebt.verifier.cost.parameters,
        build=_verifier,
        fingerprint=_no_files,
    ),
    "transformer": Family(
        config=TransformerArm,
        minimum_flops=rl_baseline.cost.minimum_flops,
        step_flops=rl_baseline.cost.step_flops,
        parameters=rl_baseline.cost.parameters,
        build=_transformer,
        fingerprint=_pretrained,
    ),
    "looped": Family(
        config=LoopedArm,
        minimum_flops=controls.looped.cost.step_flops,
        step_flops=controls.looped.cost.step_flops,
        parameters=controls.looped.cost.parameters,
        build=_looped,
        fingerprint=_no_files,
    ),
    "diffusion": Family(
        config=DiffusionArm,
        minimum_flops=controls.diffusion.cost.step_flops,
        step_flops=controls.diffusion.cost.step_flops,
        parameters=controls.diffusion.cost.parameters,
        build=_diffusion,
        fingerprint=_no_files,
    ),
    "rl": Family(
        config=RLArm,
        minimum_flops=rl_baseline.cost.minimum_flops,
        step_flops=rl_baseline.cost.step_flops,
        parameters=rl_baseline.cost.parameters,
        build=_rl,
        fingerprint=_pretrained,
    ),
}


def family(cell: Cell) -> Family:
    """The family of a cell's arm."""
    return FAMILIES[cell.arm.kind]


def check(cell: Cell, task: Task) -> None:
    """Raise ConfigError if the cell cannot run: bad values, shifts the task lacks, too small a budget."""
    cell.validate()
    severities, most = cell.trainer.severities, max(task.axes.values())
    ranges = ", ".join(f"{axis} 0 to {count - 1}" for axis, count in task.axes.items())
    require(
        severities <= max(most, TrainerConfig.severities),  # the default takes what there is
        f"trainer.severities={severities}: {cell.task.name} has severities {ranges}; use at most {most}",
    )
    least = family(cell).minimum_flops(cell, task)
    require(
        cell.budget.flops >= least,
        f"budget.flops={cell.budget.flops:g}: too small for one step of {cell.arm.name} on "
        f"{cell.task.name} at size {cell.size.name}; give at least {least:.3g}, or lower task.batch",
    )
