"""The families of arms: the one list of them, and whether a cell can run.

A new family is one folder, whose `family.py` declares it (arena/family.py), and one line here. A new arm of a
known family is one YAML file in conf/arm. Nothing here imports torch until a module is built.
"""

from collections.abc import Iterable
from pkgutil import resolve_name

from arena.config import Cell, TrainerConfig, require
from arena.family import Family
from arena.tasks.base import Task

DECLARED = (
    "ebt.family:EBT",
    "ebt.parallel.family:PARALLEL",
    "ebt.verifier.family:VERIFIER",
    "rl_baseline.family:TRANSFORMER",
    "controls.looped.family:LOOPED",
    "controls.diffusion.family:DIFFUSION",
    "rl_baseline.family:RL",
)
"""Where each family declares itself."""


def load(declared: Iterable[str]) -> dict[str, Family]:
    """Families by their names."""
    families: list[Family] = [resolve_name(place) for place in declared]
    return {family.kind: family for family in families}


FAMILIES = load(DECLARED)


def family(cell: Cell) -> Family:
    """The family of a cell's arm."""
    return FAMILIES[cell.arm.kind]


def validate(cell: Cell) -> None:
    """Raise ConfigError if the cell's values cannot be used, alone or together; reads no data of the task."""
    cell.validate()
    require(
        cell.task.verifiable or not family(cell).rewarded,
        f"arm={cell.arm.name} with task={cell.task.name}: reward needs a task with a verifiable "
        "answer; choose task=addition or another that has one",
    )
    require(
        cell.budget.problems is None or not family(cell).staged,
        f"arm={cell.arm.name} with budget.problems={cell.budget.problems}: this arm's stages are shares "
        "of its compute; leave budget.problems at null",
    )


def check(cell: Cell, task: Task) -> None:
    """Raise ConfigError if the cell cannot run: bad values, shifts the task lacks, too small a budget."""
    validate(cell)
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
