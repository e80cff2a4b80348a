"""The calibration counts what it says, through the analysis of every experiment."""

import math

import numpy as np
import pytest

from compare import calibrate, planted


def test_a_rate_is_held_only_within_its_bar() -> None:
    check = calibrate.Check(name="x", bar=(0.93, 0.97))
    assert not check.held  # nothing was counted
    for hit in [True] * 19 + [False]:
        check = check.count(hit)
    assert (check.hits, check.of, check.rate, check.held) == (19, 20, 0.95, True)
    assert not check.count(False).count(False).held
    # Clopper and Pearson for 19 of 20, from tables.
    assert check.interval == pytest.approx((0.7513, 0.9987), abs=1e-4)


def test_planted_truths_by_hand() -> None:
    base = planted.Truth()
    assert base.compute(base.loss(3e11)) == pytest.approx(3e11)
    assert planted.log_multiplier(base.with_multiplier(1.1), base) == pytest.approx(math.log(1.1))
    assert base.exact(base.middle) == pytest.approx(0.4)


@pytest.mark.slow
def test_the_machinery_holds_at_a_reduced_count() -> None:
    checks = calibrate.calibrate(20, draws=200)
    assert len(checks) > 15
    for check in checks:
        low, high = check.interval
        # Twenty studies cannot refute a bar that is held; they do refute intervals of half their width.
        assert low <= check.bar[1], check
        assert high >= check.bar[0], check


def test_a_verdict_on_what_cannot_be_resolved_is_never_given() -> None:
    outcomes = list(calibrate.unresolved(np.random.default_rng(0), 100))
    assert [name for name, _, _ in outcomes] == [
        "a verdict on flat curves",
        "a verdict on two budgets",
        "a verdict on a single seed",
    ]
    assert not any(hit for _, _, hit in outcomes)


def test_a_count_that_cannot_be_used_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.main(["--studies", "0"]) == 2
    assert "--studies 0: must be at least 1" in capsys.readouterr().err
