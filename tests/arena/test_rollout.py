import dataclasses

import numpy
import pytest
import torch
import torch.nn.functional as F

from arena.config import Addition
from arena.data import collate
from arena.decoder import BLOCK, SHARED_FROM, CopiedPrompt, SharedPrompt
from arena.policy import TransformerPolicy
from arena.rollout import Rollout, sample, score, sequence_seeds, uniforms
from arena.tasks import build_task
from arena.tasks.base import Problem, Task


@pytest.fixture(params=[(3, 4), (7, 8)], ids=["short", "long"])
def task(request: pytest.FixtureRequest) -> Task:
    """Prompts of 8 and 10 tokens, of which each sequence keeps a copy, or of 16 and 18, shared by groups."""
    low, high = request.param
    task = build_task(Addition(name="addition", min_digits=low, max_digits=high))
    assert (task.longest()[0] >= SHARED_FROM) == (low == 7)
    return task


def problems(task: Task, count: int) -> list[Problem]:
    """Training problems; prompts of two lengths."""
    chosen = [task.problem("train", 0, index) for index in range(count)]
    assert len({len(p.prompt) for p in chosen}) == 2
    return chosen


def draw(
    model: TransformerPolicy, task: Task, chosen: list[Problem], *, group: int = 1, **changes
) -> Rollout:
    prompts = [p.prompt for p in chosen]
    seeds = sequence_seeds(prompts, group, "test")
    return sample(model, task, prompts, **{"length": 6, "group": group, "seeds": seeds} | changes)


def uncached(model: TransformerPolicy, task: Task, prompt: tuple[int, ...], choose) -> tuple[int, ...]:
    """One sequence, the whole prefix anew for each token."""
    tokens = list(prompt)
    for step in range(6):
        hidden, _ = model(torch.tensor([tokens]))
        tokens.append(choose(model.logits(hidden[0, -1]), step))
        if tokens[-1] == task.end:
            break
    return tuple(tokens[len(prompt) :])


@pytest.mark.parametrize(("temperature", "block"), [(1.0, BLOCK), (0.7, BLOCK), (1.0, 4)])
def test_sampled_log_probabilities_and_entropies_are_those_of_one_full_pass(
    model, task, temperature, block, monkeypatch
):
    monkeypatch.setattr("arena.decoder.BLOCK", block)  # six tokens: within one block, or over two
    chosen = problems(task, 12)
    rollout = draw(model, task, chosen, group=4, temperature=temperature)
    repeated = [p for p in chosen for _ in range(4)]
    batch = collate(repeated, task.pad, rollout.completions)
    logp, entropy = score(model, batch, temperature)
    assert torch.equal(rollout.mask_BT, batch.supervised_BM)
    assert rollout.mask_BT.sum(1).unique().numel() > 1
    torch.testing.assert_close(rollout.logp_BT, logp, rtol=0, atol=1e-5)
    torch.testing.assert_close(rollout.entropy_BT, entropy, rtol=0, atol=1e-5)


def test_entropy_is_that_of_the_whole_distribution_at_temperature_one(model, task):
    chosen = problems(task, 6)
    rollout = draw(model, task, chosen, temperature=0.5)
    for row, (problem, completion) in enumerate(zip(chosen, rollout.completions, strict=True)):
        hidden, _ = model(torch.tensor([problem.prompt + completion]))
        for step in range(len(completion)):
            p = model.logits(hidden[0, len(problem.prompt) + step - 1]).double().softmax(-1)
            assert rollout.entropy_BT[row, step].item() == pytest.approx(
                -(p * p.log()).sum().item(), abs=1e-5
            )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_cache_changes_no_token(model, task, temperature):
    chosen = problems(task, 6)
    rollout = draw(model, task, chosen, temperature=temperature)
    numbers = uniforms(sequence_seeds([p.prompt for p in chosen], 1, "test"), 6)
    for row, problem in enumerate(chosen):

        def choose(logits, step, row=row):
            if temperature == 0:
                return int(logits.argmax())
            cumulative = logits.softmax(-1).cumsum(-1)
            return int((cumulative <= numbers[row, step] * cumulative[-1]).sum())

        assert rollout.completions[row] == uncached(model, task, problem.prompt, choose)


def test_greedy_tokens_are_the_most_probable_under_teacher_forcing(model, task):
    chosen = problems(task, 8)
    rollout = draw(model, task, chosen, temperature=0.0, seeds=None)
    batch = collate(chosen, task.pad, rollout.completions)
    hidden, _ = model(batch.tokens_BS)
    best = model.logits(hidden).argmax(-1).gather(1, batch.positions_BM)
    assert torch.equal(best[batch.supervised_BM], batch.targets_BM[batch.supervised_BM])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_sequence_does_not_depend_on_the_batch_it_is_sampled_in(model, task, temperature):
    chosen = problems(task, 10)
    together = draw(model, task, chosen, group=3, temperature=temperature)
    alone = [draw(model, task, [p], group=3, temperature=temperature) for p in chosen]
    assert together.completions == [c for rollout in alone for c in rollout.completions]
    backwards = draw(model, task, chosen[::-1], group=3, temperature=temperature)
    rows = numpy.arange(30).reshape(10, 3)[::-1].ravel()
    assert backwards.completions == [together.completions[i] for i in rows]


def test_a_prompt_shared_by_its_group_gives_what_repeated_prompts_give(model, task):
    chosen = problems(task, 6)
    shared = draw(model, task, chosen, group=5)
    seeds = sequence_seeds([p.prompt for p in chosen], 5, "test")
    repeated = draw(model, task, [p for p in chosen for _ in range(5)], seeds=seeds)
    assert shared.completions == repeated.completions
    torch.testing.assert_close(shared.logp_BT, repeated.logp_BT, rtol=0, atol=1e-5)
    assert shared.flops < repeated.flops


def test_samples_follow_the_model_distribution(model, task):
    problem = task.problem("train", 0, 0)
    rollout = draw(model, task, [problem], group=20_000, length=1)
    counts = torch.bincount(torch.tensor([c[0] for c in rollout.completions]), minlength=task.vocabulary)
    hidden, _ = model(torch.tensor([problem.prompt]))
    p = model.logits(hidden[0, -1]).softmax(-1)
    error = (p * (1 - p) / 20_000).sqrt()
    assert ((counts / 20_000 - p).abs() < 5 * error + 1e-4).all()


def test_temperature_sharpens(model, task):
    chosen = problems(task, 64)
    cold, warm = (draw(model, task, chosen, temperature=t) for t in (0.2, 1.0))
    assert cold.logp_BT.sum() > warm.logp_BT.sum()
    nearly_greedy = draw(model, task, chosen, temperature=1e-3)
    assert nearly_greedy.completions == draw(model, task, chosen, temperature=0.0).completions


def test_sampling_stops_when_every_sequence_has_ended(model, task):
    chosen = problems(task, 4)
    with torch.no_grad():  # tie the end token's logit to a feature that is always high
        model.backbone.norm.weight.zero_()
        model.head.weight.zero_()
    constant = F.one_hot(torch.tensor(task.end), task.vocabulary).float() * 50
    model.head.bias = torch.nn.Parameter(constant)
    rollout = draw(model, task, chosen)
    assert rollout.completions == [(task.end,)] * 4
    assert rollout.logp_BT.shape == (4, 1)


def test_without_an_end_token_every_completion_has_full_length(model, task):
    task.end = None
    assert {len(c) for c in draw(model, task, problems(task, 4)).completions} == {6}


def test_seeds_follow_key_prompt_occurrence_and_number_in_group():
    first, second = (1, 2), (1, 2, 3)
    seeds = sequence_seeds([first, second, first], 2, "key").reshape(3, 2)
    assert len(set(seeds.ravel().tolist())) == 6
    assert numpy.array_equal(seeds[1:2].ravel(), sequence_seeds([second], 2, "key"))
    assert numpy.array_equal(seeds[1, :1], sequence_seeds([second], 1, "key"))
    assert not set(seeds.ravel().tolist()) & set(sequence_seeds([first, second], 2, "other").tolist())


def test_uniforms_are_uniform():
    numbers = uniforms(sequence_seeds([(i,) for i in range(200)], 10, 0), 50)
    assert numbers.shape == (2000, 50)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, bins=20, min=0, max=1)
    chi_square = ((counts - 5000) ** 2 / 5000).sum()
    assert 5 < chi_square < 45  # 19 degrees of freedom
    rows, columns = numbers[1:] - 0.5, numbers[:-1] - 0.5
    assert (rows * columns).mean().abs() < 12**-1 * 4 / 100_000**0.5


def test_a_group_keeps_one_copy_of_a_long_prompt(model, task):
    prompts = [p.prompt for p in problems(task, 4)]
    caches = model.read(prompts, pad=task.pad, length=6, group=5).caches
    assert isinstance(caches[0], SharedPrompt if len(prompts[0]) >= SHARED_FROM else CopiedPrompt)


def test_missing_seeds_are_an_error(model, task):
    with pytest.raises(ValueError, match=r"temperature=1.0: need 4 seeds; take them from sequence_seeds"):
        draw(model, task, problems(task, 4), seeds=None)


def test_score_is_the_same_where_every_token_is_supervised(model, task):
    chosen = [Problem(prompt=(3,), answer=(1, 2, 4)), Problem(prompt=(5,), answer=(6, 7))]
    batch = collate(chosen, task.pad)
    assert batch.everywhere
    torch.testing.assert_close(
        score(model, batch), score(model, dataclasses.replace(batch, everywhere=False)), rtol=0, atol=1e-6
    )
