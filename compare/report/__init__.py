"""Findings -> figures and tables -> HTML and Markdown.

Nothing here imports torch: a report is rebuilt from records alone (`python -m compare.report RUNS`).
"""

from collections.abc import Callable
from pathlib import Path


def build(
    store: Path,
    name: str,
    folder: Path | None = None,
    *,
    progress: Callable[[str], None] | None = None,
    unusable: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write a report and return the path of its page.

    Args:
        store: folder with `cells/` and `experiments/`.
        folder: of the report; None: `<store>/reports/<name>/`.
        progress: called with a line on what is being done.
        unusable: called with a line on each record that does not count, and why.

    Raises:
        compare.store.manifest.ManifestError: the store has no such experiment, or its manifest is unreadable.
    """
    # Here, so that importing the harness stays light.
    from compare.report.page import write
    from compare.store.evidence import collect
    from compare.store.manifest import load

    evidence = collect(store, load(store, name), progress)
    for trouble in evidence.troubles:
        if trouble.kind in ("unreadable", "left out"):
            unusable(f"{name}: cell {trouble.planned.cell} does not count: {trouble.reason}")
    return write(evidence, store, folder, progress=progress)
