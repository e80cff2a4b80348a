"""The recurrence of thinking, against its formula and finite differences, in fp64."""

import itertools

import pytest
import torch
from torch import Tensor

from arena.config import ConfigError
from ebt.config import Thinking
from ebt.energy import Context, EnergyModel
from ebt.think import Thought, descend, initial_candidate, think
from tests.ebt.test_energy import LENGTH, VOCABULARY, model, p, tokens

__all__ = ["model", "p", "tokens"]
ALPHA = torch.tensor(0.7, dtype=torch.float64)


@pytest.fixture
def y() -> Tensor:
    return torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def logits(model: EnergyModel, y: Tensor, context: Context, steps: int, kind: str) -> Tensor:
    return think(model, lambda _: y, context, Thinking(steps=steps), ALPHA, kind).logits_BMV


def finite_difference(model: EnergyModel, context: Context, point: Tensor, softmax: bool, i: int) -> Tensor:
    """dE/d(point) of candidate i of the first row, by central differences."""
    slope, h = torch.zeros(VOCABULARY, dtype=torch.float64), 1e-5
    for v in range(VOCABULARY):
        ends = []
        for sign in (1, -1):
            moved = point.clone()
            moved[0, i, v] += sign * h
            ends.append(model(moved.softmax(-1) if softmax else moved, context)[0, i])
        slope[v] = (ends[0] - ends[1]).detach() / (2 * h)
    return slope


def test_probs_update(model: EnergyModel, tokens: Tensor, y: Tensor) -> None:
    context = model.observe(tokens)
    updated, _, gradient = descend(model, y, context, 0, ALPHA, "probs")
    p = y.softmax(-1)
    slope = finite_difference(model, context, p, softmax=False, i=2)
    torch.testing.assert_close(gradient[0, 2], slope, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(updated, p - ALPHA * gradient, atol=0, rtol=0)


def test_logits_update(model: EnergyModel, tokens: Tensor, y: Tensor) -> None:
    context = model.observe(tokens)
    updated, _, gradient = descend(model, y, context, 0, ALPHA, "logits")
    slope = finite_difference(model, context, y, softmax=True, i=2)
    torch.testing.assert_close(gradient[0, 2], slope, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(updated, y - ALPHA * gradient, atol=0, rtol=0)


def test_mirror_update_multiplies_the_distribution(model: EnergyModel, tokens: Tensor, y: Tensor) -> None:
    """Mirror descent on the simplex: p' is proportional to p exp(-alpha dE/dp)."""
    context = model.observe(tokens)
    updated, _, gradient = descend(model, y, context, 0, ALPHA, "mirror")
    slope = finite_difference(model, context, y.softmax(-1), softmax=False, i=2)
    torch.testing.assert_close(gradient[0, 2], slope, atol=1e-7, rtol=1e-6)
    product = y.softmax(-1) * (-ALPHA * gradient).exp()
    torch.testing.assert_close(updated.softmax(-1), product / product.sum(-1, keepdim=True))


@pytest.mark.parametrize("parametrisation", ["probs", "logits", "mirror"])
def test_a_constant_added_to_the_energy_changes_nothing(
    model: EnergyModel, tokens: Tensor, y: Tensor, parametrisation: str
) -> None:
    context = model.observe(tokens)
    before = [descend(model, y, context, 0, ALPHA, parametrisation, graph=g)[0] for g in ("step", "none")]
    plain = EnergyModel.forward

    class Shifted(EnergyModel):
        def forward(self, p_BMV: Tensor, context: Context, step: int = 0) -> Tensor:
            return plain(self, p_BMV, context, step) + 5.0

    model.__class__ = Shifted
    after, energy, _ = descend(model, y, context, 0, ALPHA, parametrisation, graph="step")
    assert energy.min() > 2
    torch.testing.assert_close(after, before[0])
    # The written-out slope, which has no such energy, goes the same way.
    torch.testing.assert_close(after, before[1])


def test_energy_falls_by_alpha_times_the_squared_gradient(
    model: EnergyModel, tokens: Tensor, y: Tensor
) -> None:
    context = model.observe(tokens)
    alpha = torch.tensor(1e-5, dtype=torch.float64)
    updated, energy, gradient = descend(model, y, context, 0, alpha, "logits")
    fall = energy - model(updated.softmax(-1), context)
    torch.testing.assert_close(fall, alpha * gradient.square().sum(-1), rtol=1e-2, atol=1e-12)


def test_thinking_works_without_gradients_and_keeps_no_graph(
    model: EnergyModel, tokens: Tensor, y: Tensor
) -> None:
    with torch.no_grad():
        out = think(
            model, lambda _: y, model.observe(tokens), Thinking(steps=2), ALPHA, "probs", trajectory=True
        ).logits_BMV
    assert not out.requires_grad
    assert all(q.grad is None for q in model.parameters())


def test_starts() -> None:
    assert initial_candidate((2, 3), "zero", torch.device("cpu")).abs().max() == 0
    noise = initial_candidate((200, 200), "noise", torch.device("cpu"), torch.Generator().manual_seed(0))
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def restarted(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    return torch.randn(3, LENGTH, VOCABULARY, dtype=torch.float64, generator=generator)


def thought(model: EnergyModel, tokens: Tensor, **options) -> Thought:
    keep = options.pop("trajectory", False)
    noise = options.pop("noise", None)
    thinking = Thinking(**{"steps": 2, **options})
    context = model.observe(tokens)
    return think(
        model, restarted, context, thinking, ALPHA, "logits", noise=noise, energy=True, trajectory=keep
    )


def test_one_restart_is_plain_thinking_and_more_never_raise_the_energy(
    model: EnergyModel, tokens: Tensor
) -> None:
    one = thought(model, tokens)
    assert torch.equal(one.logits_BMV, logits(model, restarted(0), model.observe(tokens), 2, "logits"))
    energies = [thought(model, tokens, restarts=g).energy_BM for g in (1, 2, 4, 8)]
    for fewer, more in itertools.pairwise(energies):
        assert (more <= fewer).all()
    assert (energies[-1] < energies[0]).any()


@pytest.mark.parametrize("choose", ["min_energy", "max_energy", "largest_drop"])
def test_each_position_keeps_its_own_restart(model: EnergyModel, tokens: Tensor, choose: str) -> None:
    kept = thought(model, tokens, restarts=3, choose=choose, trajectory=True)
    finals = torch.stack([t.energies[-1] for t in kept.trajectories])
    drops = torch.stack([t.energies[0] - t.energies[-1] for t in kept.trajectories])
    rank = {"min_energy": -finals, "max_energy": finals, "largest_drop": drops}[choose]
    index = rank.argmax(0)
    assert len(index.unique()) > 1
    torch.testing.assert_close(kept.energy_BM, finals.gather(0, index[None])[0])
    ends = torch.stack([t.distributions[-1] for t in kept.trajectories])
    for b, m in itertools.product(range(3), range(LENGTH)):
        torch.testing.assert_close(kept.logits_BMV[b, m].softmax(-1), ends[index[b, m], b, m])


def test_an_energy_is_that_of_the_outcome(model: EnergyModel, tokens: Tensor) -> None:
    out = thought(model, tokens)
    expected = model(out.logits_BMV.softmax(-1), model.observe(tokens), 1).detach()
    torch.testing.assert_close(out.energy_BM, expected)


def test_a_rejected_step_leaves_the_candidate_as_it_was(model: EnergyModel, tokens: Tensor) -> None:
    """A step size far too large: some steps raise the energy."""
    for langevin in (0.0, 0.5):
        out = thought(
            model,
            tokens,
            steps=1,
            alpha=3e3,
            accept=True,
            langevin=langevin,
            noise=lambda g: torch.Generator().manual_seed(g),
        )
        before = model(restarted(0).softmax(-1), model.observe(tokens)).detach()
        same = (out.logits_BMV == restarted(0)).all(-1)
        assert same.any()
        assert not same.all()
        assert (out.energy_BM[~same] < before[~same]).all()
        assert (out.steps_BM == 1).all()


def test_accepting_every_step_changes_nothing(model: EnergyModel, tokens: Tensor) -> None:
    free, careful = thought(model, tokens, alpha=1e-4), thought(model, tokens, alpha=1e-4, accept=True)
    assert torch.equal(free.logits_BMV, careful.logits_BMV)


def test_a_settled_position_stops_whatever_its_neighbours_do(model: EnergyModel, tokens: Tensor) -> None:
    options = {"steps": 12, "alpha": 5.0, "tolerance": 0.01, "hold_last": True}
    out = thought(model, tokens, **options)
    assert out.steps_BM.min() < out.steps_BM.max()
    for steps in out.steps_BM.unique().tolist():
        plain = thought(model, tokens, **{**options, "tolerance": None, "steps": max(steps, 1)})
        stopped = out.steps_BM == steps
        torch.testing.assert_close(out.logits_BMV[stopped], plain.logits_BMV[stopped])
    longer = thought(model, tokens, **{**options, "tolerance": None})
    assert (longer.steps_BM == 12).all()
    row = think(
        model,
        lambda g: restarted(g)[1:2],
        model.observe(tokens[1:2]),
        Thinking(**options),
        ALPHA,
        "logits",
    )
    torch.testing.assert_close(row.logits_BMV[0], out.logits_BMV[1])
    assert torch.equal(row.steps_BM[0], out.steps_BM[1])
    everything = thought(model, tokens, **{**options, "tolerance": 1e9})
    assert everything.gradients == 2
    assert (everything.steps_BM == 1).all()


def test_langevin_noise_on_all_steps_on_the_first_or_off(model: EnergyModel, tokens: Tensor) -> None:
    def run(**options) -> Tensor:
        return thought(
            model, tokens, noise=lambda g: torch.Generator().manual_seed(7 + g), **options
        ).logits_BMV

    off, every, first = run(), run(langevin=0.3), run(langevin=0.3, langevin_steps="first")
    assert not torch.equal(every, first)
    assert not torch.equal(off, first)
    noise = torch.randn(first.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    context = model.observe(tokens)
    start = restarted(0) + 0.3 * noise
    torch.testing.assert_close(first, logits(model, start, context, 2, "logits"))
    torch.testing.assert_close(run(langevin=0.0), off)


def test_a_step_size_of_ones_own(model: EnergyModel, tokens: Tensor) -> None:
    context = model.observe(tokens)
    expected = descend(model, restarted(0), context, 0, torch.tensor(3.0).double(), "logits")[0]
    torch.testing.assert_close(thought(model, tokens, steps=1, alpha=3.0).logits_BMV, expected)


def test_a_trajectory_holds_every_state_and_its_energy(model: EnergyModel, tokens: Tensor) -> None:
    out = thought(model, tokens, trajectory=True)
    (path,) = out.trajectories
    assert len(path.energies) == len(path.distributions) == 3
    context = model.observe(tokens)
    torch.testing.assert_close(path.distributions[0], restarted(0).softmax(-1))
    torch.testing.assert_close(path.distributions[2], out.logits_BMV.softmax(-1))
    for step, (energy, distribution) in enumerate(zip(path.energies, path.distributions, strict=True)):
        expected = model(distribution, context, min(step, 1)).detach()
        torch.testing.assert_close(energy, expected)
    assert not any(t.requires_grad for t in (*path.energies, *path.distributions))


def test_more_steps_than_the_conditioning_knows_need_a_word(model: EnergyModel, tokens: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"steps=5: the energy is conditioned on 2 steps; set hold_last"):
        thought(model, tokens, steps=5)
    assert thought(model, tokens, steps=5, hold_last=True).gradients == 5


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"restarts": 0},
        {"choose": "best"},
        {"langevin": -1.0},
        {"langevin_steps": "last"},
        {"alpha": 0.0},
        {"tolerance": -0.1},
    ],
    ids=lambda b: next(iter(b)),
)
def test_impossible_thinking_is_named(bad: dict) -> None:
    (key,) = bad
    with pytest.raises(ConfigError, match=f"{key}={bad[key]}"):
        Thinking(**{"steps": 2, **bad}).validate()
