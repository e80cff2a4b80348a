"""A report says what the records support, counts what failed, and travels as one harmless file."""

import base64
import hashlib
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compare import evidence, finals, manifest, scaling
from compare.findings import Draft, judge
from compare.report import build
from compare.report.__main__ import main
from compare.report.basis import Basis
from compare.report.compose import markdown_text
from compare.stats import Estimate
from tests.compare import synthetic

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def page(store: Path) -> str:
    return build(store, "scaling").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(store: Path, page: str) -> str:
    return (store / "reports" / "scaling" / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results(store: Path) -> scaling.Results:
    return scaling.analyse(evidence.collect(store, manifest.load(store, "scaling")))


def visible(page: str) -> str:
    """Text of a page without tags, styles and script, entities resolved."""

    class Reader(HTMLParser):
        text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    reader = Reader()
    reader.feed(re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL))
    return " ".join(reader.text.split())


def test_headline_claims_find_the_planted_truth(results: scaling.Results) -> None:
    primary = [f for f in results.findings if f.primary]
    assert [(f.arm, f.quantity) for f in primary] == [(c.arm, c.quantity) for c in synthetic.CONTRASTS]
    multiplier, control, _, gain = primary
    scale, alpha = synthetic.TEXT_LAWS["ebt_s1"]
    top = synthetic.BUDGETS[-1] * 0.99
    loss = synthetic.law(*synthetic.TEXT_LAWS["transformer"], synthetic.BUDGETS[-1])
    truth = top / 0.99 / (synthetic.ZERO * ((loss - synthetic.FLOOR) / scale) ** (-1 / alpha))
    assert multiplier.low < truth < multiplier.high
    assert (multiplier.verdict, multiplier.unit) == ("ahead", "×")
    assert control.verdict == "equivalent"
    assert gain.verdict == "ahead"
    assert gain.low < 0.3 * synthetic.ACCURACY["rl_clip_cov"] < gain.high


def test_final_differences_are_paired_at_the_largest_budget_with_their_sign() -> None:
    """Three seeds, two budgets; the arm is worse in loss and better in answers, and shifts worse."""
    cells = [
        cell
        for cell in synthetic.plan()
        if cell.study == "addition" and cell.arm in ("transformer", "ebt_s1")
    ]
    runs = []
    for cell in (cell for cell in cells if cell.budget in synthetic.BUDGETS[-2:]):
        arm, top = cell.arm == "ebt_s1", cell.budget == synthetic.BUDGETS[-1]
        bits = "1111000000" if arm and top else "1100000000"
        loss = 2.0 + 0.1 * cell.seed + (0.3 + 0.01 * cell.seed if arm and top else 0.0)
        shares = [("exact", 0, bits), ("exact", 1, "1" + 9 * "0")]
        answers = [
            replace(
                synthetic.evaluation(metric, b.count("1") / 10), n=10, severity=s, effort="greedy", outcomes=b
            )
            for metric, s, b in shares
        ]
        losses = [
            synthetic.evaluation("loss", loss),
            synthetic.evaluation("loss", loss + 1 + arm, severity=1),
        ]
        runs.append(evidence.Run(planned=cell, record=synthetic.record(cell, (*losses, *answers))))
    by_loss = finals.final_difference("addition", tuple(runs), "ebt_s1", "transformer", "final_loss").estimate
    by_error = finals.final_difference(
        "addition", tuple(runs), "ebt_s1", "transformer", "final_error"
    ).estimate
    shift_loss = finals.shift_difference(
        "addition", tuple(runs), "ebt_s1", "transformer", "shift_loss"
    ).estimate
    shift_error = finals.shift_difference(
        "addition", tuple(runs), "ebt_s1", "transformer", "shift_error"
    ).estimate
    assert by_loss
    assert by_error
    assert shift_loss
    assert shift_error
    # Paired by seed the losses differ by .30, .31, .32, whatever the seeds themselves do.
    assert by_loss.value == pytest.approx(0.31)
    assert by_loss.high - by_loss.low == pytest.approx(2 * 4.3027 * 0.01 / 3**0.5, rel=1e-3)
    assert by_error.value == pytest.approx(-0.2)
    assert shift_loss.value == pytest.approx(1.0)
    assert shift_error.value == pytest.approx((0.9 - 0.6) - (0.9 - 0.8))


def test_a_multipliers_margin_is_a_factor() -> None:
    """Margin 0.5 means 1/1.5 to 1.5: log 1.5 is 0.405, so an interval to exp(0.45) is too wide."""
    for half, expected in ((0.40, "equivalent"), (0.45, "undecided")):
        estimate = Estimate(value=0.0, low=-half, high=half, p=1.0, n=3, single_run=False)
        draft = Draft(
            study="s", arm="a", baseline="b", quantity="compute_multiplier", estimate=estimate, margin=0.5
        )
        (finding,) = judge([draft])
        assert finding.verdict == expected
        assert finding.high == pytest.approx(math.exp(half))
        assert finding.estimate == 1


def test_arms_trained_by_reward_stay_out_of_the_loss_fits(results: scaling.Results) -> None:
    addition = results.studies[1]
    assert addition.fits["shared"].runs.arms == ("transformer", "ebt_s1")
    assert "rl_grpo: its last stage minimises no likelihood, left out of the loss fits" in addition.notes
    assert {m.arm for m in addition.loss} >= {"rl_grpo", "rl_clip_cov"}


def test_the_table_of_shift_shows_errors_not_accuracies(results: scaling.Results) -> None:
    rows = {(r.arm, r.metric): r for r in results.studies[1].shift}
    row = rows["rl_clip_cov", "answer error"]
    assert row.within.value < 0.2 < 0.6 < row.shifted.value
    assert row.decay.value == pytest.approx(row.shifted.value - row.within.value)


def test_every_claim_carries_interval_and_seeds(results: scaling.Results) -> None:
    for finding in results.findings:
        assert re.search(r"95% interval \[.+, .+\], n = [23] seeds", finding.claim), finding.claim
        assert finding.verdict in finding.claim.lower()


def test_exploratory_findings_cover_every_arm_and_are_marked(results: scaling.Results) -> None:
    exploratory = [f for f in results.findings if not f.primary]
    assert {f.arm for f in exploratory if f.study == "addition"} == {"ebt_s1", "rl_grpo", "rl_clip_cov"}
    asked = {(c.study, c.arm, c.quantity) for c in synthetic.CONTRASTS}
    assert not asked & {(f.study, f.arm, f.quantity) for f in exploratory if f.baseline != "rl_grpo"}
    assert all(f.margin == 0 and f.verdict != "equivalent" for f in exploratory)


def test_page_and_markdown_hold_every_number(page: str, markdown: str, results: scaling.Results) -> None:
    text = visible(page)
    plain = markdown.replace("\\", "")
    for finding in results.findings:
        assert finding.value_text in text
        assert finding.interval_text in text
        assert finding.value_text in plain
        assert finding.interval_text in plain
    for finding in results.findings[: len(synthetic.CONTRASTS)]:
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
        for row in study.fit_rows:
            assert f"{row.exponent.value:.4f}" in text
            assert f"{row.exponent.value:.4f}" in plain


def test_troubles_are_counted_with_their_reasons(page: str, results: scaling.Results) -> None:
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
    store: Path, page: str, markdown: str, results: scaling.Results
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
    cells = tuple(cell for cell in synthetic.plan() if cell.study == "text")
    rng = synthetic.np.random.default_rng(0)
    runs = tuple(evidence.Run(planned=c, record=synthetic.finished(c, rng)) for c in cells)
    basis = Basis(
        evidence.Evidence(manifest=synthetic.manifest(cells), runs=runs, troubles=()), str, html=False
    )
    assert basis.rests("text", ("ebt_s1", "transformer"), cells[0].budget) == "6 (R1)"
    assert basis.rests("text", "ebt_s1", cells[0].budget, 1, text="one") == "one (R2)"
    assert basis.on([c.cell for c in cells[:4]]) == "4 (R3)"
    assert basis.on(reversed([c.cell for c in cells[:4]])) == "4 (R3)"
    assert basis.on([]) == "0"
    product, one, rest = (s.words for s in basis.sets)
    assert product == "text: transformer, ebt_s1; 100000000000.0 FLOPs; seeds 0, 1, 2"
    assert one == "text: ebt_s1; 100000000000.0 FLOPs; seed 1"
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


def test_an_arm_answers_in_its_default_way_never_by_its_best_result() -> None:
    rng = synthetic.np.random.default_rng(0)
    efforts = [
        replace(synthetic.exact(share, rng), effort=e) for e, share in (("think_1", 0.9), ("think_2", 0.5))
    ]
    cell = synthetic.plan()[0]
    run = evidence.Run(planned=cell, record=synthetic.record(cell, tuple(efforts)))
    assert run.find("exact") == efforts[1]
    policy = [
        replace(synthetic.exact(share, rng), effort=e) for e, share in (("greedy", 0.5), ("sample", 0.9))
    ]
    run = evidence.Run(planned=cell, record=synthetic.record(cell, tuple(policy)))
    assert run.find("exact") == policy[0]
    assert run.find("exact", effort="sample") == policy[1]
    assert run.find("loss") is None


def test_markdown_text_cannot_break_out() -> None:
    assert markdown_text("a|b\n<i>*x*`") == r"a\|b &lt;i&gt;\*x\*\`"


def test_a_record_of_another_cell_does_not_count(tmp_path: Path) -> None:
    store = synthetic.store(tmp_path, seeds=1, trouble=False)
    plan = manifest.load(store, "scaling")
    source = store / "cells" / plan.cells[1].cell / "record.json"
    (store / "cells" / plan.cells[0].cell / "record.json").write_bytes(source.read_bytes())
    (trouble,) = evidence.collect(store, plan).troubles
    assert trouble.kind == "unreadable"
    assert "the record says cell=" in trouble.reason


def test_single_runs_are_marked_and_decide_nothing(tmp_path: Path) -> None:
    store = synthetic.store(tmp_path, seeds=1, trouble=False)
    results = scaling.analyse(evidence.collect(store, manifest.load(store, "scaling")), draws=20)
    assert results.findings
    for finding in results.findings:
        assert finding.single_run
        assert finding.verdict == "undecided"
        assert "a single run" in finding.claim
    assert "single run" in visible(build(store, "scaling").read_text(encoding="utf-8"))


def test_too_few_budgets_say_so_and_the_rest_is_reported(tmp_path: Path) -> None:
    rng = synthetic.np.random.default_rng(0)
    cells = tuple(cell for cell in synthetic.plan() if cell.budget in synthetic.BUDGETS[-2:])
    manifest.dump(tmp_path, synthetic.manifest(cells))
    for cell in cells:
        synthetic.write(tmp_path, synthetic.finished(cell, rng))
    results = scaling.analyse(evidence.collect(tmp_path, manifest.load(tmp_path, "scaling")))
    multiplier, control = results.findings[:2]
    assert multiplier.estimate is None
    assert "not enough budgets" in multiplier.claim
    assert multiplier.verdict == "undecided"
    assert control.estimate is not None
    assert "not enough budgets" in visible(build(tmp_path, "scaling").read_text(encoding="utf-8"))


def test_an_experiment_without_any_record_still_has_a_report(tmp_path: Path) -> None:
    manifest.dump(tmp_path, synthetic.manifest(synthetic.plan(seeds=1)))
    text = visible(build(tmp_path, "scaling").read_text(encoding="utf-8"))
    assert "0 of 35 planned cells" in text
    assert "35 missing" in text


def test_slopes_are_compared_over_the_same_budgets(tmp_path: Path) -> None:
    """Loss bends in log-log: an arm that lost its cheapest budget must not look faster or slower for it."""
    store = synthetic.store(tmp_path, trouble=False)
    plan = manifest.load(store, "scaling")
    for cell in plan.cells:
        if (cell.study, cell.arm, cell.budget) == ("text", "transformer", synthetic.BUDGETS[0]):
            (store / "cells" / cell.cell / "record.json").unlink()
    findings = scaling.analyse(evidence.collect(store, plan)).findings
    (ratio,) = [f for f in findings if (f.arm, f.quantity) == ("ebt_one_step", "slope_ratio")]
    assert ratio.low <= 0 <= ratio.high


def test_manifest_round_trip_and_strictness(tmp_path: Path) -> None:
    plan = synthetic.manifest(synthetic.plan())
    path = manifest.dump(tmp_path, plan)
    assert manifest.load(tmp_path, "scaling") == plan
    assert manifest.names(tmp_path) == ("scaling",)
    raw = json.loads(path.read_text())
    broken = (
        raw | {"version": 2},
        raw | {"surprise": 1},
        raw | {"title": 3},
        raw | {"cells": raw["cells"] + raw["cells"][:1]},
        raw | {"contrasts": [raw["contrasts"][0] | {"quantity": "charm"}]},
        raw | {"contrasts": [raw["contrasts"][0] | {"margin": -1}]},
        raw | {"contrasts": [raw["contrasts"][0] | {"arm": "nobody"}]},
        raw | {"contrasts": [raw["contrasts"][3] | {"baseline": "transformer"}]},
        {key: value for key, value in raw.items() if key != "question"},
        [],
    )
    for bad in broken:
        path.write_text(json.dumps(bad))
        with pytest.raises(manifest.ManifestError):
            manifest.load(tmp_path, "scaling")
    with pytest.raises(manifest.ManifestError, match="plain file name"):
        manifest.dump(tmp_path, replace(plan, name="../escape"))


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


def test_torch_is_never_imported(store: Path) -> None:
    code = (
        "import sys; from compare.report.__main__ import main; status = main([sys.argv[1]]);"
        "assert status == 0; assert not {'torch', 'lightning', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(store)], check=True, cwd=ROOT, capture_output=True)


def test_importing_compare_is_light() -> None:
    code = (
        "import sys, compare, compare.report; assert not {'numpy', 'matplotlib', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
