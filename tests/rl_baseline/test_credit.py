"""Which tokens learn, and by how much."""

from dataclasses import replace

import pytest
import torch

from arena.config import Addition
from arena.tasks import build_task
from arena.tasks.base import Problem
from arena.token_classes import ANSWER, EXECUTE, FORMAT, PLAN
from rl_baseline.config import RLArm
from rl_baseline.credit import CLASSES, class_table, placebo, plan_bonus, token_classes, top
from tests.rl_baseline.cases import generator, make_samples, random_case, value_and_gradient, whole

H = torch.tensor([[0.1, 0.9, 0.3, 0.2, 0.8], [0.05, 0.6, 0.7, 9, 9]], dtype=torch.float64)
REAL = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.2, {0.9, 0.8}), (0.1, {0.9}), (0.5, {0.9, 0.8, 0.6, 0.7})]
)
def test_t4_the_top_share_by_entropy(share: float, expected: set[float]) -> None:
    assert set(H[top(H, REAL, share)].tolist()) == expected


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4, 0.7])
@pytest.mark.parametrize("tokens", [1, 5, 10, 15, 50, 1000])
def test_the_number_is_exact_however_equal_the_scores(share: float, tokens: int) -> None:
    mask = torch.ones(1, tokens, dtype=torch.bool)
    expected = -(-round(share * 10) * tokens // 10)
    assert top(torch.ones(1, tokens), mask, share).sum() == expected
    assert top(torch.rand(1, tokens, generator=generator()), mask, share).sum() == expected


def test_rounding_adds_no_token() -> None:
    """In fp32 .008 x 375 is a little more than 3."""
    assert (0.008 * torch.tensor(375)).ceil() == 4
    assert top(torch.ones(1, 375), torch.ones(1, 375, dtype=torch.bool), 0.008).sum() == 3


def test_nothing_is_selected_of_nothing() -> None:
    assert not top(H, torch.zeros_like(REAL), 0.2).any()


FORKING = RLArm(name="f", credit="top_entropy", credit_share=0.4)


@pytest.mark.parametrize(("denominator", "expected"), [("selected", -2.0), ("all", -0.8)])
def test_t4_the_denominator_is_explicit(denominator: str, expected: float) -> None:
    arm = replace(FORKING, credit_denominator=denominator)
    old, advantages = torch.full((1, 5), -1.0).double(), torch.full((1, 5), 2.0).double()
    value, gradient, metrics = value_and_gradient(arm, old, make_samples(old, advantages), entropy=H[:1])
    assert value.item() == pytest.approx(expected, abs=1e-6)
    kept = [0, 1, 0, 0, 1]
    assert gradient[0].tolist() == pytest.approx([expected / 2 * k for k in kept], abs=1e-6)
    assert metrics["credited"].item() == pytest.approx(0.4)


def test_the_bottom_is_what_the_top_leaves_over() -> None:
    logp, samples = random_case(6)
    entropy = torch.rand(6, 5, generator=generator(1))
    high, low = (
        whole(RLArm(name="c", credit=credit, credit_share=share), logp, samples, entropy=entropy)[2].kept_BT
        for credit, share in (("top_entropy", 0.2), ("bottom_entropy", 0.8))
    )
    assert torch.equal(high | low, samples.mask_BT)
    assert not (high & low).any()
    assert entropy[high].min() > entropy[low].max()


def test_random_tokens_are_as_many_as_the_top_and_follow_the_generator() -> None:
    logp, samples = random_case(6)
    arm = RLArm(name="c", credit="random", credit_share=0.2)
    one, again, other = (whole(arm, logp, samples, seed=seed)[2].kept_BT for seed in (0, 0, 1))
    assert one.sum() == other.sum() == -(-samples.mask_BT.sum() // 5)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not (one & ~samples.mask_BT).any()


def test_t11_planning_tokens_get_more() -> None:
    found = plan_bonus(torch.tensor([0.75, -0.25, 0.75]), torch.tensor([True, True, False]), 0.2)
    assert found.tolist() == pytest.approx([0.9, -0.2, 0.75], abs=1e-6)


@pytest.mark.parametrize("credit", ["hicra", "hicra_placebo"])
def test_hicra_and_its_placebo_raise_as_many_tokens_of_each_sample(credit: str) -> None:
    logp, samples = random_case(7)
    arm = RLArm(name="h", credit=credit, credit_alpha=0.2)
    _, _, step = whole(arm, logp, samples)
    planning = samples.planning_BT & samples.mask_BT
    raised = step.samples.advantages_BT != samples.advantages_BT
    assert torch.equal(raised.sum(1), planning.sum(1))
    assert torch.equal(raised, planning) == (credit == "hicra")
    assert torch.equal(step.kept_BT, samples.mask_BT)
    difference = step.samples.advantages_BT - samples.advantages_BT
    torch.testing.assert_close(difference[raised], 0.2 * samples.advantages_BT[raised].abs())


def test_the_placebo_is_uniform_over_a_samples_real_tokens() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]], dtype=torch.bool)
    marked = torch.tensor([[1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    draw = generator(0)
    counts = sum(placebo(marked, mask, draw).float() for _ in range(4000))
    assert isinstance(counts, torch.Tensor)
    assert counts[0, 4:].sum() == 0
    assert counts[0, :4].tolist() == pytest.approx([1000] * 4, abs=120)


# plan plan | execute execute | = ; 8 separates, 9 opens the answer.
CHAIN = Problem(
    prompt=(1,),
    chain=(3, 4, 8, 5, 6, 9),
    answer=(7, 0),
    classes=(PLAN, PLAN, FORMAT, EXECUTE, EXECUTE, FORMAT),
)
P, E, F, A = (CLASSES.index(c) for c in (PLAN, EXECUTE, FORMAT, ANSWER))


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ((3, 4, 8, 5, 6, 9, 7, 0), [P, P, F, E, E, F, A, A]),
        ((4, 3, 8, 6, 5, 9, 1, 2, 3), [P, P, F, E, E, F, A, A, A]),  # other values, the same structure
        ((3, 4, 8, 5), [P, P, F, E]),  # cut off
        ((3, 8, 5, 6, 9, 7), [P, P, -1, -1, -1, -1]),  # the plan is a token short
        ((3, 4, 5, 8, 6, 9), [P, P, F, -1, -1, -1]),  # a token long
        ((3, 4, 9, 5, 6, 9), [P, P, F, -1, -1, -1]),  # another mark in its place
        ((), []),
    ],
)
def test_classes_hold_while_a_sample_keeps_the_chains_structure(completion, expected) -> None:
    assert token_classes(CHAIN, completion) == expected


def test_without_a_chain_everything_is_answer_and_no_table_is_made() -> None:
    plain = Problem(prompt=(1,), answer=(7, 0))
    assert token_classes(plain, (7, 3, 0)) == [A, A, A]
    assert class_table([plain], [(7, 0)]) is None


def test_the_table_pads_with_none() -> None:
    assert class_table([CHAIN, CHAIN], [(3, 4, 8), (3,)]).tolist() == [[P, P, F], [P, -1, -1]]


def test_the_tasks_own_completions_have_the_tasks_own_classes() -> None:
    task = build_task(Addition(name="addition_chain", chain=True))
    for index in range(20):
        problem = task.problem("train", 0, index)
        found = [CLASSES[i] for i in token_classes(problem, problem.completion)]
        assert tuple(found) == (*problem.classes, *([ANSWER] * len(problem.answer)))
