"""Trajectories end in what is solved, and their energies are the model's own, state by state."""

import dataclasses
import math

import pytest
import torch

from arena.config import Addition
from arena.data import Problems
from arena.seeding import seed_everything
from arena.tasks import build_task
from ebt.module import EBTModule
from tests.conftest import quiet_trainer
from tests.ebt.conftest import energy_arms

TASK = Addition(name="addition", min_digits=1, max_digits=3, batch=16)


@pytest.fixture
def trained(tiny_cell, arm_of):
    """trained(arm name) after a few steps, as a harness would leave it."""

    def build(name: str, *, flops: float = 6e8, **options) -> EBTModule:
        cell = tiny_cell(arm_of(name, **options), TASK, flops=flops)
        seed_everything(0)
        module = EBTModule(cell, build_task(cell.task))
        data = Problems(module.task, seed=0, batch=cell.task.batch, problems=4)
        quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
        return module.eval()

    return build


def problems_of(module: EBTModule, count: int = 12):
    """Of several prompt lengths, so that rows are regrouped."""
    found = [module.task.problem("test", 0, i) for i in range(count)]
    assert len({len(p.prompt) for p in found}) > 1
    return found


@pytest.mark.parametrize("name", energy_arms())
def test_the_last_completion_is_what_is_solved(trained, name: str) -> None:
    module = trained(name)
    problems = problems_of(module)
    paths = module.trajectories(problems, key=("final", 0, 0))
    if module.arm.refiner == "head":
        assert paths == []
        return
    solved = module.solve(problems, module.efforts()[-1], key=("final", 0, 0)).completions
    assert [path.completions[-1] for path in paths] == solved
    for path in paths:
        entries = module.arm.full_steps + 1
        assert {len(path.completions), len(path.energy), len(path.entropy)} == {entries}
        assert {len(c) for c in path.completions} == {len(path.completions[-1])}
        assert all(map(math.isfinite, path.energy))
        assert all(0 <= h <= math.log(16) + 1e-5 for h in path.entropy)
    assert module.trajectories(problems, key=("final", 0, 0)) == paths


@pytest.mark.parametrize("name", ["ebt_amortized", "ebt_unrolled"])
def test_every_entry_is_the_descent_written_out_prefix_by_prefix(trained, name: str) -> None:
    """Slow reference: one prefix at a time, autograd's gradient, no cache."""
    module = trained(name, start="head" if name == "ebt_amortized" else "zero")
    problems = problems_of(module, 5)
    mirror, steps = module.arm.parametrisation == "mirror", module.arm.full_steps
    for problem, path in zip(problems, module.trajectories(problems), strict=True):
        prefix, energy, entropy = list(problem.prompt), [0.0] * (steps + 1), [0.0] * (steps + 1)
        for place, token in enumerate(path.completions[-1]):
            context = module.model.observe(torch.tensor([prefix]), torch.tensor([[len(prefix) - 1]]))
            start = torch.zeros(1, 1, 16) if context.start_BMV is None else context.start_BMV
            states = [start.detach()]
            for step in range(steps):
                p = states[-1].softmax(-1).detach().requires_grad_()
                (slope,) = torch.autograd.grad(module.model(p, context, step).sum(), p)
                states.append(((states[-1] if mirror else p) - module.alpha * slope).detach())
            for k, state in enumerate(states):
                p = state.softmax(-1)
                assert path.completions[k][place] == int(p.argmax())
                energy[k] += float(module.model(p, context, steps - 1).detach())
                entropy[k] -= float((p * p.log()).sum())
            prefix.append(token)
        assert path.energy == pytest.approx(energy, abs=2e-4)
        tokens = len(path.completions[-1])
        assert path.entropy == pytest.approx([h / tokens for h in entropy], abs=2e-4)


def test_energy_falls_on_every_problem_where_alpha_is_small(trained) -> None:
    """One energy function for all entries, no noise, exact gradient: alpha -> 0 can only descend."""
    module = trained("ebt_s1", steps=4, start="zero", conditioning="none", parametrisation="logits")
    with torch.no_grad():
        module.alpha.fill_(0.02)
    for path in module.trajectories(problems_of(module)):
        assert all(a > b for a, b in zip(path.energy[:-1], path.energy[1:], strict=True))


def test_a_position_that_the_gate_leaves_alone_keeps_its_start(trained) -> None:
    module = trained("ebt_gated")
    problems = problems_of(module)
    with torch.no_grad():
        module.cut.fill_(float("inf"))
    for path in module.trajectories(problems):
        assert len(set(path.completions)) == len(set(path.energy)) == len(set(path.entropy)) == 1
    with torch.no_grad():
        module.cut.fill_(-1.0)
    everywhere = module.trajectories(problems)
    ungated = EBTModule(
        dataclasses.replace(module.cell, arm=dataclasses.replace(module.arm, gate="none")), module.task
    )
    ungated.load_state_dict(module.state_dict(), strict=False)
    for gated, free in zip(everywhere, ungated.trajectories(problems), strict=True):
        assert gated.completions == free.completions
        assert gated.energy == pytest.approx(free.energy, abs=1e-4)


@pytest.mark.parametrize("name", ["ebt_amortized", "ebt_gated"])
def test_a_problem_alone_goes_the_way_that_it_goes_among_others(trained, name: str) -> None:
    """With the gate half open, some rows of a batch descend at a token and others do not."""
    module = trained(name)
    problems = problems_of(module)
    if module.arm.gate == "entropy":
        with torch.no_grad():
            module.alpha.fill_(20.0)
            module.cut.fill_(1.9)
    for together, problem in zip(module.trajectories(problems), problems, strict=True):
        (alone,) = module.trajectories([problem])
        assert together.completions == alone.completions
        assert together.energy == pytest.approx(alone.energy, abs=1e-4)
        assert together.entropy == pytest.approx(alone.entropy, abs=1e-4)
