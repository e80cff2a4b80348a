"""Tuned settings: one YAML file for a task, size and arm, written by a search and used by everything else.

The files are data: they name learning rates and other numbers of an arm, and tell where they come from.
"""

import contextlib
import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arena.config import Cell, ConfigError
from compare.plan.planned import portable
from compare.plan.trials import with_settings
from compare.store import strict
from compare.store.files import write_atomically
from compare.store.manifest import HAND_SET, PLAIN, Settings
from compare.store.strict import AtLeastOne

BESIDE = "tuned"
"""The folder of tuned settings beside the configuration's files. The option that picks another has another
name: Hydra takes each folder there for a group of choices."""
NONE = "none"
"""Arms as their own files have them."""
REACH = 10**0.5
"""Largest budget of a cell over that of the trials: the best rate falls as training goes on. At ten times
the trials' budget ebt_s1 lost .14 nats on text by the rate that had won (docs/tuning.md)."""
REMEDY = "run +experiment=tune again, or use settings=none"


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search chose for one arm, and on what grounds."""

    settings: dict[str, float]
    """Key -> value; empty if the arm's own file was best."""
    trial: AtLeastOne
    """Number of the chosen trial; 1 is the arm's own file."""
    trials: AtLeastOne
    seeds: list[int]
    """Seeds of the search; results should use others."""
    search_seed: int
    ranges: dict[str, list[float]]
    """What was searched: key -> [low, high]."""
    metric: str
    """Held-out metric in distribution, on the validation split, that chose."""
    value: float
    hand_set_value: float | None
    """The same of trial 1; None if it failed."""
    budget: float
    """Training FLOPs of a trial."""
    task: dict[str, Any]
    """The task's configuration; a cell of the same task with another is not tuned by this."""
    commit: str
    command: str
    records: list[str]
    """Cells of the chosen trial."""


def folder_of(name: str, beside: Path) -> Path | None:
    """Where tuned settings are read and written; None for `none`.

    Args:
        beside: folder of the configuration's files.
    """
    if name == NONE:
        return None
    return beside / BESIDE if name == BESIDE else Path(name)


def path_of(folder: Path, task: str, size: str, arm: str) -> Path | None:
    """The file of a task, size and arm; None for names that are no plain file names."""
    if not all(re.fullmatch(PLAIN, name) for name in (task, size, arm)):
        return None
    return folder / task / size / f"{arm}.yaml"


def apply(
    study: str, cell: Cell, folder: Path | None, set_elsewhere: set[str]
) -> tuple[Cell, Settings | None]:
    """The cell with its tuned settings, and what a manifest says of them; itself if there are none for it, or
    if it is trained beyond REACH.

    Args:
        set_elsewhere: keys that an experiment or the command line sets, which stay as they are.

    Raises:
        ConfigError: the file cannot be used.
    """
    path = path_of(folder, cell.task.name, cell.size.name, cell.arm.name) if folder is not None else None
    if path is None or not path.is_file():
        return cell, None
    tuned = read(path)
    if tuned.task != portable(cell)["task"] or cell.budget.flops > REACH * tuned.budget:
        return cell, None
    try:
        cell = with_settings(cell, {k: v for k, v in tuned.settings.items() if k not in set_elsewhere})
    except ConfigError as error:
        raise ConfigError(f"{_named(path)}: {error}; {REMEDY}") from error
    return cell, Settings(
        study=study,
        arm=cell.arm.name,
        size=cell.size.name,
        trials=tuned.trials,
        budget=tuned.budget,
        runs=len(tuned.seeds),
        commit=tuned.commit,
        chosen=", ".join(f"{key}={value:g}" for key, value in tuned.settings.items()) or HAND_SET,
    )


def read(path: Path) -> Tuned:
    """Read one file.

    Raises:
        ConfigError: it is no such file, or a field is missing, unknown or of the wrong kind.
    """
    try:
        tuned = strict.typed(Tuned, yaml.safe_load(path.read_text(encoding="utf-8")))
        checks = {
            "value": math.isfinite(tuned.value),
            "hand_set_value": math.isfinite(tuned.hand_set_value or 0.0),
            "budget": math.isfinite(tuned.budget),
            "settings": all(0 < value < math.inf for value in tuned.settings.values()),
            "ranges": all(len(ends) == 2 and all(map(math.isfinite, ends)) for ends in tuned.ranges.values()),
        }
        for name, passed in checks.items():
            if not passed:
                raise ValueError(f"{name}={getattr(tuned, name)!r} is out of range")
    except (OSError, ValueError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{_named(path)}: no tuned settings ({line}); {REMEDY}") from error
    return tuned


def write(path: Path, tuned: Tuned) -> None:
    """Write a file, replacing an older one at once.

    A file that says the same is left as it is: it names the command that ran the trials, not a later one
    that only looked at them again.

    Raises:
        ConfigError: it cannot be written.
    """
    with contextlib.suppress(ConfigError):  # none, or one that cannot be read
        if dataclasses.replace(read(path), command=tuned.command) == tuned:
            return
    text = "# Written by a search; used wherever this task, size and arm meet, unless settings=none.\n"
    text += yaml.safe_dump(dataclasses.asdict(tuned), sort_keys=False, allow_unicode=True)
    try:
        write_atomically(path, text)
    except OSError as error:
        reason = f"{_named(path)}: cannot be written ({error.strerror})"
        raise ConfigError(f"{reason}; the same command with settings=FOLDER writes it elsewhere") from error


def _named(path: Path) -> str:
    """A file by the last parts of its path."""
    return "/".join(path.parts[-4:])
