"""An experiment to cells: expanded, checked, identified, costed. Nothing heavy is imported."""

import dataclasses
from collections import Counter
from functools import cache
from typing import Any

from arena.config import Cell, ConfigError, TaskConfig, require_choice
from arena.tasks import build_task
from arena.tasks.base import Task
from compare.folders import conf_folder
from compare.plan.checks import check_experiment, check_search
from compare.plan.config import Request, Root
from compare.plan.families import check, family, validate
from compare.plan.grid import Point, cell_of, key_of, part_of, points_of
from compare.plan.planned import Planned, identities
from compare.plan.tuned import apply, folder_of
from compare.store.manifest import AXES


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
        cell, settings = apply("cells", cell_of(root, root.seed), None if reshaped else folder, by_hand)
        return _planned("cells", Point(cell=cell, rung=0, settings=settings), [root.seed], tasks)
    seeds = root.experiment.seeds
    if root.experiment.search is not None or not root.experiment.tuned:
        folder = None
    of_trainer = [o for o in request.overrides if key_of(o).split(".")[0] == "trainer"]
    part = cache(part_of)
    planned = [
        p
        for name, study in root.experiment.studies.items()
        for point in points_of(name, study, root.experiment, of_trainer, folder, part)
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
    wanted, given = _place(request.root), dict[str, str]()
    for override in request.overrides:
        key = key_of(override)
        if key in wanted:
            given[key] = override.lstrip("+~")
        elif key.split(".")[0] in wanted:
            raise ConfigError(
                f"{override}: an experiment sets this for each study; edit "
                "experiment.studies.NAME.overrides, or run one cell without +experiment"
            )
    chosen = [p for p in plan if all(_place(p.cell)[key] == wanted[key] for key in given)]
    if not chosen:
        raise ConfigError(
            f"{' '.join(given.values())}: no cell of experiment {request.name} matches; leave it out, or "
            "give a value that the experiment's file lists"
        )
    return chosen


def _place(of: Cell | Root) -> dict[str, Any]:
    """Where a cell stands in a grid, by the keys that the command line picks with."""
    return {
        "arm": of.arm.name,
        "task": of.task.name,
        "size": of.size.name,
        "budget": of.budget.flops,
        "seed": of.seed,
    }


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
