"""An experiment to cells: expanded, checked, identified, costed. Nothing heavy is imported."""

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arena.config import Cell, ConfigError, TaskConfig, require_choice
from arena.tasks import build_task
from arena.tasks.base import Task
from compare.folders import conf_folder
from compare.plan.config import Experiment, Root
from compare.plan.families import check, family
from compare.plan.grid import cell_of, key_of, passed_on, points_of
from compare.plan.tuned import apply, folder_of, in_words
from compare.store.manifest import (
    ANATOMY_QUANTITIES,
    AXES,
    CEILING_QUANTITIES,
    FORECASTS,
    ONE_BY_ONE,
    OOD_QUANTITIES,
    OWN_BASELINES,
    THINKING_QUANTITIES,
    THINKING_SHIFT_QUANTITIES,
    WARM_START,
    Contrast,
    Settings,
    check_contrasts,
)
from compare.store.record import Record

THINKING_FAMILIES = ("ebt", "parallel", "diffusion", "looped")
"""Families that answer in more or fewer steps of one kind: descents, unmaskings, loops."""

IDENTITY_VERSION = 1
"""Raised when the code changes what a configuration trains to."""

ADDED = (("arm", "ladder"), ("arm", "warm_until"), ("budget", "problems"), ("trainer", "pool"))
"""Settings younger than version 1: their default, None or empty, leaves cells of before their names."""

GROUPS = ("arm", "task", "size", "budget")
ASSUMED_RATE = 2e10
"""FLOPs a second and worker assumed before the store holds a record; small cells on one CPU core."""
ASSUMED_OVERHEAD = 2.0
"""Seconds a cell spends outside counted work, likewise."""


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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asked for."""

    root: Root
    """The composed configuration."""
    overrides: tuple[str, ...]
    """Overrides as given, without those of Hydra itself."""

    @property
    def name(self) -> str:
        """Name of the report: the experiment's, or `cells` for cells run one by one."""
        return self.root.experiment.name if self.root.experiment else ONE_BY_ONE


def expand(request: Request) -> list[Planned]:
    """The whole grid of a request, cheapest budget first; `narrow` says which cells to run.

    Raises:
        ConfigError: any value that cannot be used; nothing has been trained by then.
    """
    root = request.root
    root.validate()
    tasks: dict[TaskConfig, Task] = {}
    folder = folder_of(root.settings, conf_folder())
    if root.experiment is None:
        # What is set by hand on the command line stays as it is; another shape under a size's name is
        # not the size that was tuned.
        by_hand = set(map(key_of, request.overrides))
        reshaped = any(key.startswith("size.") and key != "size.lr" for key in by_hand)
        cell, tuned = apply(cell_of(root, root.seed), None if reshaped else folder, by_hand)
        planned = _planned("cells", cell, [root.seed], tasks)
        return [dataclasses.replace(p, settings=tuned and in_words(p.study, cell, tuned)) for p in planned]
    seeds = root.experiment.seeds
    if root.experiment.search is not None or not root.experiment.tuned:
        folder = None
    planned = [
        dataclasses.replace(p, rung=point.rung, trial=point.trial, settings=point.settings)
        for name, study in root.experiment.studies.items()
        for point in points_of(name, study, root.experiment, passed_on(request.overrides), folder)
        for p in _planned(name, point.cell, seeds, tasks)
    ]
    count = Counter(p.identity for p in planned)
    twice = next((p for p in planned if count[p.identity] > 1), None)
    if twice is not None:
        raise ConfigError(
            f"experiment {root.experiment.name}: study {twice.study} lists arm {twice.cell.arm.name}, budget "
            f"{twice.cell.budget.flops:g}, seed {twice.cell.seed} twice; remove the repetition"
        )
    require_choice(f"experiment {root.experiment.name}: axis", root.experiment.axis, AXES)
    _check_search(root.experiment, planned)
    _check(root.experiment, planned, tasks)
    return sorted(planned, key=lambda p: p.cell.budget.flops)


def contrasts(experiment: Experiment) -> tuple[Contrast, ...]:
    """The comparisons that an experiment's file names, as its manifest keeps them."""
    return tuple(
        Contrast(
            study=c.study,
            arm=c.arm,
            baseline=c.baseline,
            quantity=c.quantity,
            margin=float(c.margin),
            effort=c.effort,
            baseline_effort=c.baseline_effort,
            severity=c.severity,
            axis=c.axis,
        )
        for c in experiment.contrasts
    )


def _check_search(experiment: Experiment, planned: list[Planned]) -> None:
    """Raise ConfigError if what a search would choose by, or write to, is not what it should be."""
    if experiment.search is None:
        return
    files: dict[tuple[str, str, str], tuple[str, float]] = {}
    for p in planned:
        cell = p.cell
        if cell.trainer.split != "val":
            raise ConfigError(
                f"experiment {experiment.name}: study {p.study}: trainer.split={cell.trainer.split}: a "
                "search must not see what results are measured on; put trainer.split=val into its overrides"
            )
        file, place = (cell.task.name, cell.size.name, cell.arm.name), (p.study, cell.budget.flops)
        if files.setdefault(file, place) != place:
            raise ConfigError(
                f"experiment {experiment.name}: arm {cell.arm.name} is searched for twice on "
                f"{cell.task.name}, size {cell.size.name}; leave one budget or study of it"
            )


def _check(experiment: Experiment, planned: list[Planned], tasks: dict[TaskConfig, Task]) -> None:
    """Raise ConfigError if a contrast asks for what its arms cannot give."""
    kinds = {(p.study, p.cell.arm.name): p.cell.arm.kind for p in planned}
    try:
        check_contrasts(contrasts(experiment), set(kinds), experiment.fit_share)
    except ValueError as error:
        raise ConfigError(f"experiment {experiment.name}: {error}") from error
    measured = {p.study: p.cell.trainer.severities for p in planned}
    axes = {p.study: tasks[p.cell.task].axes for p in planned}
    for c in contrasts(experiment):
        sections = (*OOD_QUANTITIES, *THINKING_QUANTITIES, *CEILING_QUANTITIES, *ANATOMY_QUANTITIES)
        if experiment.axis != "flops" and c.quantity in sections:
            raise ConfigError(
                f"experiment {experiment.name}: contrast {c.quantity} of {c.arm}: it looks at the largest "
                f"budget alone, which all rungs of axis={experiment.axis} share; name it where axis is flops"
            )
        if c.axis and c.axis not in axes[c.study]:
            raise ConfigError(
                f"experiment {experiment.name}: contrast {c.quantity} of {c.arm}: axis {c.axis}: study "
                f"{c.study} has {', '.join(axes[c.study])}; name one of these"
            )
        if c.quantity in OOD_QUANTITIES:
            try:
                _check_shift(c, measured[c.study], kinds[c.study, c.arm])
            except ValueError as error:
                raise ConfigError(f"experiment {experiment.name}: {error}") from error
        if c.severity >= measured[c.study]:
            raise ConfigError(
                f"experiment {experiment.name}: contrast {c.quantity} of {c.arm} at severity {c.severity}: "
                f"study {c.study} measures {measured[c.study]} severities, from 0; raise trainer.severities"
            )
        if c.quantity not in (*CEILING_QUANTITIES, *ANATOMY_QUANTITIES):
            continue
        # A measured level may be anybody's; a ceiling, an entropy and a forecast need rewards.
        needed = [c.baseline] if c.quantity == "above_ceiling" else [c.arm, c.baseline]
        for arm in needed:
            kind = kinds.get((c.study, arm))
            if arm not in (WARM_START, *FORECASTS, *OWN_BASELINES.values()) and kind != "rl":
                raise ConfigError(
                    f"experiment {experiment.name}: contrast {c.quantity} of {c.arm} against {c.baseline}: "
                    f"{arm} is of family {kind}, which no reward trains; name an arm of family rl"
                )


def _check_shift(contrast: Contrast, severities: int, kind: str) -> None:
    """Raise ValueError if a contrast along an axis of shift has nothing to be measured on."""
    said = f"contrast {contrast.quantity} of {contrast.arm}"
    if severities < 2:
        raise ValueError(
            f"{said}: trainer.severities={severities} measures in distribution only; give study "
            f"{contrast.study} at least 2"
        )
    if contrast.quantity in THINKING_SHIFT_QUANTITIES and kind not in THINKING_FAMILIES:
        raise ValueError(
            f"{said}: {contrast.arm} is of family {kind}, which does not think; name one of "
            f"{', '.join(THINKING_FAMILIES)}"
        )


def narrow(plan: list[Planned], request: Request) -> list[Planned]:
    """The cells to run now: arm=, task=, size=, budget= and seed= on the command line pick from a grid.

    The grid itself, and with it the contrasts and their correction, stays what the experiment's file
    says: cells left out are missing in the report, not undone.

    Raises:
        ConfigError: nothing matches, or a setting is given that an experiment has to make.
    """
    if request.root.experiment is None:
        return plan
    given = _given(request.overrides)
    chosen = [p for p in plan if all(_matches(p.cell, request.root, key) for key in given)]
    if not chosen:
        raise ConfigError(
            f"{' '.join(f'{k}={given[k]}' for k in given)}: no cell of experiment {request.name} matches; "
            "leave it out, or give a value that the experiment's file lists"
        )
    return chosen


def identity(cell: Cell, data: dict[str, Any]) -> str:
    """Hash of what changes a cell's result: not paths, loggers, devices or threads."""
    return _identities(cell, data, [cell.seed])[0]


def _identities(cell: Cell, data: dict[str, Any], seeds: list[int]) -> list[str]:
    """Of the cell under each seed."""
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


def expected_flops(cell: Cell, task: Task) -> float:
    """Training FLOPs of a cell."""
    if cell.budget.problems is None:
        return cell.budget.flops
    steps = cell.budget.problems // cell.task.batch
    return min(cell.budget.flops, steps * family(cell).step_flops(cell, task))


def expected_seconds(planned: Planned, rates: dict[str, float]) -> float:
    """Wall time of a cell on one worker, from the rates seen in this store, FLOPs a second by arm."""
    return ASSUMED_OVERHEAD + planned.flops / rates.get(planned.cell.arm.name, ASSUMED_RATE)


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
    )


def _planned(study: str, cell: Cell, seeds: list[int], tasks: dict[TaskConfig, Task]) -> list[Planned]:
    """The cell under each seed. What no seed changes is worked out once: a study may have thousands."""
    cells = [dataclasses.replace(cell, seed=seed) for seed in seeds]
    if cell.task not in tasks:
        cell.validate()
        tasks[cell.task] = build_task(cell.task)
    task = tasks[cell.task]
    for each in (min(cells, key=lambda c: c.seed), max(cells, key=lambda c: c.seed)):
        check(each, task)
    data = task.fingerprint() | family(cell).fingerprint(cell)
    total, inner = family(cell).parameters(cell, task)
    flops = expected_flops(cell, task)
    return [
        Planned(
            identity=name,
            study=study,
            cell=each,
            data=data,
            parameters=total,
            non_embedding=inner,
            flops=flops,
        )
        for each, name in zip(cells, _identities(cell, data, seeds), strict=True)
    ]


def _given(overrides: tuple[str, ...]) -> dict[str, str]:
    """The axes of the grid that the command line narrows."""
    given: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key in (*GROUPS, "seed"):
            given[key] = value
        elif key.split(".")[0] in GROUPS:
            raise ConfigError(
                f"{override}: an experiment sets this for each study; edit "
                "experiment.studies.NAME.overrides, or run one cell without +experiment"
            )
    return given


def _matches(cell: Cell, root: Root, key: str) -> bool:
    if key == "seed":
        return cell.seed == root.seed
    if key == "budget":
        return cell.budget.flops == root.budget.flops
    return getattr(cell, key).name == getattr(root, key).name
