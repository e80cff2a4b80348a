"""What the masked-diffusion transformer costs, before anything is trained. No torch here."""

from arena import flops
from arena.config import Cell, Size
from arena.shape import fixed_shape
from arena.tasks.base import Task


def forward(size: Size, task: Task, *, problems: int, passes: int = 1) -> float:
    """The prompts once, and `passes` over their answers with logits at every cell."""
    assert task.fixed is not None
    prompt, answer = task.fixed
    cells = flops.fixed_answer(size, problems, prompt, answer)
    logits = flops.linear(problems * answer, size.width, task.vocabulary)
    return flops.fixed_context(size, problems, prompt) + passes * (cells + logits)


def step_flops(cell: Cell, task: Task) -> float:
    """One training step.

    Raises:
        ConfigError: the task's lengths vary.
    """
    fixed_shape(cell, task)
    return 3 * forward(cell.size, task, problems=cell.task.batch)


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all and without the vocabulary maps: the backbone and the places' embeddings."""
    inner = flops.backbone_parameters(cell.size) + fixed_shape(cell, task)[1] * cell.size.width
    # Tokens in, the mask among them, and logits out.
    return inner + (2 * task.vocabulary + 1) * cell.size.width, inner
