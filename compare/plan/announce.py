"""The manifest of a plan: written before its cells run, and once more when they have."""

from collections import Counter
from dataclasses import replace

from compare.plan.config import Experiment, Request
from compare.plan.planned import Planned
from compare.store import manifest
from compare.store.claims import Store
from compare.store.manifest import Manifest, PlannedCell

SINGLE = Experiment(title="Cells run one by one", question="What did these cells measure?")
"""Stands in for the experiment where none is named."""


def write_manifest(request: Request, grid: list[Planned], store: Store, commit: str) -> None:
    """Write the grid beside the records. Cells run one by one share one manifest: all that the store holds.

    Raises:
        ManifestError: it would not load again.
    """
    experiment: Experiment = request.root.experiment or SINGLE
    if experiment is not SINGLE:
        # The report shows studies as the experiment's file lists them, not as the plan runs them.
        names = list(experiment.studies)
        grid = sorted(grid, key=lambda p: names.index(p.study))
    cells = tuple(p.listed for p in grid)
    content = Manifest(
        name=request.name,
        title=experiment.title,
        question=experiment.question,
        command=request.command,
        commit=commit,
        contrasts=tuple(experiment.contrasts),
        cells=_with_recorded(cells, store) if experiment is SINGLE else cells,
        fit_share=float(experiment.fit_share),
        axis=experiment.axis,
        tuned=tuple(dict.fromkeys(p.settings for p in grid if p.settings is not None)),
    )
    manifest.dump(store.root, content)


def _with_recorded(planned: tuple[PlannedCell, ...], store: Store) -> tuple[PlannedCell, ...]:
    """The cells planned, and all that the store has a record of, by task and size."""
    cells = {cell.cell: cell for cell in planned}
    for record in store.glances():
        cells[record.cell] = PlannedCell(
            cell=record.cell,
            study=f"{record.task} {record.size}",
            arm=record.arm,
            task=record.task,
            size=record.size,
            budget=record.budget,
            seed=record.seed,
        )
    # Cells that differ in more than arm, budget and seed go to studies of their own.
    count: Counter[tuple[str, str, float, int]] = Counter()
    apart: list[PlannedCell] = []
    for cell in cells.values():
        place = cell.study, cell.arm, cell.budget, cell.seed
        count[place] += 1
        apart.append(replace(cell, study=f"{cell.study} ({count[place]})") if count[place] > 1 else cell)
    return tuple(apart)
