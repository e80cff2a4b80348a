"""What an energy-based arm costs, before anything is trained. No torch here."""

import math

from arena import flops
from arena.config import Cell, Size
from arena.tasks.base import Task
from ebt.config import EBTArm

CALIBRATION_PROBLEMS = 16
"""Most problems on which the step size is calibrated."""


def minimum_flops(cell: Cell, task: Task) -> float:
    """One training step at the longest prompt and completion, after the calibration where there is one."""
    arm = cell.arm
    assert isinstance(arm, EBTArm)
    if arm.alpha is not None:
        return step_flops(cell, task)
    prompt, completion = task.longest()
    calibration = calibration_flops(
        arm,
        cell.size,
        task.vocabulary,
        problems=calibration_problems(cell),
        observed=prompt + completion - 1,
        predicted=completion,
    )
    return calibration + step_flops(cell, task)


def calibration_problems(cell: Cell) -> int:
    """Problems on which the step size is calibrated."""
    return min(CALIBRATION_PROBLEMS, cell.task.batch)


def calibration_flops(
    arm: EBTArm, size: Size, vocabulary: int, *, problems: int, observed: int, predicted: int
) -> float:
    """Measuring the gradient once on `problems` rows of `observed` tokens with `predicted` targets."""
    candidates = problems * predicted
    return flops.ebt_think(
        size,
        vocabulary,
        tokens=problems * observed,
        context_pairs=problems * observed**2,
        candidates=candidates,
        pairs=candidates * observed,
        passes=2,
        predicted=candidates if arm.start == "head" else 0,
    )


def step_flops(cell: Cell, task: Task) -> float:
    """One training step at the longest prompt and completion, with the most steps that it may draw."""
    arm = cell.arm
    assert isinstance(arm, EBTArm)
    prompt, completion = task.longest()
    return train_flops(
        arm,
        cell.size,
        task.vocabulary,
        problems=cell.task.batch * (2 if arm.replay else 1),
        observed=prompt + completion - 1,
        predicted=completion,
        steps=arm.full_steps,
    )


def train_flops(
    arm: EBTArm,
    size: Size,
    vocabulary: int,
    *,
    problems: int,
    observed: int,
    predicted: int,
    steps: int,
) -> float:
    """One training step on `problems` rows of `observed` tokens with `predicted` targets."""
    candidates = gated(arm, predicted)
    passes = flops.ebt_correct if arm.refiner == "head" else flops.ebt_train
    return passes(
        size,
        vocabulary,
        tokens=problems * observed,
        context_pairs=problems * observed**2,
        candidates=problems * candidates,
        pairs=problems * candidates * observed,
        steps=steps,
        predicted=problems * predicted if arm.start == "head" else 0,
        **({} if arm.refiner == "head" else {"graph": arm.graph, "contrast": arm.contrastive > 0}),
    )


def gated(arm: EBTArm, candidates: int) -> int:
    """Positions of a problem that descend in training."""
    return candidates if arm.gate == "none" else max(1, math.ceil(arm.gate_share * candidates))


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all and without the vocabulary maps."""
    arm, width = cell.arm, cell.size.width
    assert isinstance(arm, EBTArm)
    conditioning = {
        "none": 0,
        "step": arm.steps,
        "adaln": arm.steps * (6 * cell.size.layers + 2),
        "adaln_zero": arm.steps * (6 * cell.size.layers + 2),
    }[arm.conditioning]
    energy_head = 0 if arm.refiner == "head" else width
    inner = flops.backbone_parameters(cell.size) + conditioning * width + energy_head + 1
    maps = 1 + (arm.vocabulary_map == "learned") + (arm.start == "head") + (arm.refiner == "head")
    return inner + maps * task.vocabulary * width, inner
