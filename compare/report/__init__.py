"""Findings -> figures and tables -> HTML and Markdown.

Nothing here imports torch: a report is rebuilt from records alone (`python -m compare.report RUNS`).
"""

from collections.abc import Callable
from pathlib import Path


def build(store: Path, name: str, *, progress: Callable[[str], None] | None = None) -> Path:
    """Write `<store>/reports/<name>/` and return its page; see compare/report/page.py.

    Raises:
        compare.store.manifest.ManifestError: the store has no such experiment, or its manifest is unreadable.
    """
    from compare.report.page import compose  # Here, so that importing the harness stays light.

    return compose(store, name, progress=progress)
