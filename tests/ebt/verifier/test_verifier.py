"""The verifier arm: its stages, its costs, and what it answers with."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from arena.config import Addition, ConfigError, Size, Text
from arena.data import Problems, collate, held_out
from arena.rollout import score
from arena.seeding import seed_everything
from arena.tasks import build_task
from ebt.verifier import cost as verifier_cost
from ebt.verifier.config import VerifierArm
from ebt.verifier.module import VERIFY, VerifierModule
from tests.conftest import quiet_trainer
from tests.counting import counted

ADDITION = Addition(name="addition", min_digits=1, max_digits=2, batch=16)
RULES = ("majority", "likelihood", "energy", "joint", "oracle")


@pytest.fixture
def make(tiny_cell) -> Callable[..., VerifierModule]:
    def build(task=ADDITION, *, flops: float = 2e8, size: Size | None = None, **changes) -> VerifierModule:
        arm = VerifierArm(**{"name": "ebt_verifier", "samples": [2, 4], **changes})
        cell = tiny_cell(arm, task, flops=flops, **({"size": size} if size else {}))
        cell.validate()
        seed_everything(cell.seed)
        return VerifierModule(cell, build_task(task))

    return build


def fit(module: VerifierModule) -> VerifierModule:
    data = Problems(module.task, seed=0, batch=module.cell.task.batch, problems=8)
    quiet_trainer().fit(module, train_dataloaders=data.train_dataloader())
    return module


def problems(module: VerifierModule, count: int = 12):
    """Distinct ones of both severities."""
    halves = [held_out(module.task, "val", count // 2, severity) for severity in (0, 1)]
    return [problem for half in halves for problem in half]


def test_two_stages_share_the_budget_and_the_second_leaves_the_start_alone(make):
    module = make(flops=4e8, warm_start=0.25)
    seen: list[dict[str, torch.Tensor]] = []
    step = module.contrast_step

    def watched(problems) -> None:
        if not seen:
            seen.append({k: v.clone() for k, v in module.state_dict().items()})
            for key, weight in module.model.backbone.state_dict().items():
                assert torch.equal(weight, module.residual.backbone.state_dict()[key])
        step(problems)

    module.contrast_step = watched
    fit(module)
    assert module.stage == VERIFY
    assert module.flops_spent <= 4e8
    assert 0.2 * 4e8 < module.flops_by["train"] <= 0.25 * 4e8
    assert module.flops_by["sample"] > 0
    assert module.flops_by["contrast"] > module.flops_by["sample"]
    after = module.state_dict()
    changed = {key.split(".")[0] for key, value in after.items() if not torch.equal(value, seen[0][key])}
    assert changed == {"residual"}
    gap = module.history.columns(1000)["energy_gap"]
    early, late = ([g for g in part if g is not None] for part in (gap[:-5], gap[-5:]))
    assert sum(late) / len(late) > early[0]
    assert module.reward_queries == 0


@pytest.mark.parametrize("negatives", [1, 3])
def test_a_whole_run_costs_what_is_booked(make, negatives):
    module = make(flops=1.5e9, negatives=negatives, size=Size(name="b", layers=3, heads=2, width=32, lr=1e-3))
    actual = counted(lambda: fit(module))
    assert module.contrasts > 2
    assert module.flops_spent == pytest.approx(actual, rel=0.02)
    assert module.flops_spent <= module.cell.budget.flops


def test_answering_costs_what_is_said(make):
    module = make()
    module.contrasts = 1
    some = problems(module)
    for effort in module.efforts():
        found = []
        actual = counted(lambda effort=effort, found=found: found.append(module.solve(some, effort)))
        assert found[0].flops == pytest.approx(actual, rel=0.02)


@pytest.mark.parametrize("task", [ADDITION, Text(name="text", context=12, batch=3)], ids=lambda t: t.name)
def test_the_plan_knows_parameters_and_the_smallest_budget(make, task):
    for share in (0.2, 0.8):
        module = make(task, warm_start=share)
        total, inner = verifier_cost.parameters(module.cell, module.task)
        assert total == sum(p.numel() for p in module.parameters())
        assert inner == module.non_embedding_parameters()
        least = verifier_cost.minimum_flops(module.cell, module.task)
        own = fit(make(task, warm_start=share, flops=1.001 * least))
        assert own.flops_spent <= 1.001 * least
        assert own.flops_by["train"] <= share * 1.001 * least
        assert own.contrasts > 0


def test_every_rule_chooses_from_the_same_samples(make):
    module = make().eval()
    with torch.no_grad():
        module.residual.head.weight *= 3  # energies as large as log-probabilities: the rules disagree
    some = problems(module)
    drawn = {k: module.draw(some, k, "solve", "key").completions for k in (2, 4)}
    groups = [drawn[4][i : i + 4] for i in range(0, len(drawn[4]), 4)]
    assert [g[:2] for g in groups] == [drawn[2][i : i + 2] for i in range(0, len(drawn[2]), 2)]
    repeated = [p for p in some for _ in range(4)]
    logp_BM, _ = score(module.model, collate(repeated, module.task.pad, drawn[4]))
    logp = logp_BM.sum(1).reshape(len(some), 4)
    answers = {rule: module.solve(some, f"{rule}@4", ("key",)) for rule in RULES}
    for row, (problem, group) in enumerate(zip(some, groups, strict=True)):
        alone = [module.energies([problem.prompt + c])[0].item() for c in group]
        assert answers["energy"].completions[row] == group[alone.index(min(alone))]
        assert answers["likelihood"].completions[row] == group[int(logp[row].argmax())]
        joint = logp[row].detach() - torch.tensor(alone)
        assert answers["joint"].completions[row] == group[int(joint.argmax())]
        votes = [group.count(c) for c in group]
        assert answers["majority"].completions[row] == group[votes.index(max(votes))]
    assert answers["energy"].flops > answers["likelihood"].flops == answers["majority"].flops
    assert len({tuple(answers[rule].completions) for rule in ("energy", "likelihood", "joint")}) == 3


def test_the_oracle_finds_a_right_sample_if_there_is_one(make, monkeypatch):
    module = make().eval()
    some = problems(module)
    groups = module.draw(some, 4, "solve").completions
    wanted = {p.prompt: groups[4 * i + (i % 5)] if i % 5 < 4 else () for i, p in enumerate(some)}
    right = type(module.task).verify

    def verify(self, problem, completion):
        verdict = right(self, problem, completion)
        return dataclasses.replace(verdict, correct=completion == wanted[problem.prompt])

    monkeypatch.setattr(type(module.task), "verify", verify)
    chosen = module.solve(some, "oracle@4").completions
    for i, (problem, completion) in enumerate(zip(some, chosen, strict=True)):
        assert (completion == wanted[problem.prompt]) == (i % 5 < 4)


def test_the_likelihood_is_the_starts_and_the_energy_answers_only_once_trained(make):
    module = make(flops=3e8)
    assert module.efforts() == ("greedy",)
    fit(module).eval()
    assert module.efforts() == ("greedy", *(f"{rule}@{k}" for k in (2, 4) for rule in RULES))
    batch = collate(problems(module), module.task.pad)
    logp_BM, _ = score(module.model, batch)
    torch.testing.assert_close(module.evaluate(batch).nats_B, -logp_BM.sum(1).detach())


def test_windows_of_text_are_answers_too(make):
    module = fit(make(Text(name="text", context=12, batch=3), flops=4e8))
    assert module.contrasts > 0


def test_sixteen_bits_train(make):
    module = make(flops=2e8)
    data = Problems(module.task, seed=0, batch=16, problems=8)
    quiet_trainer("bf16-mixed").fit(module, train_dataloaders=data.train_dataloader())
    assert module.contrasts > 0
    assert all(p.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warm_start": 0.0}, "arm.warm_start=0.0: a share"),
        ({"warm_start": 1.0}, "use arm=transformer"),
        ({"negatives": 0}, "arm.negatives=0: at least 1"),
        ({"samples": [1, 4]}, "arm.samples=[1, 4]: of one sample there is nothing to select"),
        ({"samples": []}, "arm.samples=[]"),
        ({"samples": [16, 4]}, "arm.samples=[16, 4]: give each number once, in rising order"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used_are_named(changes, message):
    with pytest.raises(ConfigError) as error:
        VerifierArm(**{"name": "ebt_verifier", **changes}).validate()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("effort", ["energy@1", "energy", "charm@4", "greedy@4"])
def test_an_effort_that_is_none_is_an_error(make, effort):
    module = make()
    with pytest.raises(ValueError, match=f"effort={effort}: choose greedy, sample, or RULE@K"):
        module.solve(problems(module), effort)
