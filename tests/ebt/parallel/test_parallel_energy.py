"""The energy of a whole answer: who sees whom, its gradient, and the objective's, in fp64."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from arena.config import Size
from ebt.config import EBTArm, Thinking
from ebt.energy import Context
from ebt.objective import backward
from ebt.parallel.energy import ParallelEnergyModel
from ebt.slope import slope_of
from ebt.think import descend, think
from tests.ebt.test_objective import slopes

SIZE = Size(name="s", layers=2, heads=2, width=16, lr=1e-3)
VOCABULARY, PROMPT, ANSWER, STEPS = 7, 5, 4, 3


@pytest.fixture
def model() -> ParallelEnergyModel:
    return build()


def build(**options) -> ParallelEnergyModel:
    torch.manual_seed(0)
    return ParallelEnergyModel(SIZE, VOCABULARY, STEPS, ANSWER, **options).double()


@pytest.fixture
def prompts() -> Tensor:
    return torch.randint(VOCABULARY, (3, PROMPT), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def y() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, ANSWER, VOCABULARY, generator=generator, dtype=torch.float64)


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(VOCABULARY, (3, ANSWER), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def alpha() -> nn.Parameter:
    return nn.Parameter(torch.tensor(2.5, dtype=torch.float64))


def dense(model: ParallelEnergyModel, prompts: Tensor, p: Tensor, step: int) -> Tensor:
    """Prompt and candidates as one sequence under a mask, everything computed anew."""
    assert model.candidate is not None
    assert model.step is not None
    x = model.candidate(p) + model.place.weight + model.step.weight[step]
    x = torch.cat((model.embedding(prompts), x), dim=1)
    allowed = torch.ones(PROMPT + ANSWER, PROMPT + ANSWER, dtype=torch.bool)
    allowed[:PROMPT, PROMPT:] = False  # the prompt never sees a candidate
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no double backward
        hidden, _ = model.backbone.observe(x, torch.arange(PROMPT + ANSWER), allowed)
    return model.head(model.backbone.norm(hidden[:, PROMPT:])).sum((1, 2))


@pytest.mark.parametrize("step", [0, 2])
def test_it_equals_the_dense_sequence(model, prompts, y, step) -> None:
    p = y.softmax(-1)
    energy = model(p, model.observe(prompts), step)
    assert energy.shape == (3, 1)
    torch.testing.assert_close(energy[:, 0], dense(model, prompts, p, step), atol=1e-6, rtol=1e-6)


def test_every_cell_sees_every_other_earlier_and_later(model, prompts, y) -> None:
    """The slope at a cell changes with the candidate of any other: the Hessian has no zero block."""
    context = model.observe(prompts[:1])
    cells = y[:1].softmax(-1)

    def energy(flat: Tensor) -> Tensor:
        return model(flat.view(1, ANSWER, VOCABULARY), context).sum()

    hessian = torch.autograd.functional.hessian(energy, cells.flatten())
    assert isinstance(hessian, Tensor)
    blocks = hessian.view(ANSWER, VOCABULARY, ANSWER, VOCABULARY).abs().amax((1, 3))
    assert (blocks > 1e-4).all()


def test_every_cell_sees_the_whole_prompt_and_each_token_the_others(model, prompts, y) -> None:
    p = y.softmax(-1)
    before = model(p, model.observe(prompts))
    for place in range(PROMPT):
        changed = prompts.clone()
        changed[:, place] = (changed[:, place] + 1) % VOCABULARY
        assert ((model(p, model.observe(changed)) - before).abs() > 1e-6).all()
    # Of the first token's keys in the second block: they know what stands after it.
    changed = prompts.clone()
    changed[:, -1] = (changed[:, -1] + 1) % VOCABULARY
    keys = [model.observe(t).keys_values[1][0][:, :, 0] for t in (prompts, changed)]
    assert (keys[0] - keys[1]).abs().amax() > 1e-4


def test_the_order_of_the_cells_is_in_their_places_alone(model, prompts, y) -> None:
    """Cells permuted together with embedding and rotary position of their places: the same energy."""
    order = torch.tensor([2, 0, 3, 1])
    context = model.observe(prompts)
    p = y.softmax(-1)
    before = model(p, context)
    cos, sin = context.rotary
    moved = replace(context, rotary=(cos[order], sin[order]))
    assert (model(p[:, order], context) - before).abs().min() > 1e-4  # the cells alone: another energy
    with torch.no_grad():
        model.place.weight.copy_(model.place.weight[order].clone())
    torch.testing.assert_close(model(p[:, order], moved), before)


def test_answers_of_a_batch_do_not_see_each_other(model, prompts, y) -> None:
    p = y.softmax(-1)
    together = model(p, model.observe(prompts))
    for row in range(3):
        alone = model(p[row : row + 1], model.observe(prompts[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("kind", ["probs", "logits", "mirror"])
@pytest.mark.parametrize("conditioning", ["step", "adaln"])
def test_the_gradient_matches_finite_differences(prompts, y, kind, conditioning) -> None:
    model = build(conditioning=conditioning)
    context, one = model.observe(prompts), torch.ones((), dtype=torch.float64)
    point = y if kind == "logits" else y.softmax(-1)

    def energy(point: Tensor) -> Tensor:
        return model(point.softmax(-1) if kind == "logits" else point, context, 1)

    for graph in ("none", "step"):
        _, found, gradient = descend(model, y, context, 1, one, kind, graph=graph)
        torch.testing.assert_close(found, energy(point))
        if graph == "none" and kind == "logits":
            continue  # what is handed back is checked through the update below
        h = 1e-6
        for index in ((0, 0, 0), (1, 3, 2), (2, 1, 6)):
            ends = []
            for sign in (1, -1):
                moved = point.clone()
                moved[index] += sign * h
                ends.append(float(energy(moved)[index[0], 0].detach()))
            assert float(gradient[index].detach()) == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-8)
    plain = descend(model, y, context, 1, one, kind, graph="none")[0]
    torch.testing.assert_close(plain, descend(model, y, context, 1, one, kind, graph="step")[0])


def test_the_slope_keeps_no_graph_and_works_in_inference_mode(model, prompts, y) -> None:
    context = model.observe(prompts)
    p = y.softmax(-1)
    energy, gradient = slope_of(model)(p, context, 1)
    assert not energy.requires_grad
    assert not gradient.requires_grad
    assert all(q.grad is None for q in model.parameters())
    with torch.inference_mode():
        again = slope_of(model)(p, model.observe(prompts), 1)
    torch.testing.assert_close(again, (energy, gradient))


def run(arm: EBTArm, model, prompts, y, targets, alpha) -> tuple[Tensor, list[Tensor]]:
    parameters = [*model.parameters(), alpha]
    for q in parameters:
        q.grad = None
    context = model.observe(prompts)
    extra = None
    weights = torch.full(targets.shape, 1 / targets.numel(), dtype=torch.float64)
    if context.start_BMV is not None:
        extra = F.cross_entropy(context.start_BMV.flatten(0, 1), targets.flatten())
        y = context.start_BMV.detach()
    trained = backward(
        arm,
        model,
        context,
        y,
        targets,
        weights,
        steps=arm.steps,
        alpha=alpha,
        parameters=parameters,
        extra=extra,
    )
    return trained.losses, [torch.zeros_like(q) if q.grad is None else q.grad.clone() for q in parameters]


@pytest.mark.parametrize("kind", ["probs", "mirror"])
@pytest.mark.parametrize("loss", ["all", "last"])
def test_the_unrolled_gradient_matches_finite_differences(
    model, prompts, y, targets, alpha, kind, loss
) -> None:
    arm = EBTArm(name="a", steps=STEPS, graph="all", loss=loss, parametrisation=kind)
    _, gradients = run(arm, model, prompts, y, targets, alpha)

    def value() -> float:
        state, parts = y, []
        for step in range(STEPS):
            state = descend(model, state, model.observe(prompts), step, alpha, kind)[0]
            parts.append(float(F.cross_entropy(state.flatten(0, 1), targets.flatten())))
        return sum(parts) / STEPS if loss == "all" else parts[-1]

    expected = slopes([*model.parameters(), alpha], value)
    assert sum(abs(slope) > 1e-4 for _, slope in expected) > 10
    for gradient, (index, slope) in zip(gradients, expected, strict=True):
        assert float(gradient.view(-1)[index]) == pytest.approx(slope, abs=3e-7)


def reference(model, prompts, y, targets, alpha, kind: str) -> list[Tensor]:
    """S1 written out on the dense sequence: each step differentiated with its candidate held."""
    parameters = [*model.parameters(), alpha]
    total = torch.zeros((), dtype=torch.float64)
    for step in range(STEPS):
        y = y.detach()
        p = y.softmax(-1).requires_grad_()
        (g,) = torch.autograd.grad(dense(model, prompts, p, step).sum(), p, create_graph=True)
        y = (y if kind == "mirror" else p.detach()) - alpha * g
        total = total - y.log_softmax(-1).gather(-1, targets[..., None]).mean() / STEPS
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return [torch.zeros_like(q) if g is None else g for q, g in zip(parameters, found, strict=True)]


@pytest.mark.parametrize("kind", ["probs", "mirror"])
def test_the_truncated_gradient_matches_a_plain_reference(model, prompts, y, targets, alpha, kind) -> None:
    arm = EBTArm(name="a", steps=STEPS, parametrisation=kind)
    _, gradients = run(arm, model, prompts, y, targets, alpha)
    expected = reference(model, prompts, y, targets, alpha, kind)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-5)
    assert sum(float(g.abs().max()) > 1e-4 for g in expected) > 10


def test_the_heads_start_is_trained_by_its_own_loss_and_read_off_the_places(
    prompts, y, targets, alpha
) -> None:
    model = build(start_head=True)
    arm = EBTArm(name="a", steps=1, start="head", parametrisation="mirror")
    _, gradients = run(arm, model, prompts, y, targets, alpha)
    start = model.observe(prompts).start_BMV
    assert start is not None
    assert start.shape == (3, ANSWER, VOCABULARY)
    held = start.detach()

    def value() -> float:
        context = model.observe(prompts)
        assert context.start_BMV is not None
        state = descend(model, held, context, 0, alpha, "mirror")[0]
        parts = [F.cross_entropy(s.flatten(0, 1), targets.flatten()) for s in (context.start_BMV, state)]
        return float(sum(parts))

    for gradient, (index, slope) in zip(gradients, slopes([*model.parameters(), alpha], value), strict=True):
        assert float(gradient.view(-1)[index]) == pytest.approx(slope, abs=3e-7)


def test_of_several_restarts_the_whole_answer_of_lowest_energy_is_kept(model, prompts) -> None:
    starts = [torch.randn(3, ANSWER, VOCABULARY, dtype=torch.float64) for _ in range(5)]
    context, alpha = model.observe(prompts), torch.tensor(2.5, dtype=torch.float64)

    def thought(choose: str, chosen: list[Tensor]):
        thinking = Thinking(steps=2, restarts=len(chosen), choose=choose)
        return think(model, lambda i: chosen[i], context, thinking, alpha, "probs", energy=True)

    alone = [thought("min_energy", [start]) for start in starts]
    energies = torch.cat([t.energy_BM for t in alone], dim=1)
    for choose, rows in (("min_energy", energies.argmin(1)), ("max_energy", energies.argmax(1))):
        best = thought(choose, starts)
        assert best.energy_BM.shape == (3, 1)
        for row, restart in enumerate(rows.tolist()):
            assert torch.equal(best.logits_BMV[row], alone[restart].logits_BMV[row])
            assert torch.equal(best.energy_BM[row], alone[restart].energy_BM[row])
    assert len(set(energies.argmin(1).tolist())) > 1
    fewer = thought("min_energy", starts[:2]).energy_BM
    assert (thought("min_energy", starts).energy_BM <= fewer).all()


def test_small_steps_lower_the_energy(model, prompts, y) -> None:
    context, small = model.observe(prompts), torch.tensor(1e-3, dtype=torch.float64)
    thinking = Thinking(steps=STEPS)
    thought = think(model, lambda i: y, context, thinking, small, "logits", trajectory=True)
    energies = torch.cat(thought.trajectories[0].energies, dim=1)
    # Of one step's landscape: the conditioning makes each step's energy another function.
    for step in range(STEPS):
        p = thought.trajectories[0].distributions[step : step + 2]
        before, after = (model(s, context, step) for s in p)
        assert (after < before).all()
    assert energies.shape == (3, STEPS + 1)


def test_a_context_is_of_the_prompt_alone(model, prompts) -> None:
    context = model.observe(prompts)
    assert isinstance(context, Context)
    assert all(k.shape[2] == PROMPT for k, _ in context.keys_values)
