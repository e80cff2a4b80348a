"""The manifest of an experiment: which cells it planned and which contrasts it named before running.

It lies beside the records, `<store>/experiments/<name>.json`, so that a report can be rebuilt from
the store alone and so that a planned cell that never ran is seen to be missing.
"""

import dataclasses
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from compare.store import strict
from compare.store.files import write_atomically
from compare.store.strict import Count, Positive, require

VERSION = 1
PLAIN = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Names that may be those of files and folders."""
Name = Annotated[str, msgspec.Meta(pattern=rf"^{PLAIN}\Z")]

ONE_BY_ONE = "cells"
"""Name of the manifest of cells that no experiment planned: all that the store holds."""

HAND_SET = "its own file's"
"""What a search has chosen, in words, where nothing that it tried was better; or there was no search."""

WARM_START = "warm_start"
"""The stage before reinforcement learning, and the baseline that is the same arm then."""

AXES = ("flops", "data", "batch", "depth", "width", "parameters", "isoflop")
"""What the rungs of an experiment vary; `isoflop`: sizes at each of some budgets."""


class ManifestError(ValueError):
    """A manifest cannot be read or written. The message is one line: which file, what is wrong."""


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One cell the experiment asked for."""

    cell: Name
    """Identity of the cell, the name of its folder in the store."""
    study: str
    """Group of cells that are compared with one another, usually one task."""
    arm: str
    task: str
    size: str
    budget: Positive
    """Training FLOPs allowed."""
    seed: int
    rung: Count = 0
    """Number of its rung, from 1, where the axis is not FLOPs; 0: budgets tell rungs apart."""
    trial: Count = 0
    """Number of the trial of a search, from 1, which is the arm as its files have it; 0: no search."""

    @property
    def label(self) -> str:
        """The cell in a few words, for a line that a person reads."""
        trial = f" trial {self.trial}" if self.trial else ""
        return f"{self.task} {self.arm} {self.budget:.1e}{trial} seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the settings of an arm come from, if a search chose them."""

    study: str
    arm: str
    size: str
    trials: int
    """Settings that the search tried for this arm."""
    runs: int
    """Seeds of each trial."""
    budget: float
    """Training FLOPs of a trial."""
    commit: str
    """Commit of the program that searched."""
    chosen: str
    """What was chosen, in words."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A comparison named before the experiment ran; Holm's correction runs over all of them."""

    study: str
    arm: str
    baseline: str
    """Another arm of the study, or a word that the quantity knows, such as `warm_start` for `reward_gain`."""
    quantity: str
    """What is compared: a name in a `quantities.py` of compare/analysis."""
    margin: float
    """Half-width of equivalence, in the quantity's unit (for a multiplier: 0.1 means 1/1.1 to 1.1)."""
    effort: str = ""
    """How the arm answers, such as `energy@16`, where the quantity lets it be chosen; empty: its default."""
    baseline_effort: str = ""
    """The same for the baseline, which may then be the arm itself."""
    severity: int = 0
    """Shift of the problems, where the quantity lets it be chosen; 0 is in distribution."""
    axis: str = ""
    """Axis of shift; empty: the task's first one (for a correlation with severity: all of them)."""

    @property
    def label(self) -> str:
        """The contrast in a few words."""
        return f"{self.study}: {self.arm} against {self.baseline}, {self.quantity}, margin {self.margin:g}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an experiment is about, what it plans and what it will be judged by."""

    version: int = VERSION
    name: Name
    """File name of the manifest and folder of the report."""
    title: str
    question: str
    command: str
    """The command that runs the experiment."""
    commit: str
    """Commit of the program that planned it."""
    contrasts: tuple[Contrast, ...]
    cells: tuple[PlannedCell, ...]
    fit_share: float = 0.0
    """Share of reinforcement learning that the entropy law is fitted on, the rest being forecast; 0: no
    forecast was asked for."""
    remarks: tuple[str, ...] = ()
    """What a reader of the report should know of how its store came about, such as conflicts between
    stores that were combined."""
    axis: str = "flops"
    """One of AXES."""
    tuned: tuple[Settings, ...] | None = None
    """Settings that a search chose; arms that are not named have those of their files. None: older than
    any search."""


def path_of(store: Path, name: str) -> Path:
    """Where the manifest of experiment `name` lies in a store."""
    return store / "experiments" / f"{name}.json"


def names(store: Path) -> tuple[str, ...]:
    """Names of the experiments in a store, sorted; empty if there are none."""
    return tuple(sorted(path.stem for path in (store / "experiments").glob("*.json")))


def dump(store: Path, manifest: Manifest) -> Path:
    """Write the manifest atomically, replacing an older one; return its path.

    Raises:
        ManifestError: it would not load again.
    """
    path = path_of(store, manifest.name)
    write_atomically(path, text_of(manifest))
    return path


def text_of(manifest: Manifest) -> str:
    """A manifest as JSON.

    Raises:
        ManifestError: it would not load again.
    """
    try:
        content = dataclasses.asdict(manifest)
        _check(strict.typed(Manifest, content))
        return json.dumps(content, allow_nan=False, indent=1)
    except ValueError as error:
        raise ManifestError(f"experiment {manifest.name}: {error}") from error


def load(store: Path, name: str) -> Manifest:
    """Read and check the manifest of experiment `name`.

    Raises:
        ManifestError: there is none, or it is unreadable, of another version, or has a field missing,
            unknown, or of the wrong type or range.
    """
    path = path_of(store, name)
    if not re.fullmatch(PLAIN, name):
        raise ManifestError(f"experiment {name!r}: not a plain name; give one without slashes")
    if not path.exists():
        known = ", ".join(names(store)) or "none"
        raise ManifestError(f"no experiment {name} in {store}; it holds: {known}")

    def check(manifest: Manifest, raw: object) -> None:
        _check(manifest)
        require(manifest.name == name, f"name {manifest.name!r} differs from the file's")

    remedy = "run the experiment again to write it anew"
    return strict.load(path, Manifest, version=VERSION, check=check, error=ManifestError, remedy=remedy)


def _check(manifest: Manifest) -> None:
    require(manifest.axis in AXES, f"axis {manifest.axis!r}: choose one of {', '.join(AXES)}")
    # Runs of a study are told apart by these alone; two tasks or sizes need two studies.
    places = Counter((c.study, c.arm, c.budget, c.rung, c.trial, c.seed) for c in manifest.cells)
    for (study, *place), count in places.items():
        require(count == 1, f"study {study}: two cells with arm, budget, rung, trial, seed {tuple(place)}")
