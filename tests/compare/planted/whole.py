"""A report with every section: the planted studies of scaling, thinking, decay and the ceiling as one."""

from dataclasses import replace
from pathlib import Path

from compare.calibrate import builders
from compare.store import record as records
from compare.store.manifest import Contrast, PlannedCell, dump, load
from tests.compare.planted import ceiling, scaling, shift, thinking

NAME = "whole"
"""Of the experiment."""

PARTS = {
    "scaling": scaling,
    "thinking": thinking,
    "ood": shift,
    "ceiling": ceiling,
}


def store(path: Path) -> Path:
    """One store and one experiment, `whole`; cells and studies carry the name of their part."""
    cells: list[PlannedCell] = []
    contrasts: list[Contrast] = []
    for name, part in PARTS.items():
        source = part.store(path / "parts" / name)
        plan = load(source, name)
        contrasts += [replace(c, study=f"{name} {c.study}") for c in plan.contrasts]
        for cell in plan.cells:
            here = replace(cell, cell=f"{name}-{cell.cell}", study=f"{name} {cell.study}")
            cells.append(here)
            found = source / "cells" / cell.cell / "record.json"
            try:
                builders.write(path, replace(records.load(found), cell=here.cell))
            except (records.RecordError, OSError):
                continue  # planted as missing or unreadable; missing here
    changes = {"name": NAME, "title": "Everything at once", "fit_share": ceiling.SHARE}
    dump(path, builders.manifest(cells, contrasts, **changes))
    return path
