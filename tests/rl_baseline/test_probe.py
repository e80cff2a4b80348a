import itertools

import pytest

from arena.data import held_out
from rl_baseline.anatomy import LEVELS
from rl_baseline.config import RLArm
from rl_baseline.probe import Probe, pass_at_k, powers_of_two


@pytest.mark.parametrize(
    ("n", "correct", "k", "expected"), [(4, 1, 2, 0.5), (10, 3, 5, 0.916667), (256, 2, 128, 0.750980)]
)
def test_t9_pass_at_k(n: int, correct: int, k: int, expected: float) -> None:
    assert pass_at_k(n, correct, k) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("correct", [0, 1, 3, 6])
def test_pass_at_k_counts_the_subsets_that_hold_a_correct_sample(correct: int, k: int) -> None:
    subsets = list(itertools.combinations([True] * correct + [False] * (6 - correct), k))
    assert pass_at_k(6, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_powers_of_two() -> None:
    assert powers_of_two(1) == [1]
    assert powers_of_two(8) == [1, 2, 4, 8]
    assert powers_of_two(11) == [1, 2, 4, 8]


def test_the_probe_is_repeatable_and_agrees_with_a_count(make) -> None:
    module = make(RLArm(name="rl", probe=20, probe_samples=4), 1e9)
    probe = module.probe
    assert probe.problems == held_out(module.task, "val", 20)
    one, two = probe.take(module.model), Probe(module.cell, module.task, module.arm).take(module.model)
    assert one == two
    assert probe.take(module.model) == one  # later in the run, with the same random numbers
    # Addition without a chain has no classes of tokens.
    survey = {"entropy_in_forks", *(f"tokens_above_{level:g}" for level in LEVELS)}
    assert set(one) == {"pass_at_1", "pass_at_2", "pass_at_4", "probe_flops"} | survey
    assert 0 <= one["pass_at_1"] <= one["pass_at_2"] <= one["pass_at_4"] <= 1
    assert one["probe_flops"] > 0
    # A policy that completes every second of its samples correctly.
    answers = [p.completion for p in probe.problems for _ in range(4)]
    counts = probe._correct([(0,) if i % 2 else answer for i, answer in enumerate(answers)])
    assert counts == [2] * 20
    assert probe._mean(counts, 1) == 0.5
    assert probe._mean(counts, 2) == pytest.approx(1 - 1 / 6)


def test_when_a_probe_is_due(make) -> None:
    module = make(RLArm(name="rl", probe=2, probe_points=3), 1e9)
    probe = module.probe
    seen = []
    for share in (-0.01, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0):
        seen.append(probe.due(share))
        if seen[-1]:
            probe.take(module.model)
    assert seen == [True, False, False, True, False, False, False]  # the last is the caller's
    none = make(RLArm(name="rl", probe=0), 1e9).probe
    assert not none.due(0.5)
    assert none.take(module.model) == {}
