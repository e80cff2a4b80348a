"""Who sees whom in the two streams, in fp64."""

import pytest
import torch
from torch import Tensor

from arena.config import Size
from benchmarks.reference import dense_energy
from ebt.energy import EnergyModel

SIZE = Size(name="s", layers=2, heads=2, width=16, lr=1e-3)
VOCABULARY, LENGTH = 11, 7


@pytest.fixture
def model() -> EnergyModel:
    torch.manual_seed(0)
    return EnergyModel(SIZE, VOCABULARY, steps=2).double()


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def p() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, LENGTH, VOCABULARY, generator=generator, dtype=torch.float64).softmax(-1)


def test_a_candidates_energy_ignores_every_other_candidate(
    model: EnergyModel, tokens: Tensor, p: Tensor
) -> None:
    p.requires_grad_()
    energy = model(p, model.observe(tokens))
    (gradient,) = torch.autograd.grad(energy[:, 3].sum(), p)
    assert gradient[:, 3].abs().max() > 1e-3
    gradient[:, 3] = 0
    assert gradient.abs().max() == 0


def test_a_candidates_energy_ignores_later_tokens(model: EnergyModel, tokens: Tensor, p: Tensor) -> None:
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % VOCABULARY
    before, after = model(p, model.observe(tokens)), model(p, model.observe(changed))
    assert torch.equal(before[:, :4], after[:, :4])
    assert ((before[:, 4:] - after[:, 4:]).abs() > 1e-6).all()


@pytest.mark.parametrize("step", [0, 1])
def test_two_streams_equal_the_dense_doubled_sequence(
    model: EnergyModel, tokens: Tensor, p: Tensor, step: int
) -> None:
    ours = model(p, model.observe(tokens), step)
    torch.testing.assert_close(ours, dense_energy(model, tokens, p, step), atol=1e-6, rtol=1e-6)


def test_two_streams_equal_separate_passes(model: EnergyModel, tokens: Tensor, p: Tensor) -> None:
    """S candidates at once equal S passes, each over its own prefix with one candidate."""
    together = model(p, model.observe(tokens))
    for i in range(LENGTH):
        prefix = tokens[:, : i + 1]
        alone = model(p[:, i : i + 1], model.observe(prefix, torch.full((3, 1), i)))
        torch.testing.assert_close(alone[:, 0], together[:, i])


def test_chosen_positions_are_rows_of_all_positions(model: EnergyModel, tokens: Tensor, p: Tensor) -> None:
    positions = torch.tensor([[1, 4], [0, 6], [2, 3]])
    chosen = p.gather(1, positions[..., None].expand(-1, -1, VOCABULARY))
    some = model(chosen, model.observe(tokens, positions))
    torch.testing.assert_close(some, model(p, model.observe(tokens)).gather(1, positions))


def test_a_batch_is_its_rows_and_the_sums_gradient_each_rows_own(
    model: EnergyModel, tokens: Tensor, p: Tensor
) -> None:
    p.requires_grad_()
    (together,) = torch.autograd.grad(model(p, model.observe(tokens)).sum(), p)
    for i in range(3):
        row = p[i : i + 1].detach().requires_grad_()
        energy = model(row, model.observe(tokens[i : i + 1]))
        for j in range(LENGTH):
            (own,) = torch.autograd.grad(energy[0, j], row, retain_graph=True)
            torch.testing.assert_close(own[0, j], together[i, j])
