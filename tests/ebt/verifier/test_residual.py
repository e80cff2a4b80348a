"""The residual energy and its loss against hand-computed cases, finite differences and enumeration."""

import itertools
import math

import pytest
import torch

from arena.config import Size
from arena.selection import lowest, majority
from arena.transformer import TransformerLM
from ebt.verifier.residual import Residual, contrast, stack

SIZE = Size(name="tiny", layers=2, heads=2, width=16, lr=3e-3)
ROWS = [(1, 2, 3), (3, 1), (2, 2, 0, 1), (0,)]


@pytest.fixture
def residual() -> Residual:
    torch.manual_seed(0)
    return Residual(SIZE, 4).double()


def energies(residual: Residual, rows: list[tuple[int, ...]], pad: int = 0) -> torch.Tensor:
    return residual(*stack(rows, pad, torch.device("cpu")))


def test_the_loss_by_hand():
    data, samples = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, math.log(3), -math.log(7)])
    # -log sigmoid(-E): log 2, log 4; -log sigmoid(E): log 2, log 4/3, log 8.
    expected = (math.log(2) + math.log(4)) / 2 + (math.log(2) + math.log(4 / 3) + math.log(8)) / 3
    assert contrast(data, samples).item() == pytest.approx(expected, rel=1e-6)


def test_the_losss_gradient_is_that_of_finite_differences(residual):
    def loss() -> torch.Tensor:
        energy = energies(residual, ROWS)
        return contrast(energy[:2], energy[2:])

    parameters = list(residual.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    torch.manual_seed(1)
    directions = [torch.randn_like(p) for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    ends = []
    with torch.no_grad():
        for step in (1e-6, -2e-6):
            for p, d in zip(parameters, directions, strict=True):
                p += step * d
            ends.append(loss())
    assert float(slope) == pytest.approx(float((ends[0] - ends[1]) / 2e-6), rel=1e-6)


ANSWERS = list(itertools.product(range(3), repeat=2))
DATA = torch.tensor([30, 1, 5, 10, 20, 4, 2, 8, 20])
START = torch.tensor([5, 10, 5, 10, 10, 40, 5, 5, 10])
"""Times that each of the nine answers occurs among 100 of the data, and of the start's samples."""


def optimum(find) -> torch.Tensor:
    """Energies of the nine answers at the minimum of the loss in exact expectation."""
    data, start = (torch.arange(9).repeat_interleave(counts) for counts in (DATA, START))
    parameters, energy = find
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=400, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        found = energy()
        loss = contrast(found[data], found[start])
        loss.backward()
        return loss

    optimizer.step(closure)
    return energy().detach()


@pytest.mark.parametrize("kind", ["table", "network"])
def test_the_optimum_is_the_log_ratio_of_start_to_data(kind, residual):
    if kind == "table":
        table = torch.zeros(9, dtype=torch.float64, requires_grad=True)
        found = optimum(([table], lambda: table))
    else:
        rows = [(3, *answer) for answer in ANSWERS]
        found = optimum((list(residual.parameters()), lambda: energies(residual, rows)))
    expected = (START.double() / DATA.double()).log()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 if kind == "table" else 0.02)


def test_an_energy_depends_on_every_token_and_on_no_padding(residual):
    together = energies(residual, ROWS)
    alone = torch.cat([energies(residual, [row]) for row in ROWS])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together, energies(residual, ROWS, pad=3))
    for place in range(3):
        changed = tuple(3 - t if i == place else t for i, t in enumerate(ROWS[0]))
        assert abs(energies(residual, [changed]) - together[0]).item() > 1e-6


def test_states_look_in_both_directions(residual):
    tokens, real = stack([(1, 2, 3), (1, 2, 0)], 0, torch.device("cpu"))
    seen = []
    residual.backbone.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    residual(tokens, real)
    assert not torch.allclose(seen[-1][0, 0], seen[-1][1, 0])


def test_it_begins_from_the_start_models_weights(residual):
    start = TransformerLM(SIZE, 4).double()
    residual.begin_from(start)
    assert torch.equal(residual.embedding.weight, start.embedding.weight)
    own, theirs = residual.backbone.state_dict(), start.backbone.state_dict()
    assert all(torch.equal(own[k], theirs[k]) for k in theirs)
    assert residual.backbone.blocks[0] is not start.backbone.blocks[0]


def test_ties_go_to_the_first_drawn():
    assert majority([(1,), (2,), (3,), (2,), (3,)]) == 1
    assert majority([(4,), (2,)]) == 0
    assert lowest([0.5, -1.0, -1.0, 2.0]) == 1
