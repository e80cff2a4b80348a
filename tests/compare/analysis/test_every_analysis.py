"""What holds for every analysis of the registry, on the planted study that bears its name."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module

import pytest

from compare.analysis import registry
from compare.analysis.analyse import analyse, analyses
from compare.analysis.base import Results
from compare.analysis.blocks import Block, Bold, Callout, Code, Fold, Heading, Mark, Table, figures_of
from compare.analysis.quantity import Quantity, check_contrasts
from compare.report.page import write
from compare.store.evidence import Evidence, Trouble
from compare.store.manifest import Contrast
from tests.compare.conftest import DRAWS, Made, Plant
from tests.compare.planted import scaling
from tests.compare.reading import draws_once, of_kind, says_the_answers, section_of, visible

WITHOUT_ANSWERS = {"scaling"}
"""Analyses whose section shows curves and fits; its findings answer at the head of the page."""

ALWAYS = {"scaling"}
"""Analyses that every study has."""

ELSEWHERE = {"thinking_shift_loss"}
"""Quantities that no arm of a planted study has: tests/compare/analysis/shift/test_ood.py measures it."""

UNMEASURED = {
    "ceiling": "no finished run was trained by reward",
    "tokens": "no finished run recorded where its entropy sits",
    "shift": "no finished run was measured under shift",
    "thinking": "no finished run was evaluated",
}
"""Why there is no number where nothing has run."""


@pytest.fixture(params=registry.NAMES, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """One analysis."""
    return request.param


@pytest.fixture(scope="module")
def made(name: str, planted_study: Plant) -> Made:
    """Its planted study."""
    return planted_study(import_module(f"tests.compare.planted.{name}"))


@pytest.fixture(scope="module")
def section(name: str, made: Made) -> list[Block]:
    """Its section of that study's report."""
    return section_of(made.results, name)


def marks(piece: object) -> Iterator[Mark]:
    """Marks within a piece of text."""
    if isinstance(piece, Mark):
        yield piece
    elif isinstance(piece, tuple):
        for part in piece:
            yield from marks(part)
    elif isinstance(piece, Bold | Code):
        yield from marks(piece.text)


def without_records(evidence: Evidence) -> Evidence:
    """The same plan, of which nothing has run."""
    troubles = tuple(Trouble(planned=c, kind="missing", reason="not run") for c in evidence.manifest.cells)
    return replace(evidence, runs=(), troubles=troubles)


def unasked(evidence: Evidence) -> Evidence:
    """The same runs without a contrast, a forecast or a trace that asks for a section."""
    runs = tuple(replace(run, record=replace(run.record, traces=())) for run in evidence.runs)
    return replace(evidence, manifest=replace(evidence.manifest, contrasts=(), fit_share=0.0), runs=runs)


def one_seed(evidence: Evidence) -> Evidence:
    """The same experiment, planned and run with a single seed."""
    cells = tuple(cell for cell in evidence.manifest.cells if cell.seed == 0)
    runs = tuple(run for run in evidence.runs if run.planned.seed == 0)
    troubles = tuple(trouble for trouble in evidence.troubles if trouble.planned.seed == 0)
    return Evidence(manifest=replace(evidence.manifest, cells=cells), runs=runs, troubles=troubles)


def test_page_and_markdown_hold_the_section(name: str, made: Made, section: list[Block]) -> None:
    page, plain = made.page.read_text(encoding="utf-8"), made.markdown.replace("\\", "")
    text = visible(page)
    for heading in of_kind(Heading, section):
        assert heading.text in text
        assert f"{'#' * heading.level} {heading.text}" in plain
        assert not heading.anchor or f'href="#{heading.anchor}"' in page
    for fold in of_kind(Fold, section):
        assert fold.summary in text
    tables = list(of_kind(Table, section))
    assert tables
    for table in tables:
        assert f'aria-label="{table.label}"' in page
        assert f"| {' | '.join(table.columns)} |" in plain
    if name not in WITHOUT_ANSWERS:
        says_the_answers(page, plain, list(of_kind(Callout, section)))


def test_every_figure_is_drawn_once_rests_on_cells_and_speaks(made: Made, section: list[Block]) -> None:
    figures = list(figures_of(section))
    draws_once(made.page.read_text(encoding="utf-8"), made.page.parent / "figures", figures)
    cells = {run.planned.cell for run in made.results.evidence.runs}
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.records, figure.name
        assert set(figure.records) <= cells, figure.name
        drawn = ElementTree.fromstring(figure.svg)
        assert drawn.get("role") == "img"
        assert len(drawn.get("aria-label", "")) > 20, figure.name


def test_every_measured_row_rests_on_cells(made: Made, section: list[Block]) -> None:
    cells = {run.planned.cell for run in made.results.evidence.runs}
    for table in of_kind(Table, section):
        for row in table.rows:
            resting = list(marks(row))
            assert resting or "not measured" in str(row), (table.label, row)
            assert all(mark.cells and set(mark.cells) <= cells for mark in resting), (table.label, row)


def test_the_same_records_give_the_same_section(name: str, made: Made, section: list[Block]) -> None:
    again = analyse(made.results.evidence, draws=DRAWS)
    assert section_of(again, name) == section
    assert again.findings == made.results.findings


@pytest.mark.parametrize("study", ["its own", "another"])
def test_an_experiment_that_does_not_ask_has_no_such_section(
    study: str, name: str, made: Made, planted_study: Plant
) -> None:
    if name in ALWAYS:
        pytest.skip("every study has one")
    if study == "its own":
        results = analyse(unasked(made.results.evidence), draws=20)
    else:
        results = planted_study(scaling).results
        assert not {contrast.quantity for contrast in scaling.CONTRASTS} & quantities(name).keys()
    headings = [heading.text for heading in of_kind(Heading, section_of(results, name))]
    assert analyses()[name].title not in headings
    announced = {key for key, quantity in quantities(name).items() if quantity.announced}
    assert not {finding.quantity for finding in results.findings} & announced


def test_without_a_finished_record_the_page_says_so_and_nothing_is_decided(
    name: str, made: Made, tmp_path
) -> None:
    nothing = without_records(made.results.evidence)
    results = analyse(nothing, draws=20)
    assert {finding.verdict for finding in results.findings} <= {"undecided"}
    text = visible(write(nothing, tmp_path).read_text(encoding="utf-8"))
    for finding in results.findings:
        assert finding.estimate is None
        assert "could not be measured (" in finding.claim
        assert UNMEASURED.get(registry.owner(finding.quantity), "") in finding.claim
        assert finding.claim in text
    section = section_of(results, name)
    assert not list(figures_of(section))
    if section and name not in ALWAYS:
        assert analyses()[name].nothing in text
    assert "nan" not in text.lower()


def test_one_seed_decides_nothing(name: str, made: Made, tmp_path) -> None:
    alone = one_seed(made.results.evidence)
    results = analyse(alone, draws=20)
    assert own(results, name) or not quantities(name)
    for finding in results.findings:
        assert finding.verdict == "undecided", finding.claim
    text = visible(write(alone, tmp_path).read_text(encoding="utf-8"))
    assert "nan" not in text.lower()
    assert "single run" in text


def test_every_quantity_is_judged_in_a_sentence(name: str, made: Made) -> None:
    findings = own(made.results, name)
    measured = {finding.quantity for finding in findings if finding.estimate is not None}
    assert measured == quantities(name).keys() - ELSEWHERE
    for finding in findings:
        assert finding.claim.endswith(".")
        assert finding.label in finding.claim
        assert "\n" not in finding.claim


def test_wrong_baselines_are_refused(name: str) -> None:
    arms = {("s", "rl_grpo"), ("s", "rl_forking")}
    every = registry.quantities()
    words = {word for quantity in every.values() for word in quantity.baselines}
    for key, quantity in quantities(name).items():
        good = Contrast(study="s", arm="rl_grpo", baseline="rl_forking", quantity=key, margin=0.1)
        fitting = [*quantity.baselines, *(["rl_forking"] if quantity.second_arm else [])]
        wrong = [replace(good, baseline=word) for word in words - {*fitting}]
        wrong += [replace(good, baseline=baseline) for baseline in ("nobody", "rl_grpo")]
        wrong += [] if quantity.second_arm else [good]
        wrong.append(replace(good, arm="nobody", baseline=fitting[0]))
        if quantity.announced:
            for baseline in fitting:
                check_contrasts((replace(good, baseline=baseline),), arms, 0.36, every)
        else:
            wrong.append(good)
        for contrast in wrong:
            with pytest.raises(ValueError, match=r"^contrast ") as error:
                check_contrasts((contrast,), arms, 0.36, every)
            assert "\n" not in str(error.value)


def quantities(name: str) -> dict[str, Quantity]:
    """What an analysis compares."""
    return import_module(f"compare.analysis.{name}.quantities").QUANTITIES


def own(results: Results, name: str):
    """The findings of one analysis."""
    return [finding for finding in results.findings if finding.quantity in quantities(name)]
