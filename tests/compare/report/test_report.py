"""A report says what the records support, counts what failed, and travels as one harmless file."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from compare.analysis.base import Results
from compare.report import build
from compare.report.__main__ import main
from compare.report.basis import Basis
from compare.stats.power_law import by_seed
from compare.store import evidence, manifest
from tests.compare.planted import scaling
from tests.compare.reading import visible

ROOT = Path(__file__).parents[3]
PLANTED, NAME = scaling, "scaling"


def test_page_and_markdown_hold_every_number(page: str, plain: str, results: Results) -> None:
    text = visible(page)
    for finding in results.findings:
        assert finding.value_text in text
        assert finding.interval_text in text
        assert finding.value_text in plain
        assert finding.interval_text in plain
    for finding in results.findings[: len(scaling.CONTRASTS)]:
        assert finding.claim in text
        assert finding.claim in plain
    for words in (
        "102 of 105 planned cells",
        "1 failed",
        "1 missing",
        "1 unreadable",
        "98304",
        "6400",
        "abc1234",
    ):
        assert words in text
        assert words in plain
    for study in results.studies:
        for fit in study.measured["scaling"].fits.values():
            for arm in fit.runs.arms:
                exponent = f"{by_seed(fit.alpha(arm)).value:.4f}"
                assert exponent in text
                assert exponent in plain


def test_troubles_are_counted_with_their_reasons(page: str, results: Results) -> None:
    kinds = {t.kind: t for t in results.evidence.troubles}
    assert sorted(kinds) == ["failed", "missing", "unreadable"]
    assert "not of type int" in kinds["unreadable"].reason
    assert "record.json" in kinds["unreadable"].reason
    assert "3 planned cells of these arms gave no result" in visible(page)


def test_a_malicious_reason_stays_text(page: str, markdown: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert page.count("<script") == 1
    # The policy in the head lets this one script run, and no other.
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", page)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed
    assert "&lt;script&gt;alert(" in page
    assert "<script" not in markdown


def test_no_absolute_path_leaks(page: str, markdown: str, store: Path) -> None:
    for text in (page, markdown):
        assert str(store) not in text
        assert str(ROOT) not in text
        assert "/home/" not in text
    assert "secret/arena/cell.py" in page
    # A record from before its writer cut paths has them cut here.
    assert evidence.without_paths('File "/home/a/b/cell.py", line 3') == 'File "…/cell.py", line 3'


def test_the_page_fetches_nothing_and_figures_speak(page: str) -> None:
    assert not re.search(r'(?:src|href)="(?!#|\.\./\.\./cells/[\w.-]+/record\.json")', page)
    assert not re.search(r"url\((?!#)", page)
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) == 7
    for figure in figures:
        assert 'role="img" aria-label="' in figure
        assert "<title>" in figure
        assert "currentColor" in figure
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_every_number_leads_to_its_cells_and_every_cell_to_its_record(
    store: Path, page: str, markdown: str, results: Results
) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    links = re.findall(r'href="#([^"]+)"', page)
    assert set(links) <= ids
    sets = {
        name: set(re.findall(r'href="#cell-([^"]+)"', block))
        for name, block in re.findall(r'<details id="(R\d+)">(.*?)</details>', page, re.DOTALL)
    }
    assert sets
    tables = re.findall(r'data-label="cells"><a class="rests" href="#(R\d+)"', page)
    assert [sets[name] for name in tables] == [set(f.records) for f in results.findings]
    for path in re.findall(r'href="(\.\./[^"]+)"', page):
        assert (store / "reports" / "scaling" / path).resolve().is_file()
    done = {cell.cell for cell in results.evidence.manifest.cells} - {
        t.planned.cell for t in results.evidence.troubles if t.kind == "missing"
    }
    assert set(re.findall(r'href="\.\./\.\./cells/([^/]+)/record', page)) == done
    for figure in re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL):
        assert 'class="rests"' in figure
    # Markdown names the same sets, and says which cells they are.
    assert set(re.findall(r"\((R\d+)\)", markdown)) == set(re.findall(r"^- (R\d+), ", markdown, re.MULTILINE))


def test_a_set_of_cells_is_named_in_few_words_or_one_by_one() -> None:
    cells = tuple(cell for cell in scaling.plan() if cell.study == "text")
    rng = np.random.default_rng(0)
    runs = tuple(evidence.Run(planned=c, record=scaling.finished(c, rng)) for c in cells)
    basis = Basis(evidence.Evidence(manifest=scaling.manifest(cells), runs=runs, troubles=()), html=False)
    budget = cells[0].budget
    arms = [c.cell for c in cells if c.arm in ("ebt_s1", "transformer") and c.budget == budget]
    single = [c.cell for c in cells if (c.arm, c.budget, c.seed) == ("ebt_s1", budget, 1)]
    assert basis.on(arms) == "6 cells (R1)"
    assert basis.on(single, "one") == "one (R2)"
    assert basis.on([c.cell for c in cells[:4]], 4) == "4 (R3)"
    assert basis.on(reversed([c.cell for c in cells[:4]])) == "4 cells (R3)"
    assert basis.on([], 0) == "0"
    product, one, rest = (title for _, title, _ in basis.sets)
    assert product == "R1, 6 cells: text: transformer, ebt_s1; 1e11 FLOPs; seeds 0, 1, 2"
    assert one == "R2, 1 cell: text: ebt_s1; 1e11 FLOPs; seed 1"
    assert rest.count("seed") == 4


def test_figures_beside_the_markdown_are_whole_svg_files(store: Path, markdown: str) -> None:
    names = re.findall(r"\]\((figures/[^)]+\.svg)\)", markdown)
    assert len(names) == 7
    for name in names:
        root = ElementTree.parse(store / "reports" / "scaling" / name).getroot()
        assert root.tag.endswith("svg")


def test_tables_of_the_markdown_are_even(markdown: str) -> None:
    bars = 0
    for line in markdown.splitlines():
        here = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (bars and here) or here == bars, line
        bars = here


def test_the_same_records_give_the_same_bytes(store: Path, page: str) -> None:
    assert build(store, "scaling").read_text(encoding="utf-8") == page


def test_an_experiment_without_any_record_still_has_a_report(tmp_path: Path) -> None:
    manifest.dump(tmp_path, scaling.manifest(scaling.plan(seeds=1)))
    text = visible(build(tmp_path, "scaling").read_text(encoding="utf-8"))
    assert "0 of 35 planned cells" in text
    assert "35 missing" in text


def test_command_builds_all_and_prints_the_path_last(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(store)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(store / "reports" / "scaling" / "index.html")


@pytest.mark.parametrize("arguments", [["nowhere"], ["."], [".", "unknown"]])
def test_a_bad_path_is_one_line_and_status_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
