"""S1's gradient: the mean of single steps with the candidate held constant; fp64, finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.reference import dense_s1_backward
from ebt.config import EBTArm
from ebt.energy import EnergyModel
from ebt.objective import backward
from ebt.think import descend
from tests.ebt.test_energy import LENGTH, SIZE, VOCABULARY, model, p, tokens

__all__ = ["model", "p", "tokens"]
STEPS = 2


@pytest.fixture
def alpha() -> nn.Parameter:
    return nn.Parameter(torch.tensor(1.3, dtype=torch.float64))


@pytest.fixture
def y() -> Tensor:
    return torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def targets() -> Tensor:
    return torch.randint(VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(4))


def ours(
    model: EnergyModel,
    tokens: Tensor,
    y: Tensor,
    targets: Tensor,
    mask: Tensor,
    alpha: nn.Parameter,
    kind: str = "probs",
) -> tuple[Tensor, list[Tensor]]:
    parameters = [*model.parameters(), alpha]
    for q in parameters:
        q.grad = None
    trained = backward(
        EBTArm(name="ebt_s1", steps=STEPS, parametrisation=kind),
        model,
        model.observe(tokens),
        y,
        targets,
        mask.double() / mask.sum(),
        steps=STEPS,
        alpha=alpha,
        parameters=parameters,
    )
    return trained.losses, [torch.zeros_like(q) if q.grad is None else q.grad.clone() for q in parameters]


def test_equals_the_dense_formulation(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    losses, gradients = ours(model, tokens, y, targets, torch.ones_like(targets, dtype=torch.bool), alpha)
    parameters = [*model.parameters(), alpha]
    for q in parameters:
        q.grad = None
    expected = dense_s1_backward(model, tokens, y, targets, steps=STEPS, alpha=alpha, parameters=parameters)
    torch.testing.assert_close(losses, expected, atol=1e-6, rtol=1e-6)
    for gradient, q in zip(gradients, parameters, strict=True):
        assert q.grad is not None
        torch.testing.assert_close(gradient, q.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_gradient_matches_finite_differences_with_candidates_held(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter, kind: str
) -> None:
    mask = torch.ones_like(targets, dtype=torch.bool)
    mask[1, 3:] = False
    _, gradients = ours(model, tokens, y, targets, mask, alpha, kind)
    # The candidates that each step starts from, computed once and held while a parameter moves.
    starts, state = [], y
    for step in range(STEPS):
        starts.append(state)
        state = descend(model, state, model.observe(tokens), step, alpha, kind)[0]

    def loss() -> float:
        total = 0.0
        for step, start in enumerate(starts):
            out = descend(model, start, model.observe(tokens), step, alpha, kind)[0]
            total += float(F.cross_entropy(out[mask], targets[mask])) / STEPS
        return total

    parameters = [*model.named_parameters(), ("alpha", alpha)]
    generator = torch.Generator().manual_seed(5)
    for (name, q), gradient in zip(parameters, gradients, strict=True):
        index = int(torch.randint(q.numel(), (1,), generator=generator))
        with torch.no_grad():
            flat, h = q.view(-1), 1e-6
            original = float(flat[index])
            flat[index] = original + h
            up = loss()
            flat[index] = original - h
            down = loss()
            flat[index] = original
        assert float(gradient.view(-1)[index]) == pytest.approx((up - down) / (2 * h), abs=2e-7), name


def test_gradient_of_alpha_is_minus_the_inner_product(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    _, gradients = ours(model, tokens, y, targets, torch.ones_like(targets, dtype=torch.bool), alpha)
    expected, state = torch.zeros((), dtype=torch.float64), y
    for step in range(STEPS):
        state, _, g = descend(model, state, model.observe(tokens), step, alpha, "probs")
        logits = state.detach().requires_grad_()
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        (slope,) = torch.autograd.grad(loss, logits)
        expected -= (slope * g).sum() / STEPS
    torch.testing.assert_close(gradients[-1], expected)


def test_padding_takes_no_part(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    mask = torch.ones_like(targets, dtype=torch.bool)
    mask[:, 5:] = False
    losses, gradients = ours(model, tokens, y, targets, mask, alpha)
    other = targets.clone()
    other[:, 5:] = 0
    noise = y.clone()
    noise[:, 5:] += 3
    changed, same = ours(model, tokens, noise, other, mask, alpha)
    torch.testing.assert_close(losses, changed)
    for a, b in zip(gradients, same, strict=True):
        torch.testing.assert_close(a, b)


def gradients_of(arm: EBTArm, model, tokens, y, targets, alpha, **options) -> tuple[Tensor, list[Tensor]]:
    parameters = [*model.parameters(), alpha]
    for q in parameters:
        q.grad = None
    weights = torch.full(targets.shape, 1 / targets.numel(), dtype=torch.float64)
    trained = backward(
        arm,
        model,
        model.observe(tokens),
        y,
        targets,
        weights,
        steps=options.pop("steps", arm.steps),
        alpha=alpha,
        parameters=parameters,
        **options,
    )
    return trained.losses, [torch.zeros_like(q) if q.grad is None else q.grad.clone() for q in parameters]


def slopes(parameters: list[Tensor], loss) -> list[tuple[int, float]]:
    """Central differences at one random entry of each parameter."""
    generator, found = torch.Generator().manual_seed(5), []
    for q in parameters:
        index, h = int(torch.randint(q.numel(), (1,), generator=generator)), 1e-6
        flat = q.data.view(-1)
        original = float(flat[index])
        ends = []
        for sign in (1, -1):
            flat[index] = original + sign * h
            ends.append(loss())
        flat[index] = original
        found.append((index, (ends[0] - ends[1]) / (2 * h)))
    return found


def descent(model, tokens, y, alpha, kind: str, steps: int, **options) -> list[Tensor]:
    """Candidates after each step, nothing held constant."""
    states = []
    for step in range(steps):
        y = descend(model, y, model.observe(tokens), step, alpha, kind, **options)[0]
        states.append(y)
    return states


@pytest.mark.parametrize("kind", ["probs", "logits", "mirror"])
@pytest.mark.parametrize("loss", ["all", "last"])
def test_the_unrolled_gradient_matches_finite_differences(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter, kind: str, loss: str
) -> None:
    arm = EBTArm(name="a", steps=3, graph="all", loss=loss, parametrisation=kind)
    losses, gradients = gradients_of(arm, model, tokens, y, targets, alpha)
    assert len(losses) == (3 if loss == "all" else 1)

    def value() -> float:
        states = descent(model, tokens, y, alpha, kind, 3)
        parts = [float(F.cross_entropy(s.flatten(0, 1), targets.flatten())) for s in states]
        return sum(parts) / 3 if loss == "all" else parts[-1]

    expected = slopes([*model.parameters(), alpha], value)
    for gradient, (index, slope) in zip(gradients, expected, strict=True):
        assert float(gradient.view(-1)[index]) == pytest.approx(slope, abs=3e-7)


def test_s2_differentiates_the_last_step_alone(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    arm = EBTArm(name="a", steps=3, graph="last", loss="last")
    losses, gradients = gradients_of(arm, model, tokens, y, targets, alpha)
    before = descent(model, tokens, y, alpha, "probs", 2)[-1]

    def value() -> float:
        last = descend(model, before, model.observe(tokens), 2, alpha, "probs")[0]
        return float(F.cross_entropy(last.flatten(0, 1), targets.flatten()))

    assert float(losses[0]) == pytest.approx(value())
    for gradient, (index, slope) in zip(gradients, slopes([*model.parameters(), alpha], value), strict=True):
        assert float(gradient.view(-1)[index]) == pytest.approx(slope, abs=2e-7)


def test_the_contrastive_term_matches_finite_differences(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    arm = EBTArm(name="a", contrastive=0.7)
    _, gradients = gradients_of(arm, model, tokens, y, targets, alpha)
    _, without = gradients_of(EBTArm(name="a"), model, tokens, y, targets, alpha)
    held = descent(model, tokens, y, alpha, "probs", 1)[-1].softmax(-1)

    def value() -> float:
        context = model.observe(tokens)
        true = model(F.one_hot(targets, VOCABULARY).double(), context, 1)
        energies = torch.stack((true, model(held, context, 1)), dim=-1)
        return 0.7 * float(-(-energies).log_softmax(-1)[..., 0].mean())

    expected = slopes(list(model.parameters()), value)
    assert any(abs(slope) > 1e-3 for _, slope in expected)
    for a, b, (index, slope) in zip(gradients, without, expected, strict=False):
        assert float((a - b).view(-1)[index]) == pytest.approx(slope, abs=2e-7)


def test_soft_targets_soften_the_first_steps_most(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    arm = EBTArm(name="a", steps=3, soft_targets=0.4)
    losses, _ = gradients_of(arm, model, tokens, y, targets, alpha)
    states = descent(model, tokens, y, alpha, "probs", 3)
    for state, loss, smoothing in zip(states, losses, (0.4, 0.2, 0.0), strict=True):
        logp = state.log_softmax(-1)
        true = logp.gather(-1, targets[..., None])[..., 0]
        expected = -((1 - smoothing) * true + smoothing * logp.mean(-1)).mean()
        torch.testing.assert_close(loss, expected)


def test_an_update_stays_within_its_clamp(model: EnergyModel, tokens: Tensor, y: Tensor) -> None:
    context, alpha = model.observe(tokens), torch.tensor(50.0).double()
    free = descend(model, y, context, 0, alpha, "logits")[0] - y
    clamped = descend(model, y, context, 0, alpha, "logits", max_update=0.25)[0] - y
    assert free.abs().max() > 0.3
    torch.testing.assert_close(clamped, free.clamp(-0.25, 0.25))


def test_a_positions_own_step_size_holds_at_every_step(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    factor = torch.rand(3, LENGTH, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) + 0.5
    losses, _ = gradients_of(EBTArm(name="a"), model, tokens, y, targets, alpha, factor=factor)
    states = descent(model, tokens, y, alpha * factor, "probs", 2)
    expected = torch.stack([F.cross_entropy(s.flatten(0, 1), targets.flatten()) for s in states])
    torch.testing.assert_close(losses, expected.detach())


def test_langevin_noise_enters_before_every_training_step(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter
) -> None:
    arm = EBTArm(name="a", langevin=0.5)
    losses, _ = gradients_of(arm, model, tokens, y, targets, alpha, noise=torch.Generator().manual_seed(9))
    generator, state, expected = torch.Generator().manual_seed(9), y, []
    for step in range(2):
        noise = torch.randn(y.shape, dtype=torch.float64, generator=generator)
        state = descend(model, state + 0.5 * noise, model.observe(tokens), step, alpha, "probs")[0]
        expected.append(F.cross_entropy(state.flatten(0, 1), targets.flatten()))
    torch.testing.assert_close(losses, torch.stack(expected).detach())


def test_adaln_zero_starts_with_no_energy_and_no_gradient(tokens: Tensor, y: Tensor) -> None:
    model = EnergyModel(SIZE, VOCABULARY, steps=2, conditioning="adaln_zero").double()
    updated, energy, gradient = descend(model, y, model.observe(tokens), 0, torch.tensor(3.0), "logits")
    assert energy.abs().max() == 0
    assert gradient.abs().max() == 0
    assert torch.equal(updated, y)
    assert model.modulation is not None
    assert model.modulation.abs().max() == 0  # no gate is open either


@pytest.mark.parametrize("conditioning", ["step", "adaln", "adaln_zero"])
def test_conditioning_tells_the_steps_apart(tokens: Tensor, p: Tensor, conditioning: str) -> None:
    torch.manual_seed(0)
    model = EnergyModel(SIZE, VOCABULARY, steps=2, conditioning=conditioning).double()
    context = model.observe(tokens)
    if model.modulation is not None:
        # Without modulation it is the plain block: only then may the steps differ.
        plain = EnergyModel(SIZE, VOCABULARY, steps=2, conditioning="none").double()
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if k != "modulation"})
        if conditioning == "adaln":
            torch.testing.assert_close(model(p, context), plain(p, plain.observe(tokens)))
        torch.nn.init.normal_(model.modulation)
        torch.nn.init.normal_(model.head.weight)
    assert (model(p, context, 0) - model(p, context, 1)).abs().min() > 1e-9


def test_a_tied_map_is_the_expected_embedding(tokens: Tensor) -> None:
    torch.manual_seed(0)
    model = EnergyModel(SIZE, VOCABULARY, steps=2, vocabulary_map="tied").double()
    untied = EnergyModel(SIZE, VOCABULARY, steps=2).double()
    untied.load_state_dict({**model.state_dict(), "candidate.weight": model.embedding.weight.mT})
    p = torch.rand(3, LENGTH, VOCABULARY, dtype=torch.float64).softmax(-1)
    torch.testing.assert_close(model(p, model.observe(tokens)), untied(p, untied.observe(tokens)))


@pytest.mark.parametrize(
    "arm",
    [
        EBTArm(name="a", steps=2, contrastive=0.7),
        EBTArm(name="a", steps=3, graph="last", loss="last", langevin=0.5),
        EBTArm(name="a", steps=3, graph="all", parametrisation="logits", langevin=0.5),
    ],
    ids=["step", "last", "all"],
)
def test_descents_in_parts_give_the_same_gradient(
    model: EnergyModel, tokens: Tensor, y: Tensor, targets: Tensor, alpha: nn.Parameter, arm: EBTArm
) -> None:
    factor = torch.rand(3, LENGTH, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) + 0.5

    def run(at_once: int | None) -> tuple[Tensor, list[Tensor]]:
        noise = torch.Generator().manual_seed(9)
        return gradients_of(
            arm, model, tokens, y, targets, alpha, factor=factor, noise=noise, at_once=at_once
        )

    losses, gradients = run(None)
    assert all(g.abs().max() > 0 for g in gradients)
    for at_once in (1, 3, 100):
        others, same = run(at_once)
        torch.testing.assert_close(others, losses, atol=1e-12, rtol=1e-12)
        for a, b in zip(same, gradients, strict=True):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)
