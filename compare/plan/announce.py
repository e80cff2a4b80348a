"""The manifest of a plan: written before its cells run, and once more when they have."""

from dataclasses import replace

from arena.config import ConfigError
from compare.plan.config import Request
from compare.plan.planned import Planned
from compare.store import manifest
from compare.store.claims import Store
from compare.store.manifest import Manifest, ManifestError, PlannedCell


def write_manifest(request: Request, grid: list[Planned], store: Store, commit: str) -> None:
    """Write the grid beside the records. Cells run one by one share one manifest: all that the store holds.

    Raises:
        ConfigError: it would not load again.
    """
    experiment = request.root.experiment
    # The report shows studies as the experiment's file lists them, not as the plan runs them.
    names = list(experiment.studies) if experiment else ["cells"]
    ordered = sorted(grid, key=lambda p: names.index(p.study))
    content = Manifest(
        name=request.name,
        title="Cells run one by one",
        question="What did these cells measure?",
        command=request.command,
        commit=commit,
        contrasts=(),
        cells=tuple(p.listed for p in ordered),
        tuned=tuple(dict.fromkeys(p.settings for p in ordered if p.settings is not None)),
    )
    if experiment is None:
        content = replace(content, cells=_with_recorded(content.cells, store))
    else:
        content = replace(
            content,
            title=experiment.title,
            question=experiment.question,
            contrasts=tuple(experiment.contrasts),
            fit_share=float(experiment.fit_share),
            axis=experiment.axis,
        )
    try:
        manifest.dump(store.root, content)
    except ManifestError as error:
        raise ConfigError(str(error)) from error


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
    taken: set[tuple[str, str, float, int]] = set()
    apart: list[PlannedCell] = []
    for cell in cells.values():
        study, number = cell.study, 1
        while (study, cell.arm, cell.budget, cell.seed) in taken:
            number += 1
            study = f"{cell.study} ({number})"
        taken.add((study, cell.arm, cell.budget, cell.seed))
        apart.append(replace(cell, study=study))
    return tuple(apart)
