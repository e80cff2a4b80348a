"""Tuned settings: one YAML file for a task, size and arm, written by a search and used by everything else.

The files are data: they name learning rates and other numbers of an arm, and tell where they come from.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arena.config import Cell, ConfigError, TaskConfig
from compare.analysis.search.choice import Choice
from compare.plan.trials import with_settings
from compare.store.files import write_atomically
from compare.store.manifest import HAND_SET, PLAIN, Settings

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
    trial: int
    """Number of the chosen trial; 1 is the arm's own file."""
    trials: int
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


def apply(cell: Cell, folder: Path | None, set_elsewhere: set[str]) -> tuple[Cell, Tuned | None]:
    """The cell with its tuned settings, and what they are; itself if there are none for it, or if it is
    trained beyond REACH.

    Args:
        set_elsewhere: keys that an experiment or the command line sets, which stay as they are.

    Raises:
        ConfigError: the file cannot be used.
    """
    path = path_of(folder, cell.task.name, cell.size.name, cell.arm.name) if folder is not None else None
    if path is None or not path.is_file():
        return cell, None
    tuned = read(path)
    if tuned.task != portable_task(cell.task) or cell.budget.flops > REACH * tuned.budget:
        return cell, None
    settings = {key: value for key, value in tuned.settings.items() if key not in set_elsewhere}
    try:
        return with_settings(cell, settings), tuned
    except ConfigError as error:
        raise ConfigError(f"{_named(path)}: {error}; {REMEDY}") from error


def portable_task(task: TaskConfig) -> dict[str, Any]:
    """A task's configuration as files hold it, without the path of its data."""
    content: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(task)))
    content.pop("path", None)
    return content


def read(path: Path) -> Tuned:
    """Read one file.

    Raises:
        ConfigError: it is no such file, or a field is missing, unknown or of the wrong kind.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = {f.name for f in dataclasses.fields(Tuned)}
        if not isinstance(raw, dict) or set(raw) != names:
            found = sorted(map(str, raw)) if isinstance(raw, dict) else type(raw).__name__
            raise ValueError(f"needs the fields {', '.join(sorted(names))}, has {found}")
        settings = raw["settings"]
        if not isinstance(settings, dict) or not all(
            isinstance(k, str) and _finite(v) and v > 0 for k, v in settings.items()
        ):
            raise ValueError(f"settings: {settings!r} are not positive numbers by key")
        for name in ("trial", "trials", "search_seed"):
            if type(raw[name]) is not int:
                raise ValueError(f"{name}: {raw[name]!r} is not a whole number")
        for name in ("trial", "trials"):
            if raw[name] < 1:
                raise ValueError(f"{name}: {raw[name]} is not at least 1")
        for name in ("metric", "commit", "command"):
            if not isinstance(raw[name], str):
                raise ValueError(f"{name}: {raw[name]!r} is not a text")
        if not isinstance(raw["task"], dict):
            raise ValueError(f"task: {raw['task']!r} is not a configuration")
        for name in ("budget", "value", "hand_set_value"):
            missing = name == "hand_set_value" and raw[name] is None
            if not missing and not _finite(raw[name]):
                raise ValueError(f"{name}: {raw[name]!r} is not a number")
        for name, kind, said in (("seeds", int, "whole numbers"), ("records", str, "texts")):
            if not isinstance(raw[name], list) or not all(type(each) is kind for each in raw[name]):
                raise ValueError(f"{name}: {raw[name]!r} is not a list of {said}")
        ranges = raw["ranges"]
        if not isinstance(ranges, dict) or not all(
            isinstance(ends, list) and len(ends) == 2 and all(map(_finite, ends)) for ends in ranges.values()
        ):
            raise ValueError(f"ranges: {ranges!r} are not [low, high] by key")
        return Tuned(**raw)
    except (OSError, ValueError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{_named(path)}: no tuned settings ({line}); {REMEDY}") from error


def write(
    folder: Path,
    choice: Choice,
    *,
    task: TaskConfig,
    ranges: dict[str, list[float]],
    search_seed: int,
    commit: str,
    command: str,
) -> Path:
    """Write the file of a choice, replacing an older one at once; return its path.

    A file that says the same is left as it is: it names the command that ran the trials, not a later one
    that only looked at them again.

    Raises:
        ConfigError: nothing was chosen, a name is no plain file name, or the file cannot be written.
    """
    chosen, path = choice.chosen, path_of(folder, choice.task, choice.size, choice.arm)
    if chosen is None or chosen.value is None or path is None:
        raise ConfigError(f"{choice.task} {choice.size} {choice.arm}: nothing to write")
    own = choice.trials[0]
    found = {} if chosen.number == 1 else chosen.settings
    settings = {key: value for key in ranges if (value := found.get(key)) is not None}
    tuned = Tuned(
        settings=settings,
        trial=chosen.number,
        trials=len(choice.trials),
        seeds=list(choice.seeds),
        search_seed=search_seed,
        ranges={key: [float(end) for end in ends] for key, ends in ranges.items()},
        metric=choice.metric,
        value=chosen.value,
        hand_set_value=own.value,
        budget=choice.budget,
        task=portable_task(task),
        commit=commit,
        command=command,
        records=list(chosen.cells),
    )
    if path.exists() and _says(path, tuned):
        return path
    content = dataclasses.asdict(tuned)
    text = "# Written by a search; used wherever this task, size and arm meet, unless settings=none.\n"
    text += yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    try:
        write_atomically(path, text)
    except OSError as error:
        reason = f"{_named(path)}: cannot be written ({error.strerror})"
        raise ConfigError(f"{reason}; the same command with settings=FOLDER writes it elsewhere") from error
    return path


def _says(path: Path, tuned: Tuned) -> bool:
    """Whether a file holds this, whichever command wrote it; one that cannot be read does not."""
    try:
        return dataclasses.replace(read(path), command=tuned.command) == tuned
    except ConfigError:
        return False


def in_words(study: str, cell: Cell, tuned: Tuned) -> Settings:
    """What a manifest keeps of tuned settings."""
    said = ", ".join(f"{key}={value:g}" for key, value in tuned.settings.items())
    return Settings(
        study=study,
        arm=cell.arm.name,
        size=cell.size.name,
        trials=tuned.trials,
        budget=tuned.budget,
        runs=len(tuned.seeds),
        commit=tuned.commit,
        chosen=said or HAND_SET,
    )


def _finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _named(path: Path) -> str:
    """A file by the last parts of its path."""
    return "/".join(path.parts[-4:])
