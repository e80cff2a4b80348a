"""The grid of a study: its arms, rungs and trials as cells under one seed, with tuned settings."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from arena.config import Cell, ConfigError, require_choice
from compare.plan.config import Experiment, Root, Rung, Study
from compare.plan.families import FAMILIES
from compare.plan.trials import trials, with_settings
from compare.plan.tuned import apply
from compare.store.manifest import Settings

Part = Callable[[str, str], DictConfig]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One cell of a study under its first seed, and where it stands in the grid."""

    cell: Cell
    rung: int
    """Its number; 0 where FLOPs are the axis."""
    trial: int = 0
    settings: Settings | None = None


def points_of(
    name: str, study: Study, experiment: Experiment, given: list[str], folder: Path | None, part: Part
) -> list[Point]:
    """One cell per arm, rung and trial, with tuned settings from `folder` if there are any.

    Args:
        given: overrides of the command line that hold for every cell.
        part: `part_of`, or what remembers its answers: studies share arms and sizes.

    Raises:
        ConfigError: the study is empty, or an override sets what it may not.
    """
    if not (study.arms and study.rungs and experiment.seeds):
        raise ConfigError(f"experiment.studies.{name}: needs at least one arm, one rung and one seed")
    for override in study.overrides:
        if not override.startswith(("task.", "trainer.")):
            raise ConfigError(
                f"experiment.studies.{name}.overrides: {override} sets neither task. nor trainer.; what "
                "concerns one arm belongs in a file of conf/arm"
            )
    for kind, overrides in study.family_overrides.items():
        require_choice(f"experiment.studies.{name}.family_overrides", kind, FAMILIES)
        for override in overrides:
            if not override.startswith("arm.") or override.startswith(("arm.name", "arm.kind")):
                raise ConfigError(
                    f"experiment.studies.{name}.family_overrides: {override} sets no setting of an arm; give "
                    "keys such as arm.warm_until, they hold for every arm of the family"
                )
    points: list[Point] = []
    overrides = [f"task={study.task}", f"size={study.rungs[0].size}", *study.overrides, *given]
    root = OmegaConf.to_object(compose(config_name="config", overrides=overrides))
    assert isinstance(root, Root)
    search = experiment.search
    for arm in study.arms:
        config = part("arm", arm)
        of_family = study.family_overrides.get(config.arm.kind, [])
        for override in OverridesParser.create().parse_overrides(of_family):
            config = copy.deepcopy(config)
            try:
                OmegaConf.update(config, override.key_or_group, override.value())
            except OmegaConfBaseException as error:
                reason = f"{override.input_line}: {str(error).splitlines()[0]}"
                raise ConfigError(f"experiment.studies.{name}.family_overrides: {reason}") from error
        of_arm: list[Point] = []
        for i, rung in enumerate(study.rungs, start=1):
            budget = dataclasses.replace(root.budget, flops=rung.flops, problems=rung.problems)
            chosen = {"arm": config.arm, "size": part("size", rung.size).size}
            chosen = {group: OmegaConf.to_object(node) for group, node in chosen.items()}
            cell = dataclasses.replace(cell_of(root, experiment.seeds[0]), budget=budget, **chosen)
            cell = dataclasses.replace(cell, **_shape(cell, rung))
            place = 0 if experiment.axis == "flops" else i
            tried = enumerate(trials(cell, search), start=1) if search else [(0, dict[str, float]())]
            of_arm += [Point(cell=with_settings(cell, s), rung=place, trial=number) for number, s in tried]
        points += _with_tuned(name, of_arm, folder, set(map(key_of, of_family)))
    return points


def _with_tuned(study: str, points: list[Point], folder: Path | None, set_elsewhere: set[str]) -> list[Point]:
    """An arm's points with tuned settings, if all of its sizes have them.

    A curve over sizes of which one is tuned would bend there.
    """
    applied = [apply(study, point.cell, folder, set_elsewhere) for point in points]
    if any(settings is None for _, settings in applied):
        return points
    return [
        dataclasses.replace(point, cell=cell, settings=settings)
        for point, (cell, settings) in zip(points, applied, strict=True)
    ]


def _shape(cell: Cell, rung: Rung) -> dict[str, Any]:
    """Size and task of a rung that names its own depth, width or batch; a changed size gets its own name."""
    changed = {key: value for key in ("layers", "width") if (value := getattr(rung, key)) is not None}
    parts: dict[str, Any] = {}
    if changed:
        name = "-".join([cell.size.name, *(f"{key}{value}" for key, value in changed.items())])
        parts["size"] = dataclasses.replace(cell.size, name=name, **changed)
    if rung.batch is not None:
        parts["task"] = dataclasses.replace(cell.task, batch=rung.batch)
    return parts


def part_of(group: str, name: str) -> DictConfig:
    """An arm or a size as its own file has it, which takes Hydra half the time of a whole configuration."""
    try:
        return compose(config_name=f"{group}/{name}")
    except MissingConfigException:
        return compose(config_name="config", overrides=[f"{group}={name}"])  # says which there are


def cell_of(root: Root, seed: int) -> Cell:
    """The one cell that a composed configuration names."""
    return Cell(
        arm=root.arm, task=root.task, size=root.size, budget=root.budget, trainer=root.trainer, seed=seed
    )


def key_of(override: str) -> str:
    """What a Hydra override sets."""
    return override.lstrip("+~").partition("=")[0]
