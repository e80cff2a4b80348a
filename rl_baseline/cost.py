"""What the transformer arms' training steps cost, before anything is trained. No torch here.

Steps are costed at the longest prompt and completion of the training problems: upper bounds, exact
whenever a batch holds one such problem.
"""

from arena.config import Cell, ConfigError, require
from arena.shape import Shape, arena_shape, supervised_step
from arena.tasks.base import Task
from arena.token_classes import PLAN
from rl_baseline.config import RLArm, TransformerArm
from rl_baseline.pretrained import describe
from rl_baseline.symbols import task_tokens


def policy_shape(cell: Cell, task: Task) -> Shape:
    """Cost and parameters of the cell's policy.

    Raises:
        ConfigError: its pretrained model cannot be had, counted or spoken to in the task's symbols, or
            has too few positions for the problems measured.
    """
    arm = cell.arm
    if arm.pretrained is None:
        require(
            arm.revision is None,
            f"arm.revision={arm.revision}: of no model; give arm.pretrained, or leave it out",
        )
        return arena_shape(cell.size, task.vocabulary)
    task_tokens(arm.pretrained, arm.revision, task)
    description = describe(arm.pretrained, arm.revision)
    places = task.shifts(cell.trainer.severities)
    needed, axis, severity = max((sum(task.longest(s, a)), a, s) for a, s in places)
    held = description.positions
    require(
        held is None or needed <= held,
        f"arm.pretrained={arm.pretrained}: has positions for {held} tokens; prompt and completion of "
        f"{cell.task.name} at {axis} {severity} take up to {needed}; choose a model of longer context, "
        "shorter problems, or fewer trainer.severities",
    )
    return description.shape(task.vocabulary)


def parameters(cell: Cell, task: Task) -> tuple[int, int]:
    """Parameters in all, and without vocabulary maps."""
    shape = policy_shape(cell, task)
    return shape.parameters, shape.non_embedding


def rollout(shape: Shape, task: Task, arm: RLArm) -> float:
    """Sampling arm.group completions for arm.prompts problems, all of full length."""
    prompt, completion = task.longest()
    return shape.sample(sequences=arm.prompts * arm.group, prompt=prompt, steps=completion, group=arm.group)


def rl_iteration(shape: Shape, task: Task, arm: RLArm) -> float:
    """One rollout and its updates, which together pass over every sample once.

    Where micro-batches need a survey of the whole optimiser step first, that is one more forward pass.
    """
    samples = arm.prompts * arm.group
    passes = supervised_step(shape, task, samples)
    if arm.surveys:
        passes += supervised_step(shape, task, samples) / 3
    return rollout(shape, task, arm) + passes


def plans(task: Task) -> bool:
    """Whether the task's chains hold planning tokens, judged by its first training problems."""
    return any(PLAN in task.problem("train", 0, index).classes for index in range(8))


def step_flops(cell: Cell, task: Task) -> float:
    """One step on next tokens at the longest prompt and completion."""
    return supervised_step(policy_shape(cell, task), task, cell.task.batch)


def minimum_flops(cell: Cell, task: Task) -> float:
    """Smallest budget with which the cell's arm can train at all.

    For the transformer: one step. For the arms trained by reward: one step within the warm start's
    share, and one rollout with its updates within the rest.

    Raises:
        ConfigError: a rollout wants more problems than a batch holds, the credit rule wants planning
            tokens and the task has none, the pretrained model cannot be used, or the arm is not of
            this package.
    """
    arm = cell.arm
    if not isinstance(arm, TransformerArm | RLArm):
        raise ConfigError(f"arm.kind={arm.kind}: not an arm of rl_baseline; use transformer or rl")
    shape = policy_shape(cell, task)
    if isinstance(arm, TransformerArm):
        return step_flops(cell, task)
    require(
        arm.prompts <= cell.task.batch,
        f"arm.prompts={arm.prompts}: more than task.batch={cell.task.batch} offers; lower arm.prompts or "
        "raise task.batch",
    )
    require(
        cell.trainer.devices <= arm.prompts,
        f"trainer.devices={cell.trainer.devices}: each needs a problem of a rollout, which has "
        f"arm.prompts={arm.prompts}; raise arm.prompts, or use fewer devices",
    )
    require(
        arm.credit not in ("hicra", "hicra_placebo") or plans(task),
        f"arm.credit={arm.credit} with task={cell.task.name}: its chains hold no planning token; choose a "
        "task whose chains plan, or another arm",
    )
    warm = step_flops(cell, task) / arm.warm_start
    return max(warm, rl_iteration(shape, task, arm) / (1 - arm.warm_start))
