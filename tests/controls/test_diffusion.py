"""Masked diffusion over whole answers: its loss, its bound, its decoding, its costs."""

import dataclasses
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arena.config import Addition, Budget, ConfigError, Size
from arena.data import Problems, collate, held_out
from arena.seeding import seed_everything
from arena.shape import arena_shape
from arena.tasks import build_task
from arena.tasks.sudoku import Sudoku
from compare.plan.families import check
from controls.diffusion import cost as diffusion_cost
from controls.diffusion import network as diffusion
from controls.diffusion.config import DiffusionArm
from controls.diffusion.module import DiffusionModule
from controls.diffusion.network import MaskedTransformer
from tests.conftest import parameters_of, quiet_trainer

SIZE = Size(name="s", layers=2, heads=2, width=16, lr=3e-3)
VOCABULARY, PROMPT, ANSWER = 5, 4, 3
SUDOKU = Sudoku(name="sudoku", batch=4)


@pytest.fixture
def model() -> MaskedTransformer:
    torch.manual_seed(0)
    return MaskedTransformer(SIZE, VOCABULARY, ANSWER).double()


@pytest.fixture
def prompts() -> Tensor:
    return torch.randint(VOCABULARY, (2, PROMPT), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def answers() -> Tensor:
    return torch.randint(VOCABULARY, (2, ANSWER), generator=torch.Generator().manual_seed(2))


def logp(model: MaskedTransformer, prompt: Tensor, answer: Tensor, masked: set[int]) -> list[float]:
    """Log-probability of each cell, alone in its batch, the dense way: one sequence under a mask."""
    cells = torch.tensor([model.mask if m in masked else int(a) for m, a in enumerate(answer)])
    x = torch.cat((model.embedding(prompt), model.embedding(cells) + model.place.weight))[None]
    allowed = torch.ones(PROMPT + ANSWER, PROMPT + ANSWER, dtype=torch.bool)
    allowed[:PROMPT, PROMPT:] = False
    hidden, _ = model.backbone.observe(x, torch.arange(PROMPT + ANSWER), allowed)
    scores = model.head(model.backbone.norm(hidden[0, PROMPT:])).log_softmax(-1)
    return [float(scores[m, int(a)].detach()) for m, a in enumerate(answer)]


def test_the_loss_matches_a_plain_reference(model, prompts, answers) -> None:
    rates = torch.tensor([0.3, 0.9], dtype=torch.float64)
    uniform = torch.tensor([[0.1, 0.4, 0.29], [0.95, 0.2, 0.5]])
    total = 0.0
    for row, masked in enumerate(({0, 2}, {1, 2})):
        scores = logp(model, prompts[row], answers[row], masked)
        total += sum(-scores[m] for m in masked) / float(rates[row]) / ANSWER / 2
    found = diffusion.loss(model, prompts, answers, rates, uniform)
    assert float(found.detach()) == pytest.approx(total, abs=1e-6)


def test_the_losss_gradient_matches_finite_differences(model, prompts, answers) -> None:
    rates = torch.tensor([0.3, 0.9], dtype=torch.float64)
    uniform = torch.tensor([[0.1, 0.4, 0.29], [0.95, 0.2, 0.5]])

    def value() -> Tensor:
        # Double precision to the end: the arm's own loss is taken in single.
        context = model.read(prompts)
        masked = uniform < rates[:, None]
        scores = model(answers.masked_fill(masked, model.mask), context).log_softmax(-1)
        picked = scores.gather(-1, answers[..., None])[..., 0]
        return (-(picked * masked) / rates[:, None]).mean()

    parameters = list(model.parameters())
    ours = torch.autograd.grad(diffusion.loss(model, prompts, answers, rates, uniform), parameters)
    random = torch.Generator().manual_seed(5)
    for gradient, q in zip(ours, parameters, strict=True):
        index, h = int(torch.randint(q.numel(), (1,), generator=random)), 1e-5
        flat, ends = q.data.view(-1), []
        original = float(flat[index])
        for sign in (1, -1):
            flat[index] = original + sign * h
            ends.append(float(value().detach()))
        flat[index] = original
        slope = (ends[0] - ends[1]) / (2 * h)
        assert float(gradient.view(-1)[index]) == pytest.approx(slope, abs=1e-5)


def test_a_cell_sees_later_ones_and_not_its_own_token(model, prompts, answers) -> None:
    context = model.read(prompts)
    masked = torch.tensor([True, False, False])
    before = model(answers.masked_fill(masked, model.mask), context)[:, 0]
    later = answers.clone()
    later[:, 2] = (later[:, 2] + 1) % VOCABULARY
    own = answers.clone()
    own[:, 0] = (own[:, 0] + 1) % VOCABULARY
    after, same = (model(t.masked_fill(masked, model.mask), context)[:, 0] for t in (later, own))
    assert (after - before).abs().amax(-1).min() > 1e-4
    assert torch.equal(same, before)


def test_masking_rates_are_spread_over_the_unit_interval() -> None:
    for seed in range(20):
        rates = diffusion.rates(8, torch.Generator().manual_seed(seed), torch.device("cpu"))
        assert ((rates > 0) & (rates <= 1)).all()
        assert sorted((rates * 8 - 1e-4).floor().int().tolist()) == list(range(8))  # one in each eighth
    # In the long run each problem's rate is uniform.
    firsts = torch.stack(
        [diffusion.rates(8, torch.Generator().manual_seed(s), torch.device("cpu"))[:1] for s in range(500)]
    )
    assert float(firsts.mean()) == pytest.approx(0.5, abs=0.05)


def test_the_bound_is_the_mean_over_all_orders(model, prompts, answers) -> None:
    """By enumeration: the masked form equals the mean over orders of the chain rule, and the estimate of
    `bound` agrees with it."""
    rows = range(len(prompts))
    chain = []
    for row in rows:
        orders = []
        for order in itertools.permutations(range(ANSWER)):
            nats, left = 0.0, set(range(ANSWER))
            for m in order:
                nats -= logp(model, prompts[row], answers[row], left)[m]
                left.remove(m)
            orders.append(nats)
        chain.append(sum(orders) / len(orders))
    masked = []
    for row in rows:
        total = 0.0
        for count in range(1, ANSWER + 1):
            subsets = list(itertools.combinations(range(ANSWER), count))
            for chosen in subsets:
                scores = logp(model, prompts[row], answers[row], set(chosen))
                total += sum(-scores[m] for m in chosen) / count / len(subsets)
        masked.append(total)
    assert masked == pytest.approx(chain, abs=1e-6)
    for levels in (1, 2, 3):
        with torch.no_grad():
            parts = torch.stack(
                [
                    diffusion.bound(
                        model, prompts, answers, levels=levels, generator=torch.Generator().manual_seed(s)
                    )
                    for s in range(600)
                ]
            )
        error = parts.std(0) / len(parts) ** 0.5
        assert ((parts.mean(0) - torch.tensor(chain)).abs() < 4 * error + 1e-3).all()


@pytest.mark.parametrize(("answer", "steps"), [(17, 1), (17, 4), (17, 8), (17, 16), (17, 99), (3, 2)])
def test_every_cell_is_filled_and_no_step_is_idle(answer: int, steps: int) -> None:
    counts = diffusion.schedule(answer, steps)
    assert sum(counts) == answer
    assert len(counts) == min(steps, answer)
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1


def test_the_most_confident_cells_are_filled_first(model, prompts) -> None:
    """Against a plain loop over single cells."""
    context = model.read(prompts)
    for counts in ([1, 1, 1], [1, 2], [3]):
        cells = torch.full((2, ANSWER), model.mask)
        diffusion.unmask(model, context, cells, counts)
        for row in range(2):
            own = [model.mask] * ANSWER
            for count in counts:
                scores = model(torch.tensor([own, own]), context)[row].softmax(-1)
                open_cells = [m for m in range(ANSWER) if own[m] == model.mask]
                open_cells.sort(key=lambda m: -float(scores[m].max()))
                for m in open_cells[:count]:
                    own[m] = int(scores[m].argmax())
            assert cells[row].tolist() == own


@pytest.fixture
def make(tiny_cell) -> Callable[..., DiffusionModule]:
    def build(task=SUDOKU, *, size: Size = SIZE, flops: float = 1e8, seed: int = 0, **arm) -> DiffusionModule:
        cell = tiny_cell(DiffusionArm(name="diffusion", **arm), task, flops=flops, size=size, seed=seed)
        cell.validate()
        seed_everything(cell.seed)
        return DiffusionModule(cell, build_task(task))

    return build


def fit(module: DiffusionModule) -> DiffusionModule:
    data = Problems(module.task, seed=module.cell.seed, batch=module.cell.task.batch, problems=8)
    quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
    return module


def counted(call: Callable[[], object]) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("layers", [1, 3])
def test_a_run_and_its_answers_cost_what_is_booked(make, layers) -> None:
    module = make(size=dataclasses.replace(SIZE, layers=layers, width=32), flops=2e8, ladder=["unmask_2"])
    measured = counted(lambda: fit(module))
    assert module.steps > 2
    assert module.flops_spent == pytest.approx(measured, rel=0.02)
    assert module.flops_spent <= 2e8
    some = held_out(module.task, "val", 5)
    found = []
    for effort in (*module.efforts(), "unmask_1", "unmask_99"):
        measured = counted(lambda effort=effort: found.append(module.solve(some, effort)))
        assert found[-1].flops == pytest.approx(measured, rel=0.02)
    batch = collate(some, module.task.pad)
    measured = counted(lambda: found.append(module.evaluate(batch)))
    assert found[-1].flops == pytest.approx(measured, rel=0.02)


def test_the_plan_knows_parameters_and_the_smallest_budget(make) -> None:
    module = make()
    total, inner = diffusion_cost.parameters(module.cell, module.task)
    assert total == sum(p.numel() for p in module.parameters())
    assert inner == module.non_embedding_parameters()
    least = diffusion_cost.step_flops(module.cell, module.task)
    for budget, steps in ((least, 1), (0.999 * least, 0)):
        own = make()
        own.cell = dataclasses.replace(module.cell, budget=Budget(flops=budget))
        assert fit(own).steps == steps
    large = make(size=Size(name="6xs", layers=2, heads=2, width=64, lr=3e-3))
    plain = arena_shape(large.cell.size, large.task.vocabulary).non_embedding
    assert large.non_embedding_parameters() == pytest.approx(plain, rel=0.02)


def test_it_learns_and_the_same_seed_gives_the_same_weights(make) -> None:
    task = Sudoku(name="sudoku", batch=8, min_blanks=1, max_blanks=2)
    first, second = (fit(make(task, flops=3e9)) for _ in range(2))
    assert torch.equal(parameters_of(first), parameters_of(second))
    assert all(p.isfinite().all() for p in first.parameters())
    batch = collate(held_out(first.task, "val", 32), first.task.pad)
    before, after = (m.evaluate(batch).nats_B for m in (make(task), first))
    assert after.mean() < 0.4 * before.mean()
    assert torch.equal(after, first.evaluate(batch).nats_B)


def test_an_answer_follows_from_the_prompt_alone(make) -> None:
    module = make()
    some = held_out(module.task, "val", 5)
    blind = [dataclasses.replace(p, answer=(0,) * len(p.answer)) for p in some]
    for effort in ("unmask_1", "unmask_8"):
        assert module.solve(some, effort).completions == module.solve(blind, effort).completions
    assert all(
        len(c) == 17 and max(c) < module.task.vocabulary for c in module.solve(some, "unmask_4").completions
    )


def test_a_blank_answer_costs_about_the_uniform_likelihood_before_training(make) -> None:
    module = make()
    batch = collate(held_out(module.task, "val", 16), module.task.pad)
    likelihood = module.evaluate(batch)
    assert float((likelihood.nats_B / likelihood.tokens_B).mean()) == pytest.approx(math.log(32), rel=0.3)


@pytest.mark.parametrize("effort", ["think_2", "unmask_", "unmask_0", "greedy"])
def test_an_effort_that_is_none_is_an_error(make, effort) -> None:
    module = make()
    with pytest.raises(ValueError, match=f"effort={effort}: write unmask_K"):
        module.solve(held_out(module.task, "val", 2), effort)
    with pytest.raises(ValueError, match="the only likelihood of diffusion is `bound`"):
        module.evaluate(collate(held_out(module.task, "val", 2), module.task.pad), effort)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "arm.steps=0: must be at least 1"),
        ({"levels": 0}, "arm.levels=0: must be at least 1"),
        ({"ladder": ["think_2"]}, "think_2 is no effort; write unmask_4 for 4 steps"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used_are_named(changes, message) -> None:
    with pytest.raises(ConfigError) as error:
        DiffusionArm(**{"name": "a", **changes}).validate()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_task_of_varying_lengths_is_refused_before_training(tiny_cell) -> None:
    task = Addition(name="addition")
    with pytest.raises(ConfigError, match="arm=a with task=addition: it answers at a fixed number of places"):
        check(tiny_cell(DiffusionArm(name="a"), task), build_task(task))
