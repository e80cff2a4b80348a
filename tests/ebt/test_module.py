"""The arm as a LightningModule: trains, is calibrated, decodes with a cache, repeats itself."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from arena.config import Addition, ConfigError, Size, Text
from arena.data import Problems, collate
from arena.seeding import generator, seed_everything
from arena.tasks import build_task
from ebt.config import EBTArm, Thinking
from ebt.module import EBTModule
from ebt.think import descend, initial_candidate, think
from tests.conftest import parameters_of, quiet_trainer


def fit(trainer, cell) -> EBTModule:
    seed_everything(cell.seed)
    task = build_task(cell.task)
    module = EBTModule(cell, task)
    data = Problems(task, seed=cell.seed, batch=cell.task.batch, problems=16)
    trainer.fit(module, train_dataloaders=data.train_dataloader())
    return module


def loss_of(module: EBTModule, batches) -> float:
    parts = [module.evaluate(batch) for batch in batches]
    return float(sum(p.nats_B.sum() for p in parts) / sum(p.tokens_B.sum() for p in parts))


def test_every_entry_point_of_lightning_works(trainer, tiny_cell) -> None:
    cell = tiny_cell(EBTArm(name="ebt_s1"), Addition(name="addition", batch=16), flops=3e8)
    task = build_task(cell.task)
    data = Problems(task, seed=0, batch=16, problems=20)
    module = EBTModule(cell, task)
    trainer.fit(module, train_dataloaders=data.train_dataloader(), val_dataloaders=data.val_dataloader())
    assert module.steps > 3
    assert 0.8 * 3e8 < module.flops_spent <= 3e8
    validated = trainer.validate(module, data.val_dataloader(), verbose=False)[0]["val/loss"]
    tested = trainer.test(module, data.test_dataloader(), verbose=False)[0]["test/loss"]
    assert 0 < validated < 10
    assert 0 < tested < 10
    predicted = trainer.predict(module, data.predict_dataloader())
    assert predicted is not None
    assert sum(map(len, predicted)) == 20


def test_it_learns_and_the_same_seed_gives_the_same_weights(tiny_cell) -> None:
    cell = tiny_cell(EBTArm(name="ebt_s1"), Addition(name="addition", batch=16), flops=3e9)

    first, second = fit(quiet_trainer(), cell), fit(quiet_trainer(), cell)
    assert torch.equal(parameters_of(first), parameters_of(second))
    task = first.task
    batches = [collate([task.problem("val", 0, i) for i in range(32)], task.pad)]
    untrained = EBTModule(cell, task)
    untrained.alpha.data.fill_(float(first.alpha.detach()))
    assert loss_of(first, batches) < 0.8 * loss_of(untrained, batches)


@pytest.mark.parametrize("parametrisation", ["probs", "logits"])
@pytest.mark.parametrize("width", [16, 64])
def test_calibration_hits_its_target(trainer, tiny_cell, parametrisation: str, width: int) -> None:
    arm = EBTArm(name="ebt_s1", parametrisation=parametrisation, alpha_target=0.5, alpha_lr=0.0)
    size = Size(name="s", layers=1, heads=2, width=width, lr=1e-9)
    cell = tiny_cell(arm, Text(name="text", context=12, batch=4), flops=3e8, size=size)
    module = fit(trainer, cell)
    task = module.task
    batch = collate([task.problem("train", 0, i) for i in range(4)], task.pad)
    y = module.start(batch, module.observe(batch), "calibrate")
    out, _, gradient = descend(module.model, y, module.observe(batch), 0, module.alpha, parametrisation)
    update = (out - (y.softmax(-1) if parametrisation == "probs" else y)).square().mean().sqrt()
    assert float(update) == pytest.approx(0.5, rel=1e-3)
    assert float(module.alpha) == pytest.approx(0.5 / float(gradient.square().mean().sqrt()), rel=1e-3)


def test_alpha_has_a_rate_of_its_own(trainer, tiny_cell) -> None:
    cell = tiny_cell(EBTArm(name="ebt_s1"), Addition(name="addition", batch=8), flops=3e8)
    module = fit(trainer, cell)
    groups = trainer.optimizers[0].param_groups
    assert [id(p) for p in groups[-1]["params"]] == [id(module.alpha)]
    assert groups[-1]["weight_decay"] == 0
    row = module.history.rows[0]
    # The rate was set from the calibrated value, which the first rows of history still show.
    assert groups[-1]["peak_lr"] == pytest.approx(3 * cell.size.lr * row["alpha"], rel=0.05)


@pytest.mark.parametrize("steps", [1, 3])
def test_cached_decoding_equals_recomputing_the_prefix(tiny_cell, steps: int) -> None:
    torch.manual_seed(0)
    cell = tiny_cell(
        EBTArm(name="ebt_s1", alpha=2.0, steps=steps), Addition(name="addition", min_digits=3, max_digits=3)
    )
    module = EBTModule(cell, build_task(cell.task))
    task = module.task
    problems = [task.problem("val", 0, i) for i in range(6)]
    cached = module.solve(problems, f"think_{steps}", key=("k",)).completions
    noise = generator("cpu", cell.seed, "solve", "k")
    rows = torch.tensor([p.prompt for p in problems])
    length = rows.shape[1]
    with torch.no_grad():
        for _ in range(task.longest()[1]):
            context = module.model.observe(rows, torch.full((6, 1), rows.shape[1] - 1))
            y = initial_candidate((6, 1, task.vocabulary), "noise", rows.device, noise)
            thinking = Thinking(steps=steps)
            thought = think(module.model, lambda _, y=y: y, context, thinking, module.alpha, "probs")
            token = thought.logits_BMV[:, 0].argmax(-1)
            rows = torch.cat((rows, token[:, None]), dim=1)
    for row, completion in zip(rows[:, length:].tolist(), cached, strict=True):
        assert tuple(row[: len(completion)]) == completion


def test_one_step_control_has_no_second_step(tiny_cell) -> None:
    cell = tiny_cell(EBTArm(name="ebt_one_step", steps=1), Addition(name="addition"))
    module = EBTModule(cell, build_task(cell.task))
    assert module.efforts() == ("think_1",)
    assert module.model.step is not None
    assert module.model.step.num_embeddings == 1


def test_a_loss_that_is_not_finite_stops_the_cell(trainer, tiny_cell) -> None:
    from arena.contender import Diverged

    cell = tiny_cell(EBTArm(name="ebt_s1", alpha=1e38), Addition(name="addition", batch=8), flops=3e9)
    with pytest.raises(Diverged, match="at step"):
        fit(trainer, cell)


def test_mixed_precision_trains_and_evaluates(tiny_cell) -> None:
    cell = tiny_cell(EBTArm(name="ebt_s1"), Text(name="text", context=12, batch=4), flops=6e8)
    mixed, full = fit(quiet_trainer("bf16-mixed"), cell), fit(quiet_trainer(), cell)
    assert mixed.steps == full.steps
    task = mixed.task
    batches = [collate([task.problem("val", 0, i) for i in range(16)], task.pad)]
    assert loss_of(mixed, batches) == pytest.approx(loss_of(full, batches), rel=0.05)


def test_a_ladder_of_efforts_is_evaluated_before_the_arms_own(tiny_cell) -> None:
    arm = EBTArm(name="e", alpha=1.0, ladder=["think_4", "think_2", "think_1x3"])
    module = EBTModule(tiny_cell(arm, Addition(name="addition")), build_task(Addition(name="addition")))
    assert module.likelihood_efforts() == ("think_4", "think_1x3", "think_2")
    batch = collate([module.task.problem("val", 0, i) for i in range(3)], module.task.pad)
    one, four = (module.evaluate(batch, f"think_{k}") for k in (1, 4))
    assert not one.nats_B.equal(four.nats_B)
    assert module.evaluate(batch).nats_B.equal(module.evaluate(batch, "think_2").nats_B)


@pytest.mark.parametrize("effort", ["think_0", "think", "think_2x0", "greedy"])
def test_an_effort_that_does_not_exist_is_refused(effort: str) -> None:
    with pytest.raises(ConfigError, match=f"arm.ladder=.*: {effort} is no effort; write think_8"):
        EBTArm(name="e", ladder=[effort]).validate()


@pytest.mark.parametrize(
    "options",
    [
        {"start": "zero"},
        {"start": "head", "steps": 1, "parametrisation": "mirror", "graph": "all", "loss": "last"},
        {"start": "zero", "contrastive": 0.5},
    ],
    ids=["zero", "head", "contrast"],
)
def test_more_padding_changes_no_loss_and_no_gradient(tiny_cell, options: dict[str, object]) -> None:
    arm = EBTArm(name="e", alpha=2.0, **options)  # pyright: ignore[reportArgumentType]
    cell = tiny_cell(arm, Addition(name="addition", min_digits=2, max_digits=4))
    module = EBTModule(cell, build_task(cell.task))
    batch = collate([module.task.problem("train", 0, i) for i in range(6)], module.task.pad)
    assert not batch.supervised_BM.all()
    wider = replace(
        batch,
        tokens_BS=pad(batch.tokens_BS, (0, 3), value=module.task.pad),
        positions_BM=pad(batch.positions_BM, (0, 3)),
        targets_BM=pad(batch.targets_BM, (0, 3)),
        supervised_BM=pad(batch.supervised_BM, (0, 3)),
    )
    found = []
    for each in (batch, wider):
        module.zero_grad()
        figures, _ = module.backpropagate(each)
        likelihood = module.evaluate(each)
        gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        found.append((figures["loss"], gradients, likelihood.nats_B, likelihood.tokens_B))
    assert found[0][1].abs().max() > 0
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("gate", ["entropy", "random"])
def test_padding_passes_no_gate_and_weighs_nothing_where_it_must(tiny_cell, gate: str) -> None:
    def build(share: float) -> EBTModule:
        arm = EBTArm(
            name="e",
            alpha=2.0,
            start="head",
            steps=1,
            parametrisation="mirror",
            graph="all",
            gate=gate,
            gate_share=share,
        )
        torch.manual_seed(0)
        cell = tiny_cell(arm, Addition(name="addition", min_digits=2, max_digits=4))
        return EBTModule(cell, build_task(cell.task))

    module = build(0.3)
    batch = collate([module.task.problem("train", 0, i) for i in range(16)], module.task.pad)
    assert not batch.supervised_BM.all()
    context = module.observe(batch)
    start_BMV = torch.zeros(
        *batch.targets_BM.shape, module.task.vocabulary
    )  # padding as uncertain as the rest
    assert context.start_BMV is not None
    index_BN = module.let_through(start_BMV, batch)
    assert batch.supervised_BM.gather(1, index_BN).all()
    # At nine tenths short problems have too few positions of their own: padding gets in, and weighs nothing.
    found = []
    for filler in (0, 5):
        module = build(0.9)
        targets = torch.where(batch.supervised_BM, batch.targets_BM, filler)
        figures, _ = module.backpropagate(replace(batch, targets_BM=targets))
        gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
        found.append((figures["loss"], figures["first_loss"], gradients))
    for a, b in zip(*found, strict=True):
        assert a.equal(b)
