"""The arms of conf/arm: what each draws, keeps and lets through, and that each learns."""

import dataclasses
import math

import pytest
import torch

from arena.config import Addition, ConfigError, Text
from arena.data import Problems, collate
from arena.seeding import seed_everything
from arena.tasks import build_task
from ebt.config import EBTArm, thinking_of
from ebt.gate import entropy
from ebt.module import EBTModule
from ebt.objective import backward
from ebt.replay import Replay
from tests.conftest import parameters_of, quiet_trainer
from tests.ebt.conftest import energy_arms


def fit(cell) -> EBTModule:
    seed_everything(cell.seed)
    module = EBTModule(cell, build_task(cell.task))
    data = Problems(module.task, seed=cell.seed, batch=cell.task.batch, problems=16)
    quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
    return module


def loss_of(module: EBTModule, effort: str | None = None) -> float:
    batch = collate([module.task.problem("val", 0, i) for i in range(64)], module.task.pad)
    found = module.evaluate(batch, effort)
    return float(found.nats_B.sum() / found.tokens_B.sum())


@pytest.mark.parametrize("name", energy_arms())
def test_every_arm_learns_and_repeats_itself(name: str, arm_of, tiny_cell) -> None:
    cell = tiny_cell(arm_of(name), Addition(name="addition", batch=16), flops=2e9)
    first, second = fit(cell), fit(cell)
    assert torch.equal(parameters_of(first), parameters_of(second))
    assert torch.equal(first.cut, second.cut)
    uniform = math.log(first.task.vocabulary)
    for effort in first.likelihood_efforts():
        assert loss_of(first, effort) < 0.95 * uniform


@pytest.mark.parametrize("options", [{"conditioning": "adaln"}, {"conditioning": "adaln_zero"}], ids=str)
def test_modulated_arms_learn(options: dict, arm_of, tiny_cell) -> None:
    module = fit(tiny_cell(arm_of("ebt_s1", **options), Addition(name="addition", batch=16), flops=2e9))
    assert 0 < float(module.alpha.detach()) < 1e5
    assert module.model.head.weight.abs().max() > 0
    assert loss_of(module) < 0.95 * math.log(module.task.vocabulary)


def test_s2_draws_its_step_counts_and_step_sizes_within_bounds(arm_of, tiny_cell) -> None:
    cell = tiny_cell(arm_of("ebt_s2"), Addition(name="addition", batch=8))
    module = EBTModule(cell, build_task(cell.task))
    counts, factors = set(), []
    for step in range(40):
        module.steps = step
        steps, factor = module.drawn((8, 5, 1))
        counts.add(steps)
        assert factor is not None
        assert factor.shape == (8, 5, 1)
        factors.append(factor)
    drawn = torch.stack(factors)
    assert counts == {2, 3}
    assert 0.5 <= drawn.min() < 0.55
    assert 1.9 < drawn.max() <= 2.0
    assert float(drawn.mean()) == pytest.approx(1.25, abs=0.03)
    assert module.efforts() == ("think_3",)


def test_the_replay_buffer_is_first_in_first_out_and_keeps_own_tokens_only() -> None:
    task = build_task(Addition(name="addition", min_digits=1, max_digits=3))
    problems = [task.problem("train", 0, i) for i in range(7)]
    longest = max(len(p.completion) for p in problems)
    replay = Replay(5)
    replay.add(problems, torch.arange(7.0)[:, None, None].expand(7, longest, 4))
    drawn = replay.draw(100, torch.Generator().manual_seed(0))
    assert sorted(int(kept[0, 0]) for _, kept in drawn) == [2, 3, 4, 5, 6]
    for problem, kept in drawn:
        assert problem == problems[int(kept[0, 0])]
        assert kept.shape == (len(problem.completion), 4)
    assert len(replay.draw(3, torch.Generator().manual_seed(0))) == 3


def test_replayed_problems_start_where_they_stopped(arm_of, tiny_cell, monkeypatch) -> None:
    cell = tiny_cell(arm_of("ebt_s2"), Addition(name="addition", min_digits=1, max_digits=3, batch=4))
    module = EBTModule(cell, build_task(cell.task))
    module.alpha.data.fill_(2.0)
    problems = [module.task.problem("train", 0, i) for i in range(8)]
    batches = [collate(problems[i : i + 4], module.task.pad) for i in (0, 4)]
    starts = []

    def watched(arm, model, context, y_BMV, *rest, **options):
        starts.append(y_BMV.clone())
        return backward(arm, model, context, y_BMV, *rest, **options)

    monkeypatch.setattr("ebt.module.backward", watched)
    module.backpropagate(batches[0])
    kept = [y for _, y in module.replay.draw(4, torch.Generator())]
    module.steps = 1
    module.backpropagate(batches[1])
    assert len(starts[0]) == 4
    assert len(starts[1]) == 8
    for row in starts[1][4:]:
        assert any(torch.equal(row[: len(y)], y) for y in kept)


def gated(arm_of, tiny_cell, name: str, share: float = 0.25) -> tuple[EBTModule, object]:
    task = Text(name="text", context=16, batch=4)
    torch.manual_seed(1)
    module = EBTModule(tiny_cell(arm_of(name, gate_share=share), task), build_task(task))
    module.alpha.data.fill_(3.0)
    return module, collate([module.task.problem("val", 0, i) for i in range(4)], module.task.pad)


def test_the_gate_lets_the_least_certain_through_and_remembers_its_cut(arm_of, tiny_cell) -> None:
    module, batch = gated(arm_of, tiny_cell, "ebt_gated")
    context = module.observe(batch)
    ranks = entropy(context.start_BMV.detach())
    index = module.let_through(context.start_BMV.detach(), batch)
    assert index.shape == (4, 4)
    for row, chosen in zip(ranks, index, strict=True):
        assert set(chosen.tolist()) == set(row.argsort(descending=True)[:4].tolist())
    first = ranks.sort(1).values[:, -4].mean()
    torch.testing.assert_close(module.cut, first)
    module.let_through(context.start_BMV.detach() * 3, batch)
    second = entropy(context.start_BMV.detach() * 3).sort(1).values[:, -4].mean()
    torch.testing.assert_close(module.cut, 0.98 * first + 0.02 * second)


def test_only_what_passes_the_gate_is_refined_and_as_without_one(arm_of, tiny_cell) -> None:
    module, batch = gated(arm_of, tiny_cell, "ebt_gated")
    with torch.no_grad():
        context = module.observe(batch)
        start = context.start_BMV
        module.cut.fill_(float(entropy(start).flatten().sort().values[-10]))
        thought = module.infer(context, batch, thinking_of("think_1"), energy=True)
        through = entropy(start) > module.cut
        assert int(through.sum()) == 9
        assert torch.equal(thought.logits_BMV[~through], start[~through])
        assert torch.equal(thought.steps_BM > 0, through)
        assert torch.equal(thought.energy_BM.isnan(), ~through)
        module.arm = dataclasses.replace(module.arm, gate="none")
        everywhere = module.infer(context, batch, thinking_of("think_1"))
    torch.testing.assert_close(thought.logits_BMV[through], everywhere.logits_BMV[through])
    assert not torch.allclose(thought.logits_BMV[through], start[through])


def test_a_closed_gate_costs_the_start_alone(arm_of, tiny_cell) -> None:
    module, batch = gated(arm_of, tiny_cell, "ebt_gated")
    module.cut.fill_(float("inf"))
    closed, start = module.evaluate(batch, "think_1"), module.evaluate(batch, "start")
    assert torch.equal(closed.nats_B, start.nats_B)
    assert closed.flops == start.flops
    module.cut.fill_(0.0)
    assert module.evaluate(batch, "think_1").flops > 1.5 * start.flops


def test_the_random_gate_lets_its_share_through(arm_of, tiny_cell) -> None:
    module, batch = gated(arm_of, tiny_cell, "ebt_gated_random", share=0.25)
    with torch.no_grad():
        steps = [
            module.infer(module.observe(batch), batch, thinking_of("think_1")).steps_BM.float().mean()
            for _ in range(2)
        ]
    assert steps[0] == steps[1]
    assert 0.1 < float(steps[0]) < 0.4


def test_a_row_of_padding_is_defined(arm_of, tiny_cell) -> None:
    for name in ("ebt_s1", "ebt_gated", "ebt_s2"):
        cell = tiny_cell(arm_of(name), Addition(name="addition", batch=4))
        module = EBTModule(cell, build_task(cell.task))
        module.alpha.data.fill_(2.0)
        problems = [module.task.problem("train", 0, i) for i in range(3)]
        completions = [p.completion for p in problems[:2]] + [()]
        batch = collate(problems, module.task.pad, completions)
        figures, _ = module.backpropagate(batch)
        assert all(bool(v.isfinite().all()) for v in figures.values())
        assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)
        padded = [p.grad.clone() for p in module.model.parameters() if p.grad is not None]
        assert any(bool(g.abs().max() > 0) for g in padded)
        assert float(module.evaluate(batch).nats_B[2]) == 0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"extra_steps": -1}, "arm.extra_steps=-1"),
        ({"loss": "last"}, "use arm.graph=last"),
        ({"graph": "last"}, "set arm.loss=last"),
        ({"alpha_spread": 0.5}, "arm.alpha_spread=0.5"),
        ({"max_update": 0.0}, "arm.max_update=0.0"),
        ({"soft_targets": 1.0}, "arm.soft_targets=1.0"),
        ({"gate": "entropy"}, "set arm.start=head"),
        ({"start": "head", "gate": "entropy", "gate_share": 0.0}, "arm.gate_share=0.0"),
        ({"start": "head", "replay": 4}, "set arm.replay=0"),
        ({"refiner": "head"}, "set arm.start=head"),
        ({"refiner": "head", "start": "head"}, "arm.alpha=1"),
        ({"conditioning": "film"}, "choose one of none, step, adaln, adaln_zero"),
        ({"vocabulary_map": "x"}, "choose one of learned, tied"),
        ({"parametrisation": "x"}, "choose one of probs, logits, mirror"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_impossible_arms_are_named(bad: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        EBTArm(name="a", **bad).validate()
