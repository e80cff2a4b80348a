"""What a search found: each arm's trials, and the one that did best on held-out validation problems.

An arm is chosen for by exact answers in distribution, at its own default effort, where answers can be
verified, and by loss where not; means over the search's seeds. A tie of exact answers goes to the smaller
loss, then to the earlier trial. A failed run loses: a setting that may diverge is a bad one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.store.evidence import Evidence, Run, Trouble
from compare.store.manifest import PlannedCell


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting of an arm, over the search's seeds."""

    number: int
    """From 1, which is the arm as its files have it."""
    settings: dict[str, float | None]
    """What the arm's trials differ in, key -> value; None where no run left its configuration."""
    value: float | None
    """The metric, mean over seeds; None if a run failed."""
    loss: float | None
    """The second criterion, likewise; None where there is none."""
    failed: int
    """Runs that failed."""
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An arm's trials and the best of them."""

    study: str
    arm: str
    task: str
    size: str
    budget: float
    seeds: tuple[int, ...]
    metric: str
    """`exact` or `loss`."""
    trials: tuple[Trial, ...]
    commit: str
    """Commits of the program that trained the trials, the first to the last in the plan's order; empty if
    none ended."""
    missing: int
    """Runs that are planned and have no record: nothing is chosen as long as there are any."""

    @property
    def chosen(self) -> Trial | None:
        """The best trial; None while runs are missing, or if all failed."""
        ended = [trial for trial in self.trials if trial.value is not None]
        return None if self.missing else min(ended, key=self._rank, default=None)

    @property
    def gain(self) -> float | None:
        """What was won on the arm's own file, in the metric's unit, positive for better; None if its runs
        failed, or nothing is chosen."""
        chosen, own = self.chosen, self.trials[0]
        if chosen is None or chosen.value is None or own.number != 1 or own.value is None:
            return None
        return chosen.value - own.value if self.metric == "exact" else own.value - chosen.value

    @property
    def obstacle(self) -> str:
        """Why nothing is chosen, if nothing is."""
        if not self.missing:
            return "every trial failed"
        return "1 run is missing" if self.missing == 1 else f"{self.missing} runs are missing"

    def _rank(self, trial: Trial) -> tuple[float, float, int]:
        assert trial.value is not None
        first = -trial.value if self.metric == "exact" else trial.value
        return first, math.inf if trial.loss is None else trial.loss, trial.number


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One run of a trial and what became of it: neither a run nor a failure if it is missing."""

    planned: PlannedCell
    run: Run | None
    failed: Trouble | None

    @property
    def numbers(self) -> dict[str, float]:
        """What a search can set, of the record's configuration; empty where there is no record."""
        record = self.run.record if self.run else self.failed.record if self.failed else None
        config: dict[str, Any] = record.config if record else {}
        values = {"size.lr": config.get("size", {}).get("lr")}
        values |= {f"arm.{name}": value for name, value in config.get("arm", {}).items()}
        return {
            key: float(value)
            for key, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }


def choices(evidence: Evidence) -> tuple[Choice, ...]:
    """Every arm that the experiment searched for, in the plan's order; empty if it searched for none."""
    # A record may be in several studies: a run is identified by both.
    runs = {(run.planned.study, run.planned.cell): run for run in evidence.runs}
    failed = {(t.planned.study, t.planned.cell): t for t in evidence.troubles if t.kind == "failed"}
    groups: dict[tuple[str, str, str, float], list[_Attempt]] = {}
    for planned in evidence.manifest.cells:
        if planned.trial:
            key = planned.study, planned.cell
            attempt = _Attempt(planned=planned, run=runs.get(key), failed=failed.get(key))
            groups.setdefault((planned.study, planned.arm, planned.size, planned.budget), []).append(attempt)
    return tuple(_choice(attempts) for attempts in groups.values())


def chosen_alone(evidence: Evidence) -> Evidence:
    """The evidence without the trials that were not chosen: what an analysis of single arms can read."""
    kept = {cell for choice in choices(evidence) if choice.chosen for cell in choice.chosen.cells}
    cells = tuple(c for c in evidence.manifest.cells if not c.trial or c.cell in kept)
    runs = tuple(run for run in evidence.runs if not run.planned.trial or run.planned.cell in kept)
    return replace(evidence, manifest=replace(evidence.manifest, cells=cells), runs=runs)


def _choice(attempts: Sequence[_Attempt]) -> Choice:
    ended = [attempt.run for attempt in attempts if attempt.run is not None]
    metric = "exact" if any(run.find("exact") for run in ended) else "loss"
    by_trial: dict[int, list[_Attempt]] = {}
    for attempt in attempts:
        by_trial.setdefault(attempt.planned.trial, []).append(attempt)
    numbers = {n: next((a.numbers for a in own if a.numbers), {}) for n, own in by_trial.items()}
    known = [row for row in numbers.values() if row]
    differing = sorted(k for k in set().union(*known) if len({row.get(k) for row in known}) > 1)
    first = attempts[0].planned
    return Choice(
        study=first.study,
        arm=first.arm,
        task=first.task,
        size=first.size,
        budget=first.budget,
        seeds=tuple(sorted({attempt.planned.seed for attempt in attempts})),
        metric=metric,
        trials=tuple(
            _trial(own, metric, {key: numbers[number].get(key) for key in differing})
            for number, own in sorted(by_trial.items())
        ),
        commit=", ".join(dict.fromkeys(run.record.commit for run in ended)),
        missing=sum(attempt.run is attempt.failed is None for attempt in attempts),
    )


def _trial(attempts: Sequence[_Attempt], metric: str, settings: dict[str, float | None]) -> Trial:
    def mean(name: str) -> float | None:
        found = [a.run.find(name) for a in attempts if a.run is not None]
        values = [evaluation.value for evaluation in found if evaluation is not None]
        return float(np.mean(values)) if len(values) == len(attempts) else None

    return Trial(
        number=attempts[0].planned.trial,
        settings=settings,
        value=mean(metric),
        loss=mean("loss"),
        failed=sum(attempt.failed is not None for attempt in attempts),
        cells=tuple(attempt.planned.cell for attempt in attempts),
    )
