"""How a cell ends, and what is told of it on the way."""

import time
from dataclasses import dataclass

from compare.plan.planned import Planned, portable
from compare.store.record import Record


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one cell ended."""

    planned: Planned
    status: str
    """done, failed, busy: another process is on it, stopped: it was asked to, or died: its worker did, or
    another of its processes."""
    reason: str = ""
    headline: str = ""
    """Its main metric, for the display."""
    seconds: float = 0.0


class Notice(str):
    """News of a cell that must not be dropped."""


def outcome_of(planned: Planned, record: Record) -> Outcome:
    """What a record says of its cell's end."""
    loss, exact = record.find("loss"), record.find("exact")
    parts = [f"loss {loss.value:.3f}"] if loss else []
    parts += [f"exact {exact.value:.1%}"] if exact else []
    return Outcome(
        planned=planned,
        status=record.status,
        reason=record.reason,
        headline=", ".join(parts),
        seconds=record.seconds.get("total", 0.0),
    )


def blank_record(planned: Planned, commit: str) -> Record:
    """The record's identity, before anything is measured."""
    cell = planned.cell
    return Record(
        cell=planned.identity,
        arm=cell.arm.name,
        task=cell.task.name,
        size=cell.size.name,
        budget=float(cell.budget.flops),
        seed=cell.seed,
        status="done",
        config=portable(cell),
        data=planned.data,
        commit=commit,
        environment={},
        written=time.time(),
    )
