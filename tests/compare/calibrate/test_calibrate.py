"""The calibration counts what it says, through the analysis of every experiment."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from compare.calibrate import __main__ as calibrate
from compare.calibrate import planted, planted_ceiling, scenarios
from compare.calibrate.planted_ceiling import Course
from compare.stats.rl_history import rl_trace


def test_a_bar_is_held_missed_or_not_told_apart() -> None:
    check = calibrate.Check(name="x", bar=(0.93, 0.97))
    assert check.word == "not told apart"  # nothing was counted
    for hit in [True] * 19 + [False]:
        check = check.count(hit)
    assert (check.hits, check.of, check.rate, check.word) == (19, 20, 0.95, "held")
    # Clopper and Pearson for 19 of 20, from tables.
    assert check.interval == pytest.approx((0.7513, 0.9987), abs=1e-4)
    # 19 of 22: 0.6509 to 0.9709 still reaches the bar. 19 of 25 ends at 0.9064, and does not.
    assert check.count(False).count(False).word == "not told apart"
    assert replace(check, of=25).word == "missed"
    # 500 of 500 begins at 0.9926: more than the bar allows is missed as well.
    assert replace(check, hits=500, of=500).word == "missed"


@pytest.mark.parametrize(("word", "status"), [("held", 0), ("not told apart", 1), ("missed", 1)])
def test_whatever_is_not_held_is_an_error(
    word: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = {"held": 4, "not told apart": 6, "missed": 20}[word]
    check = calibrate.Check(name="x", bar=(0.0, 0.05), hits=hits, of=100)
    monkeypatch.setattr(calibrate, "calibrate", lambda *_, **__: [check])
    assert calibrate.main([]) == status
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["held"] == (word == "held")
    assert summary["checks"][0]["word"] == word


def test_differences_are_counted_many_times() -> None:
    cheap = [s for s, (_, times) in enumerate(scenarios.SCENARIOS) if times == scenarios.CHEAP]
    names = [name for s in cheap for name, _, _ in scenarios.one((s, 0, 0, 50))]
    assert "false alarm of final_loss alone, A/A" in names
    assert "interval of final_error, 3 seeds" in names
    assert not any("exponent" in name or "multiplier" in name for name in names)


def test_planted_truths_by_hand() -> None:
    base = planted.Truth()
    assert base.compute(base.loss(3e11)) == pytest.approx(3e11)
    assert planted.log_multiplier(base.with_multiplier(1.1), base) == pytest.approx(math.log(1.1))
    assert base.exact(base.middle) == pytest.approx(0.4)


def test_a_planted_ceiling_by_hand() -> None:
    for relation in ("law", "linear"):
        entropy, reward = Course(relation=relation, end=0.0).both()
        assert (entropy[0], entropy[-1]) == pytest.approx((1.2, 0.0))
        assert (reward[0], reward[-1]) == pytest.approx((0.15, 0.7))
    _, saturating = Course(relation="saturating").both()
    assert saturating[-1] == pytest.approx(0.7, abs=1e-3)
    # Through the records of a study: rewards in pairs, and noise that goes against that of entropy.
    evidence = planted_ceiling.study(Course(entropy_noise=0.1), np.random.default_rng(0), seeds=2)
    traces = [rl_trace(run.record.history) for run in evidence.runs if run.record.history]
    assert len(traces) == 4
    lift = np.mean([traces[1].reward_T - traces[0].reward_T, traces[3].reward_T - traces[2].reward_T])
    assert lift == pytest.approx(planted_ceiling.LIFT, abs=0.005)
    entropy, reward = Course().both()
    shock, noise = traces[0].entropy_T / entropy - 1, traces[0].reward_T - reward
    assert float(shock.std()) == pytest.approx(0.1, rel=0.1)
    assert np.corrcoef(shock, noise)[0, 1] == pytest.approx(-planted_ceiling.TOGETHER, abs=0.1)


@pytest.mark.parametrize("relation", ["linear", "saturating"])
def test_a_ceiling_of_the_wrong_law_is_withheld(relation: str) -> None:
    outcomes = scenarios.ceiling(np.random.default_rng(0), 100, course=Course(relation=relation), what="x")
    assert [(name, hit) for name, _, hit in outcomes] == [
        ("ceiling wrong and not withheld, x", False),
        ("above_ceiling wrong and not withheld, x", False),
    ]


@pytest.mark.slow
def test_the_machinery_holds_at_a_reduced_count() -> None:
    checks = calibrate.calibrate(10, draws=200)
    assert len(checks) > 15
    for check in checks:
        low, high = check.interval
        # Ten studies cannot refute a bar that is held; they do refute intervals of half their width.
        assert low <= check.bar[1], check
        assert high >= check.bar[0], check


def test_a_verdict_on_what_cannot_be_resolved_is_never_given() -> None:
    outcomes = list(scenarios.unresolved(np.random.default_rng(0), 100))
    assert [name for name, _, _ in outcomes] == [
        "a verdict on flat curves",
        "a verdict on two budgets",
        "a verdict on a single seed",
    ]
    assert not any(hit for _, _, hit in outcomes)


def test_a_count_that_cannot_be_used_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.main(["--studies", "0"]) == 2
    assert "--studies 0: must be at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_count_as_the_command_is_called() -> None:
    command = [sys.executable, "-m", "compare.calibrate", "--studies", "1", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout.splitlines()[-1])["studies"] == 1, done.stderr
