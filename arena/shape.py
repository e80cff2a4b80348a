"""What a policy's passes cost, and how many parameters it has. No torch here.

Counted as in `arena.flops`: matrix products only, two FLOPs per multiply-add, every computed
query-key pair. A forward pass is linear in its tokens, pairs and predictions, so three numbers
describe the arena's backbone and any other dense decoder alike.
"""

from dataclasses import dataclass

from arena import flops
from arena.config import Cell, ConfigError, Size
from arena.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Shape:
    """FLOPs of a forward pass, and parameters."""

    token: float
    """FLOPs of one token in the blocks' matrix products: two for each of their weights."""
    pair: float
    """FLOPs of one query-key pair in all blocks: the score and the weighted value."""
    prediction: float
    """FLOPs of the logits at one position."""
    everywhere: bool = False
    """Whether the logits are computed at every observed token, asked for or not."""
    parameters: int
    """All parameters."""
    non_embedding: int
    """Parameters other than the maps between vocabulary and width."""

    def forward(self, *, tokens: float, pairs: float, predicted: float) -> float:
        """Forward pass over `tokens` tokens with `pairs` query-key pairs and logits where asked for."""
        positions = tokens if self.everywhere else predicted
        return tokens * self.token + pairs * self.pair + positions * self.prediction

    def sample(self, *, sequences: int, prompt: int, steps: int, group: int = 1) -> float:
        """Cached sampling: the prompt once, then one token a step for every sequence of the batch.

        `steps` sampled tokens cost steps - 1 single-token passes after the prompt's. Sequences that
        have ended are still computed until the last one ends, and are paid for. Each prompt is shared
        by `group` of the sequences and read once for all of them.
        """
        rows = sequences // group
        total = self.forward(tokens=rows * prompt, pairs=rows * prompt**2, predicted=rows)
        for step in range(1, steps):
            total += self.forward(tokens=sequences, pairs=sequences * (prompt + step), predicted=sequences)
        return total


def arena_shape(size: Size, vocabulary: int) -> Shape:
    """Transformer++ on the arena's backbone."""
    inner = flops.backbone_parameters(size)
    return Shape(
        token=flops.backbone(size, 1, 0),
        pair=flops.backbone(size, 0, 1),
        prediction=flops.linear(1, size.width, vocabulary),
        parameters=inner + 2 * vocabulary * size.width,
        non_embedding=inner,
    )


def teacher_forced(shape: Shape, *, sequences: int, observed: int, predicted: int) -> float:
    """Forward pass over `observed` tokens per sequence (padded), logits at `predicted` of them."""
    return shape.forward(
        tokens=sequences * observed, pairs=sequences * observed**2, predicted=sequences * predicted
    )


def supervised_step(shape: Shape, task: Task, batch: int) -> float:
    """One next-token step on `batch` training problems of the longest prompt and completion."""
    prompt, completion = task.longest()
    forward = teacher_forced(shape, sequences=batch, observed=prompt + completion - 1, predicted=completion)
    return 3 * forward


def fixed_shape(cell: Cell, task: Task) -> tuple[int, int]:
    """Tokens of every prompt and of every completion, for an arm that answers at fixed places.

    Raises:
        ConfigError: the task's lengths vary.
    """
    if task.fixed is None:
        raise ConfigError(
            f"arm={cell.arm.name} with task={cell.task.name}: it answers at a fixed number of places, and "
            "lengths vary here; use task=sudoku or sudoku9, or an arm that answers token by token, "
            "such as arm=ebt_amortized or transformer"
        )
    return task.fixed
