"""After a search: the settings that it chose are written to files, and said."""

from collections.abc import Callable
from pathlib import Path

from arena.config import Cell, ConfigError
from compare.analysis.search.choice import Choice, choices
from compare.folders import conf_folder
from compare.plan import tuned
from compare.plan.config import Request, Search
from compare.plan.planned import Planned, portable
from compare.plan.trials import ranges_of
from compare.plan.tuned import Tuned
from compare.store import manifest
from compare.store.evidence import collect
from compare.store.redaction import without_paths


def keep_choices(request: Request, grid: list[Planned], store: Path, say: Callable[[str], None]) -> None:
    """Write what a search chose, arm by arm, and say so in a line each."""
    folder = tuned.folder_of(request.root.settings, conf_folder())
    first = {(p.study, p.cell.arm.name, p.cell.size.name): p.cell for p in reversed(grid)}
    for choice in choices(collect(store, manifest.load(store, request.name))):
        cell = first[choice.study, choice.arm, choice.size]
        what = f"{choice.task} {choice.size} {choice.arm}"
        if choice.chosen is None:
            say(f"{what}: nothing chosen, {choice.obstacle}")
        elif folder is None:
            say(f"{what}: trial {choice.chosen.number}, not written (settings=none)")
        else:
            path = write(folder, choice, cell, request.root.experiment.search, without_paths(request.command))
            trial = f"trial {choice.chosen.number} of {len(choice.trials)}"
            say(f"{what}: {trial} -> {'/'.join(path.parts[-4:])}")


def write(folder: Path, choice: Choice, cell: Cell, search: Search, command: str) -> Path:
    """Write the file of a choice; return its path.

    Raises:
        ConfigError: nothing was chosen, a name is no plain file name, or the file cannot be written.
    """
    chosen, path = choice.chosen, tuned.path_of(folder, choice.task, choice.size, choice.arm)
    if chosen is None or chosen.value is None or path is None:
        raise ConfigError(f"{choice.task} {choice.size} {choice.arm}: nothing to write")
    ranges = ranges_of(cell, search)
    settings = {} if chosen.number == 1 else chosen.settings
    content = Tuned(
        settings={key: value for key in ranges if (value := settings.get(key)) is not None},
        trial=chosen.number,
        trials=len(choice.trials),
        seeds=list(choice.seeds),
        search_seed=search.seed,
        ranges={key: [float(end) for end in ends] for key, ends in ranges.items()},
        metric=choice.metric,
        value=chosen.value,
        hand_set_value=choice.trials[0].value,
        budget=choice.budget,
        task=portable(cell)["task"],
        commit=choice.commit,  # a later program may only have looked at them again
        command=command,
        records=list(chosen.cells),
    )
    tuned.write(path, content)
    return path
