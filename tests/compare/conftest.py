"""A planted study and its report, for the test modules that say which: `PLANTED` and `NAME`."""

from pathlib import Path

import pytest

from compare.analysis import drawing
from compare.analysis.analyse import analyse
from compare.analysis.base import Results
from compare.report import build
from compare.store import evidence, manifest


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that the module's `PLANTED` writes."""
    return request.module.PLANTED.store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, store: Path) -> Results:
    """What the records of its experiment, the module's `NAME`, come to."""
    return analyse(evidence.collect(store, manifest.load(store, request.module.NAME)))


@pytest.fixture(scope="module")
def look(results: Results) -> dict[str, tuple[str, str]]:
    """Colour and marker of every arm."""
    return drawing.colours(cell.arm for cell in results.evidence.manifest.cells)


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest, store: Path) -> str:
    """Its report as HTML."""
    return build(store, request.module.NAME).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(request: pytest.FixtureRequest, store: Path, page: str) -> str:
    """The same as Markdown."""
    return (store / "reports" / request.module.NAME / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plain(markdown: str) -> str:
    """The Markdown without its escapes."""
    return markdown.replace("\\", "")
