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

from compare.store.evidence import Evidence, Run
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
        if self.missing or not ended:
            return None
        return min(ended, key=self._rank)

    @property
    def gain(self) -> float | None:
        """What was won on the arm's own file, in the metric's unit, positive for better; None if its runs
        failed, or nothing is chosen."""
        chosen, own = self.chosen, self.trials[0]
        if chosen is None or chosen.value is None or own.number != 1 or own.value is None:
            return None
        return chosen.value - own.value if self.metric == "exact" else own.value - chosen.value

    def _rank(self, trial: Trial) -> tuple[float, float, int]:
        assert trial.value is not None
        first = -trial.value if self.metric == "exact" else trial.value
        return first, math.inf if trial.loss is None else trial.loss, trial.number


def choices(evidence: Evidence) -> tuple[Choice, ...]:
    """Every arm that the experiment searched for, in the plan's order; empty if it searched for none."""
    groups: dict[tuple[str, str, str, float], list[PlannedCell]] = {}
    for planned in evidence.manifest.cells:
        if planned.trial:
            groups.setdefault((planned.study, planned.arm, planned.size, planned.budget), []).append(planned)
    # A record may be in several studies: a run is found by both.
    runs = {(run.planned.study, run.planned.cell): run for run in evidence.runs}
    failed = {(t.planned.study, t.planned.cell): t.record for t in evidence.troubles if t.kind == "failed"}
    return tuple(_choice(planned, runs, failed) for planned in groups.values())


def chosen_alone(evidence: Evidence) -> Evidence:
    """The evidence without the trials that were not chosen: what an analysis of single arms can read."""
    found = choices(evidence)
    kept = {cell for choice in found if choice.chosen for cell in choice.chosen.cells}
    cells = tuple(c for c in evidence.manifest.cells if not c.trial or c.cell in kept)
    manifest = replace(evidence.manifest, cells=cells)
    runs = tuple(run for run in evidence.runs if not run.planned.trial or run.planned.cell in kept)
    return replace(evidence, manifest=manifest, runs=runs)


def _choice(
    planned: Sequence[PlannedCell], runs: dict[tuple[str, str], Run], failed: dict[tuple[str, str], Any]
) -> Choice:
    ended = [runs[p.study, p.cell] for p in planned if (p.study, p.cell) in runs]
    metric = "exact" if any(run.find("exact") for run in ended) else "loss"
    configs: dict[int, dict[str, float]] = {}
    for p in planned:
        record = runs[p.study, p.cell].record if (p.study, p.cell) in runs else failed.get((p.study, p.cell))
        if record is not None:
            configs.setdefault(p.trial, _numbers(record.config))
    keys = sorted({k for c in configs.values() for k in c if len({d.get(k) for d in configs.values()}) > 1})
    first = planned[0]
    return Choice(
        study=first.study,
        arm=first.arm,
        task=first.task,
        size=first.size,
        budget=first.budget,
        seeds=tuple(sorted({p.seed for p in planned})),
        metric=metric,
        trials=tuple(
            _trial(number, [p for p in planned if p.trial == number], runs, failed, metric, configs, keys)
            for number in sorted({p.trial for p in planned})
        ),
        commit=", ".join(dict.fromkeys(run.record.commit for run in ended)),
        missing=sum((p.study, p.cell) not in runs and (p.study, p.cell) not in failed for p in planned),
    )


def _trial(
    number: int,
    planned: list[PlannedCell],
    runs: dict[tuple[str, str], Run],
    failed: dict[tuple[str, str], Any],
    metric: str,
    configs: dict[int, dict[str, float]],
    keys: list[str],
) -> Trial:
    ended = [runs[p.study, p.cell] for p in planned if (p.study, p.cell) in runs]

    def mean(name: str) -> float | None:
        found = [run.find(name) for run in ended]
        if len(found) < len(planned):
            return None
        values = [each.value for each in found if each is not None]
        return float(np.mean(values)) if len(values) == len(planned) else None

    return Trial(
        number=number,
        settings={key: configs.get(number, {}).get(key) for key in keys},
        value=mean(metric),
        loss=mean("loss"),
        failed=sum((p.study, p.cell) in failed for p in planned),
        cells=tuple(p.cell for p in planned),
    )


def _numbers(config: dict[str, Any]) -> dict[str, float]:
    """What a search can set, of a record's configuration."""
    found: dict[str, float] = {}
    for part, names in (("size", ("lr",)), ("arm", tuple(config.get("arm", {})))):
        for name in names:
            value = config.get(part, {}).get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[f"{part}.{name}"] = float(value)
    return found
