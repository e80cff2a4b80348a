"""The arm that refines whole answers: costs, learning, answers, trajectories, refusals."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from arena.config import Addition, Budget, ConfigError, Size, TrainerConfig
from arena.data import Problems, collate, held_out
from arena.seeding import seed_everything
from arena.shape import arena_shape
from arena.tasks import build_task
from arena.tasks.sudoku import Sudoku
from compare.plan.families import check
from ebt.parallel import cost as parallel_cost
from ebt.parallel.config import ParallelArm
from ebt.parallel.module import ParallelModule
from tests.conftest import parameters_of, quiet_trainer
from tests.ebt.test_flops import counted

SUDOKU = Sudoku(name="sudoku", batch=4)
SIZES = (
    Size(name="a", layers=1, heads=2, width=32, lr=3e-3),
    Size(name="b", layers=3, heads=2, width=32, lr=3e-3),
)
OPTIONS = {
    "two_steps": ParallelArm(name="a", start="zero", conditioning="none"),
    "unrolled": ParallelArm(name="a", steps=3, graph="all"),
    "last": ParallelArm(name="a", steps=2, extra_steps=1, graph="last", loss="last", contrastive=0.1),
    "amortized": ParallelArm(name="a", start="head", parametrisation="mirror", vocabulary_map="tied"),
}


@pytest.fixture
def make(tiny_cell) -> Callable[..., ParallelModule]:
    def build(arm: ParallelArm | None = None, *, task=SUDOKU, size=SIZES[0], **changes) -> ParallelModule:
        cell = tiny_cell(arm or OPTIONS["two_steps"], task, size=size, **changes)
        cell.validate()
        seed_everything(cell.seed)
        module = ParallelModule(cell, build_task(task))
        module.alpha.data.fill_(2.0)
        return module

    return build


@pytest.fixture(params=OPTIONS)
def arm(request) -> ParallelArm:
    OPTIONS[request.param].validate()
    return OPTIONS[request.param]


def fit(module: ParallelModule) -> ParallelModule:
    data = Problems(module.task, seed=module.cell.seed, batch=module.cell.task.batch, problems=8)
    quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
    return module


def problems(module: ParallelModule, count: int = 6):
    halves = [held_out(module.task, "val", count // 2, severity) for severity in (0, 1)]
    return [problem for half in halves for problem in half]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: s.name)
def test_training_and_answering_cost_what_is_said(make, arm, size) -> None:
    module = make(arm, size=size)
    some = problems(module)
    batch = collate(some, module.task.pad)
    found = []
    measured = counted(lambda: found.append(module.backpropagate(batch)))
    assert found[0][1] == pytest.approx(measured, rel=0.02)
    assert found[0][1] <= module.step_flops(batch) * (1 + 1e-12)
    for effort in (*module.efforts(), "think_2x3"):
        measured = counted(lambda effort=effort: found.append(module.solve(some, effort)))
        assert found[-1].flops == pytest.approx(measured, rel=0.02)
        measured = counted(lambda effort=effort: found.append(module.evaluate(batch, effort)))
        assert found[-1].flops == pytest.approx(measured, rel=0.02)


def test_a_whole_run_costs_what_is_booked(make) -> None:
    module = make(flops=3e8)
    module.alpha.data.fill_(float("nan"))  # to be calibrated
    measured = counted(lambda: fit(module))
    assert module.steps > 3
    assert module.flops_by["calibrate"] > 0
    assert module.flops_spent == pytest.approx(measured, rel=0.02)
    assert module.flops_spent <= 3e8


def test_the_plan_knows_parameters_and_the_smallest_budget(make, arm) -> None:
    module = make(arm)
    total, inner = parallel_cost.parameters(module.cell, module.task)
    assert total == sum(p.numel() for p in module.parameters())
    assert inner == module.non_embedding_parameters()
    least = parallel_cost.minimum_flops(module.cell, module.task)
    for budget, steps in ((least, 1), (0.999 * least, 0)):
        own = make(arm)
        own.cell = dataclasses.replace(module.cell, budget=Budget(flops=budget))
        own.alpha.data.fill_(float("nan"))
        fit(own)
        assert own.steps == steps
        assert own.flops_spent <= budget


def test_it_is_as_large_as_the_plain_transformer(make) -> None:
    module = make(size=Size(name="6xs", layers=2, heads=2, width=64, lr=3e-3))
    own = arena_shape(module.cell.size, module.task.vocabulary).non_embedding
    assert module.non_embedding_parameters() == pytest.approx(own, rel=0.02)


def test_it_learns_and_the_same_seed_gives_the_same_weights(make) -> None:
    task = Sudoku(name="sudoku", batch=8, min_blanks=1, max_blanks=2)
    first, second = (fit(make(task=task, flops=6e9)) for _ in range(2))
    assert torch.equal(parameters_of(first), parameters_of(second))
    other = fit(make(task=task, flops=1e8, seed=1))
    assert all(p.isfinite().all() for p in (*first.parameters(), *other.parameters()))
    batch = collate(held_out(first.task, "val", 32), first.task.pad)
    untrained = make(task=task)
    before, after = (m.evaluate(batch).nats_B.mean() for m in (untrained, first))
    assert after < 0.3 * before


def test_the_likelihood_is_that_of_independent_cells(make) -> None:
    module = make()
    some = problems(module)
    batch = collate(some, module.task.pad)
    likelihood = module.evaluate(batch, "think_2")
    from ebt.config import Thinking

    logits = module.thought(some, Thinking(steps=2, hold_last=True), ()).logits_BMV
    expected = [
        sum(float(cross_entropy(logits[row, m], torch.tensor(token))) for m, token in enumerate(p.answer))
        for row, p in enumerate(some)
    ]
    torch.testing.assert_close(likelihood.nats_B.tolist(), expected, rtol=1e-4, atol=1e-4)
    assert likelihood.tokens_B.tolist() == [17] * len(some)


def test_an_answer_follows_from_the_prompt_alone(make) -> None:
    """Whatever stands in the problem's own answer, and in the batch: nothing of it reaches the energy."""
    module = make()
    some = problems(module)
    blind = [dataclasses.replace(p, answer=(0,) * len(p.answer)) for p in some]
    for effort in ("think_1", "think_2", "think_2x2"):
        assert module.solve(some, effort).completions == module.solve(blind, effort).completions
    contexts = [module.observe(collate(given, module.task.pad)) for given in (some, blind)]
    for (k, v), (k_blind, v_blind) in zip(*(c.keys_values for c in contexts), strict=True):
        assert torch.equal(k, k_blind)
        assert torch.equal(v, v_blind)


def test_restarts_keep_the_answer_of_least_energy(make) -> None:
    module = make(ParallelArm(name="a"))
    some = problems(module)
    from ebt.config import Thinking
    from ebt.infer import Noise
    from ebt.think import think

    noise = Noise(module.device, module.cell.seed, "solve", "key")
    with torch.no_grad():
        context = module.model.observe(torch.tensor([p.prompt for p in some]))
        starts = [torch.randn(6, 17, 32, generator=noise(i)) for i in range(4)]
        alone = [
            think(
                module.model, lambda _, y=y: y, context, Thinking(steps=2), module.alpha, "probs", energy=True
            )
            for y in starts
        ]
    energies = torch.cat([t.energy_BM for t in alone], dim=1)
    chosen = energies.argmin(1).tolist()
    assert len(set(chosen)) > 1
    expected = [tuple(alone[i].logits_BMV[row].argmax(-1).tolist()) for row, i in enumerate(chosen)]
    assert module.solve(some, "think_2x4", ("key",)).completions == expected
    assert module.solve(some, "think_2x4", ("key",)).completions == expected  # and again


def test_restarts_of_a_zero_start_differ_from_the_first_on(make) -> None:
    module = make()
    some = problems(module)
    from ebt.config import Thinking

    thought = module.thought(some, Thinking(steps=2, restarts=3, hold_last=True), ("key",), trajectory=True)
    firsts = [path.distributions[0] for path in thought.trajectories]
    assert torch.equal(firsts[0], torch.full_like(firsts[0], 1 / 32))
    assert not torch.equal(firsts[1], firsts[0])
    assert not torch.equal(firsts[1], firsts[2])


def test_a_trajectory_ends_in_the_answer_and_carries_the_energy(make) -> None:
    module = make(dataclasses.replace(OPTIONS["two_steps"], ladder=["think_1"]))
    some = problems(module)
    paths = module.trajectories(some, ("key",))
    solved = module.solve(some, "think_2", ("key",)).completions
    with torch.no_grad():
        context = module.model.observe(torch.tensor([p.prompt for p in some]))
        uniform = torch.full((len(some), 17, 32), 1 / 32)
        energies = module.model(uniform, context)
    for row, path in enumerate(paths):
        assert len(path.completions) == len(path.energy) == len(path.entropy) == 3
        assert path.completions[-1] == solved[row]
        assert path.energy[0] == pytest.approx(float(energies[row, 0]), abs=1e-4)
        assert path.entropy[0] == pytest.approx(torch.log(torch.tensor(32.0)).item(), rel=1e-5)
        assert all(0 <= e <= path.entropy[0] + 1e-5 for e in path.entropy)
    assert len({path.energy[-1] for path in paths}) == len(paths)


def test_certain_candidates_have_an_entropy_too(make) -> None:
    """Steps so long that probabilities are exactly zero, whose logarithm is not finite."""
    module = make()
    with torch.no_grad():
        module.alpha.fill_(1e6)
    paths = module.trajectories(problems(module))
    assert all(0 <= path.entropy[-1] < 0.1 for path in paths)


@pytest.mark.parametrize(
    "task",
    [Addition(name="addition"), Sudoku(name="sudoku_chain", chain=True)],
    ids=lambda t: t.name,
)
def test_a_task_of_varying_lengths_is_refused_before_training(tiny_cell, task) -> None:
    cell = tiny_cell(OPTIONS["two_steps"], task)
    with pytest.raises(ConfigError) as error:
        check(cell, build_task(task))
    assert f"arm=a with task={task.name}: " in str(error.value)
    assert "use task=sudoku or sudoku9, or an arm that answers token by token" in str(error.value)
    assert "\n" not in str(error.value)


def test_all_boards_have_the_lengths_that_the_task_declares() -> None:
    for config in (SUDOKU, Sudoku(name="sudoku9", side=9, min_blanks=20, max_blanks=24)):
        task = build_task(config)
        for severity in (0, 1):
            for index in range(3):
                problem = task.problem("train", 0, index, severity)
                assert (len(problem.prompt), len(problem.completion)) == task.fixed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gate": "entropy", "start": "head"}, "arm.gate=entropy: the cells of an answer descend together"),
        ({"refiner": "head", "start": "head", "alpha": 1.0}, "arm.refiner=head: this family descends on an"),
        ({"replay": 4}, "arm.replay=4: not built for whole answers; set arm.replay=0"),
        ({"steps": 0}, "arm.steps=0: must be at least 1"),
        ({"ladder": ["ponder"]}, "ponder is no effort"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used_are_named(changes, message) -> None:
    with pytest.raises(ConfigError) as error:
        ParallelArm(**{"name": "a", **changes}).validate()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_descents_in_parts_are_refused(tiny_cell) -> None:
    cell = dataclasses.replace(tiny_cell(OPTIONS["two_steps"], SUDOKU), trainer=TrainerConfig(at_once=4))
    with pytest.raises(ConfigError, match=r"trainer.at_once=4 with arm=a: .*set trainer.at_once=null"):
        check(cell, build_task(SUDOKU))
