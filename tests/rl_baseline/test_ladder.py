"""The ladder of a policy: one of k own samples, chosen by a rule, drawn once and charged alone."""

import dataclasses

import pytest
import torch

from arena import selection
from arena.config import ConfigError
from arena.data import collate, held_out
from arena.rollout import score
from arena.supervised import Samples
from arena.tasks.base import Problem
from rl_baseline.config import RLArm, TransformerArm
from tests.counting import counted

LADDER = ["majority@2", "likelihood@2", "majority@6", "likelihood@6", "oracle@6"]
ARM = TransformerArm(name="transformer", ladder=LADDER)


def problems(module, count: int = 12) -> list[Problem]:
    """Distinct ones of both severities, whose prompts differ in length."""
    halves = [held_out(module.task, "val", count // 2, severity) for severity in (0, 1)]
    return [problem for half in halves for problem in half]


def test_the_ladder_comes_after_the_efforts_that_always_were(make):
    assert make(TransformerArm(name="t"), 1e9).efforts() == ("greedy", "sample")
    assert make(ARM, 1e9).efforts() == ("greedy", "sample", *LADDER)
    assert make(RLArm(name="rl", ladder=LADDER), 1e9).efforts() == ("greedy", "sample", *LADDER)


def test_every_rule_chooses_from_the_same_samples(make):
    module = make(ARM, 1e9).eval()
    some = problems(module)
    drawn = module.draw(some, 6, "solve", "key").completions
    groups = [drawn[6 * i : 6 * i + 6] for i in range(len(some))]
    repeated = [p for p in some for _ in range(6)]
    logp_BM, _ = score(module.model, collate(repeated, module.task.pad, drawn))
    logp = logp_BM.sum(1).reshape(len(some), 6)
    found = module.answers(some, ("key",))
    assert list(found) == list(module.efforts())
    for k in (2, 6):
        for row, group in enumerate(groups):
            assert found[f"likelihood@{k}"].completions[row] == group[int(logp[row, :k].argmax())]
            votes = [group[:k].count(c) for c in group[:k]]
            assert found[f"majority@{k}"].completions[row] == group[votes.index(max(votes))]
    assert found["sample"].completions == [group[0] for group in groups]
    assert found["majority@6"].completions != found["likelihood@6"].completions


def test_what_is_shared_is_what_each_effort_would_have_found_alone_and_costs_as_much(make):
    module = make(ARM, 1e9).eval()
    some = problems(module)
    for effort, shared in module.answers(some, ("key",)).items():
        found = []
        actual = counted(
            lambda effort=effort, found=found: found.append(module.solve(some, effort, ("key",)))
        )
        assert found[0].completions == shared.completions
        assert shared.flops == found[0].flops == pytest.approx(actual, rel=0.02)


def test_the_longest_of_the_samples_that_count_decides_the_cost(make):
    """A step is computed for all sequences until the last has ended; those left out cost nothing."""
    module = make(ARM, 1e9)
    some = [p for p in problems(module) if not p.severity][:2]
    prompt = max(len(p.prompt) for p in some)
    drawn = Samples(
        problems=some,
        completions=[[(1, 13), (1, 2, 3, 4, 13)], [(1, 2, 13), (13,)]],
        nats=[[0.0, 0.0], [0.0, 0.0]],
        shape=module.model.shape,
    )
    cost = module.model.shape.sample
    assert drawn.flops == cost(sequences=4, prompt=prompt, steps=5, group=2)
    assert drawn.first(1).flops == cost(sequences=2, prompt=prompt, steps=3, group=1)


def test_the_oracle_finds_a_right_sample_if_there_is_one(make, monkeypatch):
    module = make(ARM, 1e9).eval()
    some = problems(module)
    drawn = module.draw(some, 6, "solve").completions
    wanted = {p.prompt: drawn[6 * i + i % 7] if i % 7 < 6 else () for i, p in enumerate(some)}
    right = type(module.task).verify

    def verify(self, problem, completion):
        return dataclasses.replace(
            right(self, problem, completion), correct=completion == wanted[problem.prompt]
        )

    monkeypatch.setattr(type(module.task), "verify", verify)
    chosen = module.solve(some, "oracle@6").completions
    for i, (problem, completion) in enumerate(zip(some, chosen, strict=True)):
        assert (completion == wanted[problem.prompt]) == (i % 7 < 6)


def test_chains_that_lead_to_one_answer_vote_together():
    problem = Problem(prompt=(1,), chain=(7, 12), answer=(3, 13))
    completions = [(5, 12, 4, 13), (7, 12, 3, 13), (6, 12, 3, 13), (3, 13), (4, 13), (9, 9)]
    votes = [selection.answer(problem, c) for c in completions]
    assert votes == [(4, 13), (3, 13), (3, 13), (3, 13), (4, 13), (9, 9)]
    assert selection.majority(votes) == 1
    assert selection.answer(Problem(prompt=(1,), answer=(3, 13)), (5, 12, 4)) == (5, 12, 4)


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        (["majority@1"], "arm.ladder=['majority@1']: majority@1 is no effort; write majority@8"),
        (["energy@4"], "energy@4 is no effort"),
        (["majority"], "majority is no effort"),
        (["think_2"], "think_2 is no effort"),
        (["oracle@4", "oracle@4"], "an effort stands there twice"),
    ],
    ids=str,
)
@pytest.mark.parametrize("arm", [TransformerArm, RLArm])
def test_a_ladder_that_cannot_be_climbed_is_named(arm, ladder, message):
    with pytest.raises(ConfigError) as error:
        arm(name="a", ladder=ladder).validate()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_ladder_changes_no_training(make, trainer):
    parameters = []
    for arm in (ARM, TransformerArm(name="transformer")):
        module = make(arm, 2e8)
        runner, data = trainer(module)
        runner.fit(module, data)
        parameters.append([p.detach().clone() for p in module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*parameters, strict=True))
