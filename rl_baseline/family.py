"""The plain transformer, and the transformer trained by reward, as families of arms. No torch here."""

from typing import TYPE_CHECKING, Any

from arena.config import Cell
from arena.family import Family
from arena.tasks.base import Task
from rl_baseline import cost, pretrained
from rl_baseline.config import RLArm, TransformerArm

if TYPE_CHECKING:
    from rl_baseline.module import RLModule
    from rl_baseline.supervised import TransformerModule


def build_transformer(cell: Cell, task: Task) -> "TransformerModule":
    """The module of a cell that trains on next tokens alone."""
    from rl_baseline.supervised import TransformerModule

    return TransformerModule(cell, task)


def build_rl(cell: Cell, task: Task) -> "RLModule":
    """The module of a cell that goes on by reward."""
    from rl_baseline.module import RLModule

    return RLModule(cell, task)


def fingerprint(cell: Cell) -> dict[str, Any]:
    """What identifies the pretrained model, if the arm starts from one."""
    return pretrained.fingerprint(cell.arm.pretrained)


TRANSFORMER = Family(
    config=TransformerArm,
    build=build_transformer,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.minimum_flops,
    fingerprint=fingerprint,
)
RL = Family(
    config=RLArm,
    build=build_rl,
    parameters=cost.parameters,
    step_flops=cost.step_flops,
    minimum_flops=cost.minimum_flops,
    fingerprint=fingerprint,
    rewarded=True,
    staged=True,
)
