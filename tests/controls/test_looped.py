"""The looped transformer: the plain one at one loop, the same blocks again at more."""

import dataclasses

import pytest
import torch

from arena.config import Addition, Budget, Cell, ConfigError, TrainerConfig
from arena.data import Problems, collate, held_out
from arena.policy import TransformerPolicy
from arena.rollout import predicted_logits, sample, score, sequence_seeds
from arena.seeding import seed_everything
from arena.tasks import build_task
from controls.looped import cost as looped_cost
from controls.looped.config import LoopedArm
from controls.looped.module import LoopedModule, LoopedPolicy
from tests.conftest import TINY, parameters_of, quiet_trainer
from tests.counting import counted

ARM = LoopedArm(name="looped", loops=3, ladder=["loop_1", "loop_3", "loop_8"])
TASK = Addition(name="addition", min_digits=1, max_digits=2, batch=16)


def make(flops: float = 1e9, **changes) -> LoopedModule:
    cell = Cell(
        arm=dataclasses.replace(ARM, **changes),
        task=TASK,
        size=TINY,
        budget=Budget(flops=flops),
        trainer=TrainerConfig(accelerator="cpu", problems=16),
        seed=0,
    )
    cell.validate()
    seed_everything(0)
    return LoopedModule(cell, build_task(TASK))


def problems(module: LoopedModule, count: int = 8):
    """Distinct ones of both severities, whose prompts differ in length."""
    halves = [held_out(module.task, "val", count // 2, severity) for severity in (0, 1)]
    return [problem for half in halves for problem in half]


def test_one_loop_is_the_plain_transformer_to_the_last_bit():
    plain = TransformerPolicy(TINY, 16)
    looped = LoopedPolicy(TINY, 16)
    looped.load_state_dict(plain.state_dict())
    assert [n for n, _ in plain.named_parameters()] == [n for n, _ in looped.named_parameters()]
    assert looped.non_embedding_parameters() == plain.non_embedding_parameters()
    tokens = torch.randint(16, (3, 9))
    assert torch.equal(plain(tokens)[0], looped(tokens)[0])
    task = build_task(TASK)
    prompts = [task.problem("train", 0, i).prompt for i in range(4)]
    seeds = sequence_seeds(prompts, 2, "test")
    one, two = (sample(m, task, prompts, length=5, group=2, seeds=seeds) for m in (plain, looped))
    assert one.completions == two.completions
    assert torch.equal(one.logp_BT, two.logp_BT)
    assert one.flops == two.flops


def test_more_loops_are_the_recurrence_written_out():
    looped = LoopedPolicy(TINY, 16).double()
    looped.repeat(3)
    tokens = torch.randint(16, (2, 7))
    embedded = looped.embedding(tokens)
    positions = torch.arange(7)
    h = torch.zeros_like(embedded)
    for _ in range(3):
        h, _ = looped.backbone.observe(h + embedded, positions)
    torch.testing.assert_close(looped(tokens)[0], looped.backbone.norm(h), rtol=0, atol=1e-12)
    # The injection matters: without it the blocks would run on their own output.
    bare = embedded
    for _ in range(3):
        bare, _ = looped.backbone.observe(bare, positions)
    assert not torch.allclose(looped(tokens)[0], looped.backbone.norm(bare), atol=1e-3)


@pytest.mark.parametrize("loops", [2, 5])
@pytest.mark.parametrize("digits", [2, 8], ids=["copied", "shared"])
def test_cached_decoding_is_the_full_recomputation(loops: int, digits: int):
    task = build_task(Addition(name="addition", min_digits=digits - 1, max_digits=digits))
    torch.manual_seed(0)
    model = LoopedPolicy(TINY, task.vocabulary)
    model.repeat(loops)
    chosen = [task.problem("train", 0, i) for i in range(6)]
    prompts = [p.prompt for p in chosen]
    assert len({len(p) for p in prompts}) == 2
    rollout = sample(model, task, prompts, length=6, group=4, seeds=sequence_seeds(prompts, 4, "test"))
    batch = collate([p for p in chosen for _ in range(4)], task.pad, rollout.completions)
    logp_BM, entropy_BM = score(model, batch)
    torch.testing.assert_close(rollout.logp_BT, logp_BM.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(rollout.entropy_BT, entropy_BM.detach(), rtol=0, atol=1e-5)


def test_a_cache_of_every_loop_continues_a_sequence():
    model = LoopedPolicy(TINY, 16).double()
    model.repeat(3)
    tokens = torch.randint(16, (2, 7))
    whole, context = model(tokens)
    assert len(context) == 3 * TINY.layers
    _, before = model(tokens[:, :6])
    last, _ = model(tokens[:, 6:], positions=torch.tensor([6]), cache=before)
    torch.testing.assert_close(last[:, 0], whole[:, 6], rtol=0, atol=1e-12)


def test_no_position_sees_a_later_token():
    model = LoopedPolicy(TINY, 16).double()
    model.repeat(4)
    tokens = torch.randint(16, (2, 8))
    other = tokens.clone()
    other[:, 5:] = (other[:, 5:] + 3) % 16
    one, two = model(tokens)[0], model(other)[0]
    torch.testing.assert_close(one[:, :5], two[:, :5], rtol=0, atol=0)
    assert not torch.allclose(one[:, 5:], two[:, 5:])


def test_the_gradient_passes_every_loop():
    """Of a weight used in all loops, against finite differences of the whole recurrence."""
    torch.manual_seed(0)
    model = LoopedPolicy(TINY, 16).double()
    model.repeat(3)
    tokens = torch.randint(16, (2, 6))
    weight = model.backbone.blocks[0].mlp.out.weight
    direction = torch.randn(2, 6, TINY.width, dtype=torch.float64)

    def readout(hidden: torch.Tensor) -> torch.Tensor:
        return (hidden * direction).sum()

    readout(model(tokens)[0]).backward()
    with torch.no_grad():
        step = torch.randn_like(weight) * 1e-6
        values = []
        for sign in (1, -1):
            weight += sign * step
            values.append(readout(model(tokens)[0]).item())
            weight -= sign * step
    assert weight.grad is not None
    assert (values[0] - values[1]) / 2 == pytest.approx(float((weight.grad * step).sum()), rel=1e-4)


def test_a_training_step_and_answers_cost_what_is_counted():
    module = make()
    batch = collate([module.task.problem("train", 0, i) for i in range(16)], module.task.pad)
    for loops in (1, 2, 5):
        module.model.repeat(loops)
        actual = counted(lambda: predicted_logits(module.model, batch).sum().backward())
        assert 3 * module.forward_flops(batch) == pytest.approx(actual, rel=0.02)
    some = problems(module)
    costs = []
    for effort in module.efforts():
        found = []
        actual = counted(lambda effort=effort, found=found: found.append(module.solve(some, effort)))
        assert found[0].flops == pytest.approx(actual, rel=0.02)
        likelihood = counted(lambda effort=effort: module.evaluate(batch, effort))
        assert module.evaluate(batch, effort).flops == pytest.approx(likelihood, rel=0.02)
        costs.append(module.evaluate(batch, effort).flops)
    assert module.efforts() == ("loop_1", "loop_8", "loop_3")
    assert costs[0] < costs[2] < costs[1]


def test_a_whole_run_costs_what_its_drawn_depths_cost():
    module = make(3e9)
    data = Problems(module.task, seed=0, batch=16, problems=8)
    actual = counted(lambda: quiet_trainer().fit(module, train_dataloaders=data.train_dataloader()))
    assert module.flops_spent == pytest.approx(actual, rel=0.02)
    assert module.flops_spent <= module.cell.budget.flops
    dearest = looped_cost.step_flops(module.cell, module.task)
    assert dearest * module.steps * 0.4 < module.flops_spent < dearest * module.steps


def test_depths_are_drawn_from_one_to_twice_the_mean_less_one():
    module = make()
    drawn = []
    for module.steps in range(400):
        drawn.append(module.drawn())
    assert set(drawn) == {1, 2, 3, 4, 5}
    assert sum(drawn) / 400 == pytest.approx(3, abs=0.25)
    module.steps = 7
    assert module.drawn() == drawn[7]
    assert make(loops=1).drawn() == 1


def test_the_next_steps_cost_is_known_before_it_is_taken():
    module = make()
    batch = collate([module.task.problem("train", 0, i) for i in range(16)], module.task.pad)
    costs = set()
    for module.steps in range(12):
        module.solve(problems(module), "loop_8")  # what was evaluated in between does not matter
        costs.add(module.step_flops(batch))
        assert module.model.loops == 8
    assert len(costs) > 2


def test_the_plan_knows_parameters_and_the_dearest_step():
    module = make()
    total, inner = looped_cost.parameters(module.cell, module.task)
    assert total == sum(p.numel() for p in module.parameters())
    assert inner == module.non_embedding_parameters()
    least = looped_cost.step_flops(module.cell, module.task)
    own = make(1.001 * least)
    data = Problems(own.task, seed=0, batch=16, problems=8)
    quiet_trainer().fit(own, train_dataloaders=data.train_dataloader())
    assert own.steps >= 1


def test_training_changes_what_loops_answer():
    module = make(2e9)
    before = parameters_of(module)
    data = Problems(module.task, seed=0, batch=16, problems=8)
    quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
    assert not torch.equal(before, parameters_of(module))
    losses = [row["loss"] for row in module.history.rows]
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loops": 0}, "arm.loops=0: must be at least 1"),
        ({"ladder": ["loop_0"]}, "arm.ladder=['loop_0']: loop_0 is no effort; write loop_8"),
        ({"ladder": ["majority@8"]}, "majority@8 is no effort"),
        ({"ladder": ["loop_2", "loop_2"]}, "an effort stands there twice"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used_are_named(changes, message):
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(ARM, **changes).validate()
    assert message in str(error.value)


def test_an_effort_that_is_none_is_an_error():
    module = make()
    with pytest.raises(ValueError, match="effort=greedy: write loop_R"):
        module.solve(problems(module), "greedy")
