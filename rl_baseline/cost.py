"""What the transformer arms' training steps cost, before anything is trained. No torch here.

Steps are costed at the longest prompt and completion of the training problems: upper bounds, exact
whenever a batch holds one such problem.
"""

from arena import flops
from arena.config import Cell, ConfigError, Size, require
from arena.tasks.base import Task
from rl_baseline.config import RLArm, TransformerArm


def teacher_forced(size: Size, vocabulary: int, *, sequences: int, observed: int, predicted: int) -> float:
    """Forward pass over `observed` tokens a sequence (padded), logits at `predicted` of them."""
    return flops.lm_forward(
        size,
        vocabulary,
        tokens=sequences * observed,
        pairs=sequences * observed**2,
        predicted=sequences * predicted,
    )


def supervised_step(size: Size, task: Task, batch: int) -> float:
    """One next-token step on `batch` problems."""
    prompt, completion = task.longest()
    forward = teacher_forced(
        size, task.vocabulary, sequences=batch, observed=prompt + completion - 1, predicted=completion
    )
    return 3 * forward


def rollout(size: Size, task: Task, arm: RLArm) -> float:
    """Sampling arm.group completions for arm.prompts problems, all of full length."""
    prompt, completion = task.longest()
    return flops.lm_sample(
        size,
        task.vocabulary,
        sequences=arm.prompts * arm.group,
        prompt=prompt,
        steps=completion,
        group=arm.group,
    )


def rl_iteration(size: Size, task: Task, arm: RLArm) -> float:
    """One rollout and its updates, which together pass over every sample once."""
    return rollout(size, task, arm) + supervised_step(size, task, arm.prompts * arm.group)


def minimum_flops(cell: Cell, task: Task) -> float:
    """Smallest budget with which the cell's arm can train at all.

    For the transformer: one step. For the arms trained by reward: one step within the warm start's
    share, and one rollout with its updates within the rest.

    Raises:
        ConfigError: a rollout wants more problems than a batch holds, or the arm is not of this package.
    """
    arm = cell.arm
    if isinstance(arm, TransformerArm):
        return supervised_step(cell.size, task, cell.task.batch)
    if not isinstance(arm, RLArm):
        raise ConfigError(f"arm.kind={arm.kind}: not an arm of rl_baseline; use transformer or rl")
    require(
        arm.prompts <= cell.task.batch,
        f"arm.prompts={arm.prompts}: more than task.batch={cell.task.batch} offers; lower arm.prompts or "
        "raise task.batch",
    )
    warm = supervised_step(cell.size, task, cell.task.batch) / arm.warm_start
    return max(warm, rl_iteration(cell.size, task, arm) / (1 - arm.warm_start))
