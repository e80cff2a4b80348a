"""An experiment to cells: expanded, checked, identified, costed. Nothing heavy is imported."""

import dataclasses
from collections import Counter
from functools import cache

from arena.config import Cell, ConfigError, TaskConfig, require_choice
from arena.tasks import build_task
from arena.tasks.base import Task
from compare.folders import conf_folder
from compare.plan.checks import check_experiment, check_search
from compare.plan.config import Request, Root
from compare.plan.families import check, family, validate
from compare.plan.grid import Point, cell_of, key_of, part_of, passed_on, points_of
from compare.plan.planned import Planned, identities
from compare.plan.tuned import apply, folder_of, in_words
from compare.store.manifest import AXES

GROUPS = ("arm", "task", "size", "budget")


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
        point = Point(cell=cell, rung=0, settings=tuned and in_words("cells", cell, tuned))
        return _planned("cells", point, [root.seed], tasks)
    seeds = root.experiment.seeds
    if root.experiment.search is not None or not root.experiment.tuned:
        folder = None
    part = cache(part_of)
    planned = [
        p
        for name, study in root.experiment.studies.items()
        for point in points_of(name, study, root.experiment, passed_on(request.overrides), folder, part)
        for p in _planned(name, point, seeds, tasks)
    ]
    count = Counter(p.identity for p in planned)
    twice = next((p for p in planned if count[p.identity] > 1), None)
    if twice is not None:
        raise ConfigError(
            f"experiment {root.experiment.name}: study {twice.study} lists arm {twice.cell.arm.name}, budget "
            f"{twice.cell.budget.flops:g}, seed {twice.cell.seed} twice; remove the repetition"
        )
    require_choice(f"experiment {root.experiment.name}: axis", root.experiment.axis, AXES)
    check_search(root.experiment, planned)
    check_experiment(root.experiment, planned, tasks)
    return sorted(planned, key=lambda p: p.cell.budget.flops)


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


def expected_flops(cell: Cell, task: Task) -> float:
    """Training FLOPs of a cell."""
    if cell.budget.problems is None:
        return cell.budget.flops
    steps = cell.budget.problems // cell.task.batch
    return min(cell.budget.flops, steps * family(cell).step_flops(cell, task))


def _planned(study: str, point: Point, seeds: list[int], tasks: dict[TaskConfig, Task]) -> list[Planned]:
    """A point under each seed. What no seed changes is worked out once: a study may have thousands."""
    cell = point.cell
    cells = [dataclasses.replace(cell, seed=seed) for seed in seeds]
    if cell.task not in tasks:
        validate(cell)
        tasks[cell.task] = build_task(cell.task)
    task = tasks[cell.task]
    for seeded in (min(cells, key=lambda c: c.seed), max(cells, key=lambda c: c.seed)):
        check(seeded, task)
    data = task.fingerprint() | family(cell).fingerprint(cell)
    total, inner = family(cell).parameters(cell, task)
    flops = expected_flops(cell, task)
    return [
        Planned(
            identity=name,
            study=study,
            cell=seeded,
            data=data,
            parameters=total,
            non_embedding=inner,
            flops=flops,
            rung=point.rung,
            trial=point.trial,
            settings=point.settings,
        )
        for seeded, name in zip(cells, identities(cell, data, seeds), strict=True)
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
