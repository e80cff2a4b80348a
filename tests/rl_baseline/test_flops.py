"""Booked FLOPs against counted ones."""

from dataclasses import replace

import pytest

from arena import flops
from arena.config import Addition
from arena.data import collate
from arena.rollout import predicted_logits
from arena.shape import supervised_step
from arena.tasks import build_task
from rl_baseline import cost
from rl_baseline.config import RLArm, TransformerArm
from tests.counting import counted

ARM = RLArm(name="rl", warm_start=0.25)


def test_a_training_step_costs_what_is_counted(make):
    module = make(TransformerArm(name="transformer"), 1e9)
    batch = collate([module.task.problem("train", 0, i) for i in range(16)], module.task.pad)
    actual = counted(lambda: predicted_logits(module.model, batch).sum().backward())
    assert module.step_flops(batch) == pytest.approx(actual, rel=0.02)
    assert module.evaluate(batch).flops == pytest.approx(actual / 3, rel=0.02)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"micro_batch": 3},
        {"micro_batch": 3, "loss": "kl_cov"},
        {"micro_batch": 5, "credit": "top_entropy", "entropy": "bonus"},
        {"loss": "nll"},
    ],
    ids=str,
)
def test_a_whole_run_costs_what_is_booked(make, trainer, changes):
    """Warm start, rollouts, updates, micro-batches and the survey they need, all through the real module."""
    arm = RLArm(name="rl", warm_start=0.2, prompts=8, group=4, updates=2, reward="coin", probe=0, **changes)
    module = make(arm, 6e8, batch=16)
    runner, data = trainer(module)
    actual = counted(lambda: runner.fit(module, data))
    assert module.flops_spent == pytest.approx(actual, rel=0.02)
    assert module.flops_spent <= module.cell.budget.flops
    assert ("survey" in module.flops_by) == arm.surveys
    assert arm.surveys == (len(changes) > 1)


def test_the_planned_iteration_pays_for_the_survey(make):
    module = make(ARM, 1e9)
    shape, task = module.model.shape, module.task
    plain, split, surveyed = (
        cost.rl_iteration(shape, task, replace(ARM, **changes))
        for changes in ({}, {"micro_batch": 8}, {"micro_batch": 8, "loss": "kl_cov"})
    )
    assert plain == split
    assert surveyed - plain == pytest.approx(supervised_step(shape, task, 256) / 3)
    assert cost.rl_iteration(shape, task, replace(ARM, micro_batch=64, loss="kl_cov")) == plain


def test_the_planned_supervised_step_is_the_real_one(make):
    module = make(TransformerArm(name="transformer"), 1e9, batch=64)
    batch = collate([module.task.problem("train", 0, i) for i in range(64)], module.task.pad)
    assert module.step_flops(batch) == supervised_step(module.model.shape, module.task, 64)


def test_minimum_of_the_transformer_is_one_step(make):
    module = make(TransformerArm(name="transformer"), 1e9)
    assert cost.minimum_flops(module.cell, module.task) == supervised_step(
        module.model.shape, module.task, 64
    )


def test_minimum_of_rl_leaves_room_for_both_stages(make):
    module = make(ARM, 1e9)
    shape, task = module.model.shape, module.task
    minimum = cost.minimum_flops(module.cell, task)
    spare = (
        minimum * 0.25 - supervised_step(shape, task, 64),
        minimum * 0.75 - cost.rl_iteration(shape, task, ARM),
    )
    assert min(spare) == pytest.approx(0, abs=1e-3 * minimum)
    assert max(spare) > 0


def test_more_prompts_than_problems_are_an_error(make):
    module = make(RLArm(name="rl", prompts=16), 1e9, batch=8)
    with pytest.raises(ValueError, match=r"arm\.prompts=16: more than task\.batch=8 offers"):
        cost.minimum_flops(module.cell, module.task)


def test_backbone_parameters_are_the_modules(make):
    module = make(TransformerArm(name="transformer"), 1e9)
    assert module.non_embedding_parameters() == flops.backbone_parameters(module.cell.size)


@pytest.mark.parametrize("config", [Addition(name="a"), Addition(name="a", chain=True)])
def test_longest_bounds_every_training_problem(config):
    task = build_task(config)
    prompt, completion = task.longest()
    chosen = [task.problem("train", 0, i) for i in range(50)]
    assert max(len(p.prompt) for p in chosen) == prompt
    assert max(len(p.completion) for p in chosen) == completion
