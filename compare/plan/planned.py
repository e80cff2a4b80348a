"""A planned cell, its identity. Nothing heavy is imported."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from arena.config import Cell
from compare.store.manifest import PlannedCell, Settings

IDENTITY_VERSION = 1
"""Raised when the code changes what a configuration trains to."""

UNKNOWN = "unknown"
"""Commit of a program that no checkout and no installation tells of."""
TRAINING = ("arena", "ebt", "rl_baseline", "controls", "compare/run")
"""Folders of the program that trains and measures."""

ADDED = (
    ("arm", "entropy_target_end"),
    ("arm", "ladder"),
    ("arm", "warm_until"),
    ("budget", "problems"),
    ("trainer", "pool"),
)
"""Settings younger than version 1: their default, None or empty, leaves cells of before their names."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A cell of a plan."""

    identity: str
    """Hash of everything that changes the result; the name of its folder."""
    study: str
    cell: Cell
    data: dict[str, Any]
    """Fingerprint of the task's data, and of the files that the arm starts from."""
    parameters: int
    non_embedding: int
    flops: float
    """Training FLOPs expected: the budget's, or fewer where its problems run out first."""
    rung: int = 0
    """Number of its rung on an axis other than FLOPs, from 1; 0: FLOPs are the axis."""
    trial: int = 0
    """Number of the trial of a search, from 1; 0: no search."""
    settings: Settings | None = None
    """What a search chose for its arm; None: its settings are those of its files."""

    @property
    def listed(self) -> PlannedCell:
        """The cell as a manifest lists it."""
        return PlannedCell(
            cell=self.identity,
            study=self.study,
            arm=self.cell.arm.name,
            task=self.cell.task.name,
            size=self.cell.size.name,
            budget=float(self.cell.budget.flops),
            seed=self.cell.seed,
            rung=self.rung,
            trial=self.trial,
        )


def identities(cell: Cell, data: dict[str, Any], seeds: list[int]) -> list[str]:
    """Hash of what changes a cell's result, under each seed: not paths, loggers, devices or threads."""
    content = portable(cell)
    places = ("accelerator", "devices", "threads", "history", "compile", "at_once", "checkpoint_minutes")
    for key in places:
        content["trainer"].pop(key)
    for part, key in ADDED:
        if content[part].get(key, 0) in (None, []):
            content[part].pop(key)
    content = {"version": IDENTITY_VERSION, "data": data, **content}
    texts = [json.dumps({**content, "seed": seed}, sort_keys=True) for seed in seeds]
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]


def portable(cell: Cell) -> dict[str, Any]:
    """The configuration without paths: they tell who ran it and where; the fingerprint says what was read."""
    # As a record holds it: tuples are lists there.
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(cell)))
    content["task"].pop("path", None)
    model = content["arm"].get("pretrained")
    if model is not None and Path(model).is_dir():
        content["arm"]["pretrained"] = Path(model).resolve().name
    return content


@cache
def training_code() -> str:
    """Digest of the program that trains: two commits that agree in it train alike."""
    root, content = Path(__file__).resolve().parents[2], hashlib.sha256()
    for path in sorted(path for folder in TRAINING for path in (root / folder).rglob("*.py")):
        content.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return content.hexdigest()[:16]
