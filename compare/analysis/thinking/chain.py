"""Thinking in a chain: the same problems answered with the working written out, and without.

Two studies whose tasks differ in nothing but `chain` hold the same held-out problems, so that an arm's
two runs of one seed are paired, problem by problem, though each was trained on its own supervision. The
chain's tokens are in the counted FLOPs an answer.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.analysis.paired import exact_difference
from compare.stats.intervals import Estimate
from compare.store.evidence import Run
from compare.store.record import Evaluation


@dataclass(frozen=True, kw_only=True)
class ChainRow:
    """One arm with and without a chain, answering in its default way."""

    arm: str
    budget: float
    axis: str
    severity: int
    without: float
    """Share of exact answers of the study with answers only, mean over seeds."""
    with_chain: float
    flops_without: float
    """Counted FLOPs an answer."""
    flops_with: float
    gain: Estimate
    """With less without, paired by seed and problem."""
    records: tuple[str, ...]
    """Cells it rests on, of both studies."""


@dataclass(frozen=True, kw_only=True)
class ChainPair:
    """Two studies of one task, without and with a chain."""

    plain: str
    chain: str
    rows: tuple[ChainRow, ...]


def chain_pairs(studies: tuple[tuple[str, tuple[Run, ...]], ...]) -> tuple[ChainPair, ...]:
    """Every pair of (name, runs) whose tasks differ in the chain alone, and has an arm in common."""
    forms = [(name, _form(runs), runs) for name, runs in studies if runs]
    pairs: list[ChainPair] = []
    for plain, form, without in forms:
        for chain, other, chained in forms:
            if form and other and (form[0], form[1], other[1]) == (other[0], False, True):
                rows = _rows(without, chained)
                pairs += [ChainPair(plain=plain, chain=chain, rows=rows)] if rows else []
    return tuple(pairs)


def _form(runs: tuple[Run, ...]) -> tuple[dict[str, Any], bool] | None:
    """The task's settings without its name, and whether it has a chain; none if it knows no such thing."""
    task = runs[0].record.config.get("task", {})
    if "chain" not in task:
        return None
    return {k: v for k, v in task.items() if k not in ("name", "chain")}, bool(task["chain"])


def _rows(without: tuple[Run, ...], chained: tuple[Run, ...]) -> tuple[ChainRow, ...]:
    rows: list[ChainRow] = []
    for arm in dict.fromkeys(run.planned.arm for run in without):
        sides = [
            {(r.planned.budget, r.planned.seed): r for r in runs if r.planned.arm == arm}
            for runs in (without, chained)
        ]
        keys = sorted(sides[0].keys() & sides[1].keys())
        keys = [key for key in keys if key[0] == keys[-1][0]]
        places = dict.fromkeys(
            (e.axis, e.severity)
            for key in keys
            for e in sides[0][key].record.evaluations
            if (e.metric, e.stage) == ("exact", "final")
        )
        for axis, severity in places:
            looks = [
                [side[key].find("exact", severity=severity, axis=axis) for key in keys] for side in sides
            ]
            found = [(key, b, a) for key, a, b in zip(keys, *looks, strict=True) if a and b]
            cells = tuple(side[key].planned.cell for side in sides for key, _, _ in found)
            if found:
                pairs = [(b, a) for _, b, a in found]
                rows.append(_row(arm, keys[-1][0], axis, severity, pairs, cells))
    return tuple(rows)


def _row(
    arm: str,
    budget: float,
    axis: str,
    severity: int,
    pairs: list[tuple[Evaluation, Evaluation]],
    cells: tuple[str, ...],
) -> ChainRow:
    """Args: pairs: with and without a chain, one pair a seed."""
    chained, plain = zip(*pairs, strict=True)
    return ChainRow(
        arm=arm,
        budget=budget,
        axis=axis,
        severity=severity,
        without=float(np.mean([e.value for e in plain])),
        with_chain=float(np.mean([e.value for e in chained])),
        flops_without=float(np.mean([e.flops for e in plain])),
        flops_with=float(np.mean([e.flops for e in chained])),
        gain=exact_difference(pairs, sign=1),
        records=cells,
    )
