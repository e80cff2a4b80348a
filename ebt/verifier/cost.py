"""What the verifier costs, before anything is trained. No torch here."""

from arena import flops
from arena.config import Cell, Size
from arena.shape import arena_shape, supervised_step
from arena.tasks.base import Task
from ebt.verifier.config import VerifierArm


def score(size: Size, *, sequences: int, length: int) -> float:
    """Energies of `sequences` rows of `length` tokens, padding included; three times that trains."""
    inner = flops.backbone(size, sequences * length, sequences * length**2)
    return inner + flops.linear(sequences, size.width, 1)


def contrast_step(
    arm: VerifierArm, size: Size, vocabulary: int, *, problems: int, prompt: int, completion: int
) -> float:
    """Samples of full length, and the energy's forward and backward on them and on the data."""
    samples = problems * arm.negatives
    sampling = arena_shape(size, vocabulary).sample(
        sequences=samples, prompt=prompt, steps=completion, group=arm.negatives
    )
    return sampling + 3 * score(size, sequences=problems + samples, length=prompt + completion)


def step_flops(cell: Cell, task: Task) -> float:
    """One step of the start on next tokens at the longest prompt and completion."""
    return supervised_step(arena_shape(cell.size, task.vocabulary), task, cell.task.batch)


def minimum_flops(cell: Cell, task: Task) -> float:
    """Smallest budget with one step in each stage's share."""
    arm = cell.arm
    assert isinstance(arm, VerifierArm)
    prompt, completion = task.longest()
    contrast = contrast_step(
        arm, cell.size, task.vocabulary, problems=cell.task.batch, prompt=prompt, completion=completion
    )
    return max(step_flops(cell, task) / arm.warm_start, contrast / (1 - arm.warm_start))


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all and without vocabulary maps, of the start and the energy network together."""
    start = arena_shape(cell.size, task.vocabulary)
    energy = start.non_embedding + cell.size.width
    embedding = task.vocabulary * cell.size.width
    return start.parameters + energy + embedding, start.non_embedding + energy
