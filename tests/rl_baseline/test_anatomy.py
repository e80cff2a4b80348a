"""Where entropy sits and where samples go wrong, on records small enough to count by hand."""

import pytest
import torch

from arena.config import Addition
from arena.rollout import Rollout
from arena.tasks import build_task
from arena.tasks.base import Problem
from arena.token_classes import EXECUTE, FORMAT, PLAN
from rl_baseline.anatomy import LEVELS, by_place, departure, survey
from rl_baseline.config import RLArm
from rl_baseline.credit import CLASSES, class_table
from rl_baseline.probe import Probe

PROBLEM = Problem(prompt=(1,), chain=(2, 3, 9), answer=(4, 0), classes=(PLAN, EXECUTE, FORMAT))
SAMPLES = [(2, 3, 9, 4, 0), (2, 5, 9, 4, 0), (7, 3, 9, 6, 0), (2, 3, 9, 8), (9, 0)]
ENTROPY = torch.tensor(
    [
        [0.9, 0.1, 0.0, 0.2, 0.0],
        [0.7, 0.3, 0.0, 0.4, 0.0],
        [0.5, 0.5, 0.0, 0.0, 0.0],
        [0.1, 0.1, 0.2, 0.6, 0.0],
        [0.8, 0.05, 0.0, 0.0, 0.0],
    ],
    dtype=torch.float64,
)


def rollout() -> Rollout:
    mask = torch.arange(5) < torch.tensor([len(s) for s in SAMPLES])[:, None]
    return Rollout(
        completions=SAMPLES,
        logp_BT=torch.zeros(5, 5),
        entropy_BT=ENTROPY.masked_fill(~mask, 0.0),
        mask_BT=mask,
        flops=0.0,
    )


def test_departures() -> None:
    assert [departure(PROBLEM, s) for s in SAMPLES] == [5, 1, 0, 3, 0]


def test_errors_are_first_departures_over_tokens_that_got_there() -> None:
    classes = class_table([PROBLEM] * 5, SAMPLES)
    assert classes is not None
    found = {k: round(v.item(), 6) for k, v in by_place(rollout(), [PROBLEM] * 5, classes).items()}
    # The first tokens: 5 asked, samples 2 and 4 wrong. The second: 3 asked, sample 1 wrong.
    assert found["error_plan"] == found["error_plan_0"] == 0.4
    assert found["error_execute"] == found["error_execute_1"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["error_format"] == 0
    # Answers: samples 0 (two tokens) and 3 (one, wrong).
    assert found["error_answer"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["entropy_plan_0"] == pytest.approx((0.9 + 0.7 + 0.5 + 0.1 + 0.8) / 5)
    # Sample 4 left the chain's form at its first token: its second has no class.
    assert found["entropy_execute_1"] == pytest.approx((0.1 + 0.3 + 0.5 + 0.1) / 4)
    placed = [name for name in found if name[-1].isdigit()]
    assert sorted(placed) == ["entropy_execute_1", "entropy_plan_0", "error_execute_1", "error_plan_0"]


def test_a_place_that_no_faultless_sample_reaches_has_an_entropy_but_no_error() -> None:
    one = [(7, 3, 9, 4, 0)]
    classes = class_table([PROBLEM], one)
    assert classes is not None
    alone = Rollout(
        completions=one,
        logp_BT=torch.zeros(1, 5),
        entropy_BT=ENTROPY[:1],
        mask_BT=torch.ones(1, 5, dtype=torch.bool),
        flops=0.0,
    )
    found = by_place(alone, [PROBLEM], classes)
    assert "entropy_execute_1" in found
    assert not {"error_execute_1", "error_execute", "error_answer"} & set(found)
    assert all(torch.isfinite(v) for v in found.values())


def test_survey_by_hand() -> None:
    one = rollout()
    classes = class_table([PROBLEM] * 5, SAMPLES)
    found = {k: v.item() for k, v in survey(one.entropy_BT, one.mask_BT, classes).items()}
    # 21 tokens; the fifth is 5 of them: .9, .8, .7, .6 and the first of the two .5.
    assert found["tokens_above_0.5"] == pytest.approx(4 / 21)
    assert found["tokens_above_0.01"] == pytest.approx(14 / 21)
    assert found["tokens_above_3"] == 0
    assert found["entropy_in_forks"] == pytest.approx(3.5 / one.entropy_BT.sum().item())
    assert found["tokens_plan"] == pytest.approx(5 / 21)
    assert found["forks_plan"] == pytest.approx(4 / 5)
    assert found["forks_answer"] == pytest.approx(1 / 5)
    assert found["forks_execute"] == 0
    assert found["held_out_entropy_answer"] == pytest.approx((0.2 + 0 + 0.4 + 0 + 0 + 0 + 0.6) / 7)
    assert sum(found[f"tokens_{c}"] for c in CLASSES) == pytest.approx(20 / 21)  # one without a class
    above = [found[f"tokens_above_{level:g}"] for level in LEVELS]
    assert above == sorted(above, reverse=True)


def test_a_survey_without_classes_or_entropy_is_finite() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    found = survey(torch.zeros(2, 3), mask, None)
    assert set(found) == {*(f"tokens_above_{level:g}" for level in LEVELS), "entropy_in_forks"}
    assert not any(v.item() for v in found.values())


def test_the_probe_of_a_task_with_chains_knows_its_classes(make) -> None:
    module = make(RLArm(name="rl", probe=10, probe_samples=4), 1e9)
    task = build_task(Addition(name="chain", min_digits=2, max_digits=2, chain=True))
    found = Probe(module.cell, task, module.arm).take(module.model)
    assert {"tokens_execute", "forks_execute", "held_out_entropy_execute"} <= set(found)
    assert "tokens_plan" not in found
    assert 0 < found["tokens_execute"] < 1
    assert 0.2 < found["entropy_in_forks"] < 1
