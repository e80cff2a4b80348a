"""Rank statistics of energy against correctness: by hand, planted, and silent where nothing is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from compare.analysis.cohort import Cohort
from compare.analysis.energy.measure import (
    FEWEST,
    Place,
    auroc,
    calibration,
    places,
    rank_correlation,
    shortage,
    wilson,
)
from compare.store import evidence, manifest
from compare.store.evidence import Run
from tests.compare.planted import energy as planted


def test_auroc_by_hand() -> None:
    """Right: 1, 2, 4. Wrong: 2, 3. Of the six pairs (wrong, right) 4 have wrong above right, one is a tie."""
    values = np.array([1.0, 2.0, 4.0, 2.0, 3.0])
    correct = np.array([True, True, True, False, False])
    assert auroc(values, correct) == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 0) / 6)
    assert auroc(-values, correct) == pytest.approx(1 - 3.5 / 6)
    assert auroc(np.zeros(5), correct) == 0.5


def test_auroc_equals_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    values, correct = rng.integers(0, 20, 80).astype(float), rng.random(80) < 0.4
    pairs = [
        (wrong > right) + 0.5 * (wrong == right) for wrong in values[~correct] for right in values[correct]
    ]
    assert auroc(values, correct) == pytest.approx(np.mean(pairs))


def test_rank_correlation_by_hand() -> None:
    """Energies 1, 2, 3, 4 of right, right, wrong, wrong: ranks 1..4 against 3.5, 3.5, 1.5, 1.5."""
    correct = np.array([True, True, False, False])
    x, y = np.array([1, 2, 3, 4]) - 2.5, np.array([3.5, 3.5, 1.5, 1.5]) - 2.5
    by_hand = (x @ y) / np.sqrt((x @ x) * (y @ y))
    assert by_hand == pytest.approx(-2 / np.sqrt(5))
    assert rank_correlation(np.array([-9.0, 0.0, 0.5, 70.0]), correct) == pytest.approx(by_hand)
    assert rank_correlation(np.zeros(4), correct) == 0.0


def test_calibration_sorts_each_run_by_itself() -> None:
    """Two runs whose energies share no zero: sorted together, all of one would come first."""
    values, correct = np.array([3.0, 1.0, 2.0, 4.0]), np.array([False, True, True, False])
    low, high = calibration([(values, correct), (values + 100, correct)], bins=2)
    assert (low.value, high.value) == (1, 0)
    # Wilson (1927) for k = n = 4: the lower end is n / (n + z^2).
    z = scipy_stats.norm.ppf(0.975)
    assert low.low == pytest.approx(4 / (4 + z**2))
    assert low.high == pytest.approx(1.0)
    assert high.high == pytest.approx(z**2 / (4 + z**2))
    # Of five parts of two problems three are empty.
    assert [share.value for share in calibration([(values[:2], correct[:2])])] == [1, 0]


def test_too_few_of_an_outcome_say_nothing() -> None:
    correct = np.arange(40) < FEWEST
    assert shortage(correct) == shortage(~correct) == ""
    for few in (np.arange(40) < FEWEST - 1, np.ones(40, bool), np.zeros(40, bool)):
        assert "of 40 answers are right" in shortage(few)


def test_ranks_and_shares_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    values, correct = rng.integers(0, 9, 50).astype(float), rng.random(50) < 0.3
    assert rank_correlation(values, correct) == pytest.approx(
        scipy_stats.spearmanr(values, correct).statistic
    )
    for right in range(11):
        share, theirs = wilson(right, 10), scipy_stats.binomtest(right, 10).proportion_ci(0.95, "wilson")
        assert (share.low, share.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def energies(runs: tuple[Run, ...], *arms: str) -> tuple[Place, ...]:
    plan = planted.manifest(tuple(run.planned for run in runs))
    return places(Cohort(study=runs[0].planned.study, arms=arms, runs=runs, manifest=plan))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ...]:
    store = planted.store(tmp_path_factory.mktemp("store"))
    return evidence.collect(store, manifest.load(store, "pictures")).study("sudoku")


def test_the_planted_separation_is_found(runs: tuple[Run, ...]) -> None:
    found = energies(runs, "transformer", "ebt_s1", "ebt_one_step")
    assert [(p.arm, p.severity) for p in found] == [
        ("ebt_s1", 0),
        ("ebt_s1", 1),
        ("ebt_one_step", 0),
        ("ebt_one_step", 1),
    ]
    assert {place.budget for place in found} == {1e11}
    much, hard, nothing, _ = found
    signal = much.signals["energy"]
    # Two normal energies 2 standard deviations apart: Phi(2 / sqrt 2).
    truth = scipy_stats.norm.cdf(2**0.5)
    assert signal.auroc.value == pytest.approx(truth, abs=0.05)
    assert signal.auroc.low > 0.5
    assert signal.p_holm < 0.05
    assert signal.rho.value < -0.5
    assert much.over_entropy is not None
    assert much.over_entropy.value == pytest.approx(truth - 0.5, abs=0.15)
    assert much.calibration[0].value > 0.9
    assert much.calibration[-1].value < 0.1
    assert {solved: fall.value for solved, fall in much.fall.items()} == pytest.approx(
        {True: 5.0, False: 4.0}
    )
    # All answers have one length: energy per token would say the same.
    assert [*much.signals] == ["energy", "entropy"]
    nought = nothing.signals["energy"]
    assert nought.auroc.low < 0.5 < nought.auroc.high
    # Holm over the two places that were measured: the smaller p doubles.
    assert signal.p_holm == pytest.approx(min(1.0, 2 * signal.auroc.p))
    assert not hard.signals
    assert hard.over_entropy is None
    assert [*hard.unmeasured] == [0, 1, 2]


def test_length_is_told_apart_from_energy(tmp_path: Path) -> None:
    """Wrong answers are longer, every token has the same energy: only the sum tells, and shows why."""
    rng = np.random.default_rng(1)
    runs = []
    for seed in range(3):
        cell = planted.planned("ebt_s1", seed)
        base = planted.descent(0.0, rng)
        tokens = tuple(5 if c == "1" else 8 for c in base.correct)
        trace = replace(base, tokens=tokens, energy=tuple(map(float, tokens)), courses=())
        runs.append(Run(planned=cell, record=planted.record(cell, (trace,))))
    (place,) = energies(tuple(runs), "ebt_s1")
    found = {name: signal.auroc.value for name, signal in place.signals.items()}
    assert found["energy"] == 1.0
    assert found["energy per token"] == 0.5
