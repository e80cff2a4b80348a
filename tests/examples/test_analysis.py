"""The analysis that docs/extending.md shows: one folder, one line of the registry, and the report has it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import compare.analysis
from compare.analysis import registry
from compare.analysis.analyse import analyse, analyses
from compare.calibrate import builders
from compare.plan.config import Experiment
from compare.report import build
from compare.store import evidence, manifest
from compare.store.manifest import Contrast, ManifestError
from tests.compare.planted import scaling

FOLDER = Path(__file__).parent / "analysis"
NAMED = Contrast(study="text", arm="ebt_s1", baseline="transformer", quantity="wall_time", margin=0.1)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder beside the others, and its one line in the registry."""
    monkeypatch.setattr(compare.analysis, "__path__", [*compare.analysis.__path__, str(FOLDER)])
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "wall_time"))
    caches = (registry.quantities, registry.owner, analyses)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def planted(path: Path) -> Path:
    """The planted scaling study, in which ebt_s1 takes twice the transformer's time."""
    store = scaling.store(path, trouble=False)
    plan = manifest.load(store, "scaling")
    for cell in plan.cells:
        found = scaling.read(store, cell)
        slow = 2.0 if cell.arm == "ebt_s1" else 1.0
        builders.write(store, replace(found, seconds={"train": slow * (60 + cell.seed), "total": 200.0}))
    manifest.dump(store, replace(plan, contrasts=(*plan.contrasts, NAMED)))
    return store


def test_it_is_small() -> None:
    lines = [line for path in (FOLDER / "wall_time").glob("*.py") for line in path.read_text().splitlines()]
    assert len(lines) <= 120


@pytest.mark.usefixtures("added")
def test_its_contrast_is_judged_with_the_others_and_the_page_shows_its_section(tmp_path: Path) -> None:
    store = planted(tmp_path)
    results = analyse(evidence.collect(store, manifest.load(store, "scaling")), draws=50)
    primary = [f for f in results.findings if f.primary]
    (ours,) = (f for f in primary if f.quantity == "wall_time")
    assert len(primary) == len(scaling.CONTRASTS) + 1  # Holm's family holds it
    assert (ours.estimate, ours.verdict) == (pytest.approx(2.0), "behind")
    assert ours.claim.startswith(
        "ebt_s1 trains slower than transformer: wall time of training at the largest budget"
    )
    explored = {f.arm for f in results.findings if f.quantity == "wall_time" and not f.primary}
    assert {"ebt_one_step", "rl_grpo"} <= explored
    page = build(store, "scaling")
    html = page.read_text()
    assert '<h2 id="wall">Wall time</h2>' in html
    assert 'href="#wall"' in html  # in the contents
    markdown = (page.parent / "report.md").read_text()
    assert "## Wall time" in markdown
    assert "122.0" in markdown  # ebt_s1: 2 x (60 + 0, 1, 2)
    assert (page.parent / "figures" / "text-wall.svg").is_file()


def test_without_its_line_in_the_registry_the_contrast_is_refused(tmp_path: Path) -> None:
    store = planted(tmp_path)
    with pytest.raises(ManifestError, match="contrast quantity 'wall_time': choose one of"):
        analyse(evidence.collect(store, manifest.load(store, "scaling")), draws=50)


@pytest.mark.usefixtures("added")
def test_an_experiments_file_may_name_it() -> None:
    experiment = Experiment(name="x", title="x", question="x", seeds=[0], studies={}, contrasts=[NAMED])
    assert experiment.contrasts[0].quantity in registry.quantities()


def test_docs_print_it_whole() -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    for name in ("quantities", "analysis"):
        assert (FOLDER / "wall_time" / f"{name}.py").read_text() in page, name
