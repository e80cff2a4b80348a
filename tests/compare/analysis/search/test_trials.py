"""What a search chooses: the best mean over seeds on validation, of trials that all ended."""

import dataclasses
import io
import time

import pytest
from rich.console import Console

from compare.analysis.search.choice import choices, chosen_alone
from compare.run.status import Claim, State, show
from compare.store.claims import Owner
from compare.store.evidence import Trouble
from tests.compare.planted.search import evidence, planned_trial, run


def test_the_best_mean_over_seeds_is_chosen() -> None:
    runs = [run(1, 0, 1.0), run(1, 1, 1.0), run(2, 0, 0.5), run(2, 1, 1.4), run(3, 0, 0.9), run(3, 1, 0.8)]
    (choice,) = choices(evidence(runs))
    assert choice.metric == "loss"
    assert choice.seeds == (0, 1)
    assert choice.chosen is not None
    assert (choice.chosen.number, choice.chosen.value) == (3, pytest.approx(0.85))
    assert choice.chosen.settings == {"size.lr": pytest.approx(0.003)}  # what trials differ in


def test_answers_come_before_loss_and_a_tie_of_answers_goes_to_the_loss() -> None:
    runs = [run(1, 0, 0.1, exact=0.5), run(2, 0, 0.9, exact=0.7), run(3, 0, 0.8, exact=0.7)]
    (choice,) = choices(evidence(runs))
    assert choice.metric == "exact"
    assert choice.chosen is not None
    assert choice.chosen.number == 3
    tied = [run(1, 0, 0.3, exact=1.0), run(2, 0, 0.3, exact=1.0)]
    (choice,) = choices(evidence(tied))
    assert choice.chosen is not None
    assert choice.chosen.number == 1


def test_a_failed_run_loses_and_a_missing_one_leaves_the_choice_open() -> None:
    failed = Trouble(planned=planned_trial(2, 1), kind="failed", reason="diverged")
    runs = [run(1, 0, 1.0), run(1, 1, 1.0), run(2, 0, 0.1)]
    (choice,) = choices(evidence(runs, (failed,)))
    assert choice.chosen is not None
    assert choice.chosen.number == 1
    assert choice.trials[1].failed == 1
    missing = Trouble(planned=planned_trial(2, 1), kind="missing", reason="")
    (choice,) = choices(evidence(runs, (missing,)))
    assert choice.missing == 1
    assert choice.chosen is None
    every = tuple(Trouble(planned=planned_trial(t, 0), kind="failed", reason="") for t in (1, 2))
    (choice,) = choices(evidence([], every))
    assert choice.chosen is None


def test_the_commit_is_that_of_the_runs() -> None:
    first, second = run(1, 0, 1.0), run(2, 0, 0.5)
    later = dataclasses.replace(second, record=dataclasses.replace(second.record, commit="d"))
    (choice,) = choices(evidence([first, second]))
    assert choice.commit == "c"
    (choice,) = choices(evidence([first, later]))
    assert choice.commit == "c, d"


def test_status_tells_trials_apart() -> None:
    cells = [planned_trial(1, 0), planned_trial(2, 0)]
    owner = Owner(host="h", pid=1, since=time.time())
    claims = {c.cell: Claim(owner=owner, silent=0.0) for c in cells}
    out = io.StringIO()
    show(State(planned={"tune": cells}, claims=claims), Console(file=out, width=200))
    assert "addition a 1.0e+09 trial 1 seed 0" in out.getvalue()
    assert "addition a 1.0e+09 trial 2 seed 0" in out.getvalue()


def test_what_is_analysed_is_what_was_chosen() -> None:
    runs = [run(1, 0, 1.0), run(2, 0, 0.5), run(1, 0, 0.2, arm="b"), run(2, 0, 0.5, arm="b")]
    left = chosen_alone(evidence(runs))
    assert {(r.planned.arm, r.planned.trial) for r in left.runs} == {("a", 2), ("b", 1)}
    assert {c.cell for c in left.manifest.cells} == {"a-2-0", "b-1-0"}
