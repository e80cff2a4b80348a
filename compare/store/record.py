"""The record of one cell: what was run, what it cost, what came out. Strictly read, plain JSON."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from compare.store import strict
from compare.store.descent import LARGEST, Descent, check_descent
from compare.store.redaction import redact, scrub
from compare.store.strict import Amount, AtLeastOne, Bits, Count, require

VERSION = 1
YOUNGER = {"traces", "digest", "original", "written", "guess_rates"}
"""Fields that records written before them lack; their defaults stand in."""
UNSIGNED = "unsigned"
LARGEST_LOSS = 1e6
"""Nats. Metrics other than the loss are shares."""
REMEDY = "delete it to run the cell again"


class RecordError(ValueError):
    """A record cannot be read. The message names the file and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One metric on one set of held-out problems."""

    stage: str
    """`final`, or the name of an earlier stage at whose end it was measured (`warm_start`)."""
    axis: str
    """Axis of shift; severity 0 is in distribution, held out."""
    severity: Count
    effort: str
    """How the answer was produced: `likelihood`, `greedy`, `sample`, `think_2` ..."""
    metric: str
    """`loss`: nats per supervised token (lower is better); `exact`: share of exact answers."""
    value: float
    n: AtLeastOne
    """Problems (windows, for text) measured."""
    sd: Amount
    """Standard deviation over problems; the standard error is sd / sqrt(n)."""
    outcomes: Bits = ""
    """Metric `exact`: one character per problem, 1 for a correct answer; else empty."""
    flops: Amount = 0.0
    """Counted FLOPs per answer."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything that is kept of a cell."""

    version: int = VERSION
    cell: str
    """Identity: hash of everything that changes the result."""
    arm: str
    task: str
    size: str
    budget: float
    """FLOPs allowed."""
    seed: int
    status: Literal["done", "failed"]
    reason: str = ""
    """Why it failed, one line."""
    traceback: str = ""
    config: dict[str, Any]
    """The resolved configuration."""
    data: dict[str, Any]
    """Corpus or generator: fingerprint and description."""
    commit: str
    environment: dict[str, Any]
    parameters: dict[str, Count] = field(default_factory=dict)
    """`total` and `non_embedding`."""
    flops: Amount = 0.0
    """FLOPs spent on training."""
    flops_by: dict[str, Amount] = field(default_factory=dict)
    """The same, by what they were spent on."""
    steps: Count = 0
    """Optimiser steps."""
    problems: Count = 0
    """Labelled training problems (windows) consumed."""
    reward_queries: Count = 0
    """Calls of the verifier in training; each counts as a label."""
    seconds: dict[str, Amount] = field(default_factory=dict)
    """`train`, `evaluate`, `total` wall time."""
    history: dict[str, list[float | None]] = field(default_factory=dict)
    """Columns of equal length: `flops`, `step`, then what the arm logs; None where not logged."""
    evaluations: tuple[Evaluation, ...] = ()
    guess_rates: dict[str, list[Amount]] = field(default_factory=dict)
    """Axis -> chance that a blind, uniform guess among well-formed answers is right; by severity, from 0."""
    traces: tuple[Descent, ...] = ()
    """How some answers came about, for arms that descend on an energy."""
    digest: str = field(default="", compare=False)
    """SHA-256 of everything else as it is on disk, so that a number changed later is seen; `dump` puts it
    there. Empty: unsigned, by a program that knew no digests. It guards against accidents and careless
    editing, not against somebody who computes it anew."""
    written: Amount = field(default=0.0, compare=False)
    """When, in seconds since 1970 by the clock of its machine; 0: it is older than this field."""
    original: str = ""
    """Digest of the record that this one was cut from for an archive, UNSIGNED if it had none; empty: it is
    whole."""

    @property
    def unsigned(self) -> bool:
        """Whether a number changed in it would not be seen."""
        return not self.digest or self.original == UNSIGNED

    def find(
        self,
        metric: str,
        *,
        stage: str = "final",
        severity: int = 0,
        effort: str | None = None,
        axis: str = "",
    ) -> Evaluation | None:
        """An evaluation at a stage and severity; without an effort, the arm's own way to answer.

        That is `greedy` for a policy, else the last listed that does not sample: contenders list their
        default last (`think_2` after `think_1`). Choosing by the result would be selection at test.

        Without an axis it is the first one listed. Severity 0 is shared by all axes and listed under the
        first one only.
        """
        seen = [
            e
            for e in self.evaluations
            if (e.metric, e.stage, e.severity) == (metric, stage, severity)
            and (not severity or axis in ("", e.axis))
        ]
        if effort is not None:
            return next((e for e in seen if e.effort == effort), None)
        ways = {e.effort: e for e in seen if e.axis == seen[0].axis and e.effort != "sample"}
        return ways.get("greedy") or next(reversed(ways.values()), None)

    def guess_rate(self, severity: int = 0, axis: str = "") -> float | None:
        """Chance that a blind guess is right, where it was recorded; without an axis, on the first one."""
        known = self.guess_rates.get(axis or next(iter(self.guess_rates), ""), [])
        return known[severity] if severity < len(known) else None


def dump(record: Record) -> str:
    """JSON text of a record, without secrets, with its digest.

    Raises:
        RecordError: a value that JSON cannot hold (NaN, infinity).
    """
    content = dataclasses.asdict(record)
    content |= {key: redact(content[key]) for key in ("config", "data", "environment")}
    content |= {key: scrub(content[key]) for key in ("reason", "traceback")}
    try:
        return json.dumps(content | {"digest": digest(content)}, allow_nan=False, indent=1)
    except ValueError as error:
        raise RecordError(f"cell {record.cell}: {error}") from error


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of a record's content, whatever the order and layout of its JSON; the field itself is left out.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    rest = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(rest, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path) -> Record:
    """Read and check a record.

    Raises:
        RecordError: unreadable, truncated, of another version, with a field missing, unknown or of the
            wrong type or range, or changed since it was written.
    """
    return strict.load(
        path, Record, version=VERSION, may_lack=YOUNGER, check=_check, error=RecordError, remedy=REMEDY
    )


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """The few fields of a record that say how a cell went, read without the rest of it.

    A record is mostly history and outcomes: ten thousand of them are looked at in seconds this way.
    """

    version: int
    cell: str
    arm: str
    task: str
    size: str
    budget: float
    seed: int
    status: str
    reason: str
    flops: float
    seconds: dict[str, float]
    digest: str = ""

    @property
    def label(self) -> str:
        """The cell in a few words, for a line that a person reads."""
        return f"{self.task} {self.arm} {self.budget:.1e} seed {self.seed}"


def glance(path: Path) -> Glance:
    """Look at a record.

    Raises:
        RecordError: unreadable, of another version, or without what is shown.
    """
    try:
        seen = msgspec.json.decode(path.read_bytes(), type=Glance)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a readable record ({error}); {REMEDY}") from error
    strict.check_version(path, "record", seen.version, VERSION, RecordError)
    return seen


def _check(record: Record, raw: dict[str, Any]) -> None:
    within = record.flops <= record.budget * (1 + 1e-9)
    require(within, f"flops {record.flops:g} exceed the budget {record.budget:g}")
    require(len(set(map(len, record.history.values()))) <= 1, "history columns differ in length")
    require(0 < record.budget <= LARGEST, f"budget {record.budget:g} is none")
    for name, column in record.history.items():
        low, high = (0.0, 1.0) if name == "reward" else (-LARGEST, LARGEST)
        low = 0.0 if name in ("entropy", "flops", "step") else low
        odd = next((x for x in column if x is not None and not low - 1e-6 <= x <= high + 1e-6), None)
        require(odd is None, f"history {name}: {odd} lies outside {low:g} to {high:g}")
    require(max(record.seconds.values(), default=0.0) <= LARGEST, "seconds: more than any clock shows")
    for e in record.evaluations:
        high = LARGEST_LOSS if e.metric == "loss" else 1.0
        where = f"evaluation {e.metric} ({e.stage}, {e.effort}, {e.axis} {e.severity})"
        for name, value in (("value", e.value), ("sd", e.sd)):
            require(0 <= value <= high + 1e-9, f"{where}: {name} {value:.4g} lies outside 0 to {high:g}")
        if e.metric == "exact":
            require(len(e.outcomes) == e.n, "evaluation exact: outcomes do not match n")
            close = abs(e.value - e.outcomes.count("1") / e.n) <= 1e-9
            require(close, f"evaluation exact: value {e.value} does not match its outcomes")
    for descent in record.traces:
        check_descent(descent)
    unchanged = not record.digest or record.digest == digest(raw)
    require(unchanged, "its content does not match its digest: it was changed after it was written")
