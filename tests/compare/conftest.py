"""Planted studies and their reports, each made once per process, for every test module that reads them.

A test that changes a store plants its own, or copies the folder.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType

import pytest

from compare.analysis import drawing
from compare.analysis.analyse import analyse
from compare.analysis.base import Results
from compare.report import build, diff
from compare.report import page as pages
from compare.store import evidence, manifest

DRAWS = 200
"""Bootstrap draws of a test's report; what intervals cover is asked with more, where it is asked."""


@dataclass(frozen=True)
class Made:
    """A planted store, and what is made of it when somebody first asks."""

    store: Path
    name: str

    @cached_property
    def results(self) -> Results:
        """What the records of its experiment come to."""
        return analyse(evidence.collect(self.store, manifest.load(self.store, self.name)), draws=DRAWS)

    @cached_property
    def page(self) -> Path:
        """Its report, drawn from these results."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "analyse", lambda _evidence, **_options: self.results)
            return build(self.store, self.name)

    @property
    def markdown(self) -> str:
        """The same as Markdown."""
        return (self.page.parent / "report.md").read_text(encoding="utf-8")


Plant = Callable[[ModuleType], Made]


@pytest.fixture(scope="session")
def planted_study(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """By module of tests/compare/planted."""

    @cache
    def plant(module: ModuleType) -> Made:
        return Made(module.store(tmp_path_factory.mktemp(module.NAME)), module.NAME)

    return plant


@pytest.fixture(autouse=True, scope="session")
def _few_draws() -> Iterator[None]:
    """Reports that are built in this process draw less."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pages, diff):
            patch.setattr(module, "analyse", partial(analyse, draws=DRAWS))
        yield


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, planted_study: Plant) -> Made:
    """The study that the module's `PLANTED` names."""
    return planted_study(request.module.PLANTED)


@pytest.fixture(scope="module")
def store(made: Made) -> Path:
    """Its store; not to be changed."""
    return made.store


@pytest.fixture(scope="module")
def results(made: Made) -> Results:
    """What the records of its experiment come to."""
    return made.results


@pytest.fixture(scope="module")
def look(results: Results) -> dict[str, tuple[str, str]]:
    """Colour and marker of every arm."""
    return drawing.colours(cell.arm for cell in results.evidence.manifest.cells)


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    """Its report as HTML."""
    return made.page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(made: Made) -> str:
    """The same as Markdown."""
    return made.markdown


@pytest.fixture(scope="module")
def plain(markdown: str) -> str:
    """The Markdown without its escapes."""
    return markdown.replace("\\", "")
