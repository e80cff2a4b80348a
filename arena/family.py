"""A family of arms: what the harness knows of it before and while it builds one.

A family declares itself in a `family.py` of its own folder. That file imports no torch, since plans are drawn
without it. The one list of families is compare/plan/families.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arena.config import Cell
from arena.tasks.base import Task

if TYPE_CHECKING:
    from arena.contender import Contender


def no_files(cell: Cell) -> dict[str, Any]:
    """The fingerprint of an arm that starts from no file."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """Arms that share a configuration class and a module; they differ in settings."""

    config: type[Any]
    """Frozen dataclass of an arm's settings: with a default for `kind`, the family's name; with `name`, the
    arm's; and with `validate`, which raises ConfigError at a value that cannot be used."""
    build: "Callable[[Cell, Task], Contender]"
    """The module of a cell. It imports torch, and whatever else is heavy, when it is called."""
    parameters: Callable[[Cell, Task], tuple[int, int]]
    """Parameters in all, and without the maps between vocabulary and width."""
    step_flops: Callable[[Cell, Task], float]
    """FLOPs of the most expensive step on next tokens; for an arm without such steps, of any step."""
    minimum_flops: Callable[[Cell, Task], float]
    """Smallest budget with which a cell can train. Raises ConfigError, one line, where the task, the size or
    the trainer does not suit the arm."""
    fingerprint: Callable[[Cell], dict[str, Any]] = no_files
    """What identifies the files that an arm starts from."""
    thinks: bool = False
    """Whether its answers take more or fewer steps of one kind (Effort.thinks)."""
    rewarded: bool = False
    """Whether reward trains it. It then needs tasks whose answers can be verified."""
    staged: bool = False
    """Whether it trains in stages that are shares of its compute. It then cannot train at equal data."""

    @property
    def kind(self) -> str:
        """Its name: in configurations, records and messages."""
        return self.config.kind
