"""Studies of several stores are united or compared, from records alone; what does not fit is refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare.calibrate import builders
from compare.report.__main__ import main
from compare.report.diff import cells_address, pair
from compare.store import manifest
from compare.store import record as records
from compare.store.combine import difference
from tests.compare.planted import scaling
from tests.compare.reading import visible

BUDGETS = scaling.BUDGETS[-2:]


def planted(path: Path, seeds: range, **changes: object) -> Path:
    """A store with the synthetic study at two budgets and these seeds."""
    rng = np.random.default_rng(seeds.start)
    cells = tuple(
        replace(cell, seed=seed, cell=f"{cell.study}-{cell.arm}-{BUDGETS.index(cell.budget)}-{seed}")
        for cell in scaling.plan(seeds=1, budgets=BUDGETS)
        for seed in seeds
    )
    manifest.dump(path, scaling.manifest(cells, **changes))
    for cell in cells:
        builders.write(path, scaling.finished(cell, rng))
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return planted(folder / "one", range(2)), planted(folder / "two", range(2, 4))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    """Exit status, lines printed, lines complained."""
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_seeds_of_two_machines_make_one_study(stores, tmp_path: Path, capsys) -> None:
    status, lines, _ = said(capsys, *stores, f"out={tmp_path / 'both'}")
    assert status == 0
    assert lines[-1] == str(tmp_path / "both/reports/scaling/index.html")
    united = manifest.load(tmp_path / "both", "scaling")
    assert {cell.seed for cell in united.cells} == {0, 1, 2, 3}
    assert len(united.cells) == sum(len(manifest.load(s, "scaling").cells) for s in stores)
    text = visible(Path(lines[-1]).read_text())
    assert "n = 4 seeds" in text
    assert "differ:" not in text
    assert "store 1 of 2" in text
    assert str(tmp_path) not in text
    # What was made is a store: its records are whole, and it can be reported on and combined again.
    for cell in united.cells:
        assert records.load(tmp_path / "both/cells" / cell.cell / "record.json").cell == cell.cell
    again = said(capsys, tmp_path / "both")
    assert again[:2] == (0, lines)


def test_stores_that_agree_add_nothing_and_conflicts_are_named(stores, tmp_path: Path, capsys) -> None:
    one, _ = stores
    copy = tmp_path / "copy"
    shutil.copytree(one, copy)
    cell = next(c for c in manifest.load(copy, "scaling").cells if c.study == "text")
    path = copy / "cells" / cell.cell / "record.json"
    mine = records.load(path)
    status, lines, complaints = said(capsys, one, copy, f"out={tmp_path / 'same'}")
    assert status == 0
    assert "differ" not in complaints
    other = replace(mine.evaluations[0], value=9.0)
    path.write_text(records.dump(replace(mine, evaluations=(other, *mine.evaluations[1:]))))
    status, lines, complaints = said(capsys, one, copy, f"out={tmp_path / 'both'}")
    assert status == 0
    conflict = (
        f"cell {cell.cell}: store 1, which counts, and store 2 differ: loss (final, likelihood, domain 0)"
    )
    assert conflict in complaints
    assert conflict in visible(Path(lines[-1]).read_text())
    assert conflict.replace("_", "\\_") in (Path(lines[-1]).parent / "report.md").read_text()
    assert records.load(tmp_path / "both/cells" / cell.cell / "record.json") == mine


def test_a_finished_record_beats_one_that_cannot_be_used(stores, tmp_path: Path, capsys) -> None:
    one, _ = stores
    worse = tmp_path / "worse"
    shutil.copytree(one, worse)
    first, second, *_ = manifest.load(worse, "scaling").cells
    (worse / "cells" / first.cell / "record.json").write_text("{")
    failed = replace(
        records.load(worse / "cells" / second.cell / "record.json"), status="failed", evaluations=()
    )
    (worse / "cells" / second.cell / "record.json").write_text(records.dump(failed))
    _, lines, _ = said(capsys, worse, one, f"out={tmp_path / 'both'}")
    text = visible(Path(lines[-1]).read_text())
    assert "28 of 28 planned cells are done" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrasts": scaling.CONTRASTS[:2]}, "name different contrasts"),
        (
            {"contrasts": (replace(scaling.CONTRASTS[0], margin=0.5), *scaling.CONTRASTS[1:])},
            "name different contrasts",
        ),
        ({"fit_share": 0.3}, "has fit_share=0"),
        ({"axis": "width"}, "varies flops"),
    ],
)
def test_studies_that_are_judged_otherwise_are_not_combined(
    stores, tmp_path: Path, capsys, changes: dict[str, object], message: str
) -> None:
    other = planted(tmp_path / "other", range(2, 3), **changes)
    status, lines, complaints = said(capsys, stores[0], other, f"out={tmp_path / 'both'}")
    assert (status, lines) == (2, [])
    assert message in complaints
    assert "--diff" in complaints
    assert len(complaints.strip().splitlines()) == 1
    assert not (tmp_path / "both" / "reports").exists()


def test_two_cells_in_one_place_are_not_combined(stores, tmp_path: Path, capsys) -> None:
    """The same arm, budget and seed under another identity: settings or data differ."""
    other = planted(tmp_path / "other", range(1))
    raw = json.loads(manifest.path_of(other, "scaling").read_text())
    raw["cells"][0]["cell"] = "another"
    manifest.path_of(other, "scaling").write_text(json.dumps(raw))
    status, _, complaints = said(capsys, stores[0], other, f"out={tmp_path / 'both'}")
    assert status == 2
    assert "two cells with arm, budget, rung, trial, seed" in complaints


def test_one_store_alone_keeps_its_reports_and_moves_with_out(stores, tmp_path: Path, capsys) -> None:
    assert said(capsys, stores[0])[1] == [str(stores[0] / "reports/scaling/index.html")]
    moved = said(capsys, stores[0], "name=scaling", f"out={tmp_path / 'moved'}")
    assert moved[1] == [str(tmp_path / "moved/reports/scaling/index.html")]
    assert (tmp_path / "moved/reports/scaling/index.html").read_text() == (
        stores[0] / "reports/scaling/index.html"
    ).read_text()


def test_a_difference_is_in_what_came_out() -> None:
    cell = scaling.plan()[0]
    one = scaling.finished(cell, np.random.default_rng(0))
    assert difference(one, replace(one, seconds={"total": 1.0}, commit="other", environment={})) == ""
    assert difference(one, replace(one, status="failed")) == "done and failed"
    assert "steps" in difference(one, replace(one, steps=7))
    changed = replace(one.evaluations[0], value=1.25)
    assert " and 1.25" in difference(one, replace(one, evaluations=(changed, *one.evaluations[1:])))
    assert " and none" in difference(one, replace(one, evaluations=one.evaluations[1:]))


def test_diff_shows_verdicts_estimates_and_cells_side_by_side(tmp_path: Path, capsys) -> None:
    one = planted(tmp_path / "one", range(4))  # two seeds decide nothing
    other = tmp_path / "other"
    shutil.copytree(one, other)
    for cell in manifest.load(other, "scaling").cells:
        if (cell.study, cell.arm) == ("addition", "rl_clip_cov"):
            path = other / "cells" / cell.cell / "record.json"
            mine = records.load(path)
            start = next(e for e in mine.evaluations if e.stage == "warm_start")
            # After all that training, where it began.
            flat = [
                replace(start, stage="final")
                if (e.stage, e.severity, e.effort) == ("final", 0, "sample")
                else e
                for e in mine.evaluations
            ]
            path.write_text(records.dump(replace(mine, evaluations=tuple(flat))))
    status, lines, complaints = said(capsys, "--diff", one, other, f"out={tmp_path / 'diff'}")
    assert (status, complaints) == (0, "")
    assert lines == [str(tmp_path / "diff/scaling/index.html")]
    text = visible(Path(lines[0]).read_text())
    markdown = (tmp_path / "diff/scaling/report.md").read_text().replace("\\", "")
    for words in (
        "ahead → ",
        "same verdict",
        "exact answers, sampled, gained over the warm start",
        "0.000 [",
    ):
        assert words in text
        assert words in markdown
    changed = [cell.cell for cell in manifest.load(other, "scaling").cells if cell.arm == "rl_clip_cov"]
    assert len(changed) == 8
    for cell in changed:
        assert cell in text
        assert cell in markdown
    assert "Of the 56 cells that both finished" in text
    assert str(tmp_path) not in text + markdown
    page = Path(lines[0]).read_text()
    sets = {
        name: set(re.findall(r'href="([^"]+)/([^/"]+)/record.json"', block))
        for name, block in re.findall(r'<details id="([AB]\d+)">(.*?)</details>', page, re.DOTALL)
    }
    assert set(re.findall(r'class="rests" href="#([^"]+)"', page)) == set(sets)
    assert set(re.findall(r"\(([AB]\d+)\)", markdown)) == set(sets)
    for name, links in sets.items():
        for folder, cell in links:
            record = (Path(lines[0]).parent / folder / cell / "record.json").resolve()
            assert record == ((one if name[0] == "A" else other) / "cells" / cell / "record.json").resolve()
            assert record.is_file()
    # Every finding that was measured leads to its cells in A and in B.
    rows = re.findall(r"<tr><td data-label=\"change\">.*?</tr>", page)
    assert len(rows) > 8
    assert [row for row in rows if "not measured" not in row and len(re.findall("#[AB]", row)) != 2] == []


def test_a_store_that_lies_elsewhere_is_not_linked(tmp_path: Path, monkeypatch) -> None:
    assert cells_address(tmp_path / "a b", tmp_path / "diff/scaling") == "../../a%20b/cells"
    assert cells_address(Path("/mnt/store"), tmp_path) == ""
    monkeypatch.setenv("HOME", str(tmp_path / "home/me"))
    assert cells_address(tmp_path / "home/you/runs", tmp_path / "home/me/diff") == ""
    assert cells_address(tmp_path / "home/me/runs", tmp_path / "home/me/diff") == "../runs/cells"


def test_pairs_know_what_became_of_a_verdict(stores, tmp_path: Path) -> None:
    from compare.analysis.analyse import analyse
    from compare.store.evidence import collect

    found = analyse(collect(stores[0], manifest.load(stores[0], "scaling")), draws=20).findings
    first = replace(found[0], verdict="ahead", estimate=2.0, low=1.5, high=2.5)
    far = replace(first, verdict="behind", estimate=0.5, low=0.4, high=0.6)
    near = replace(first, estimate=2.2, low=2.1, high=2.3)
    (one,) = pair([(first,), (far,)])
    assert (one.change, one.apart) == ("ahead → behind", True)
    (two,) = pair([(first,), (near,)])
    assert (two.change, two.apart) == ("same verdict", False)
    # A quantity that is measured on several axes of shift is paired axis by axis.
    along = [replace(first, axis=axis) for axis in ("length", "noise")]
    assert [(p.a.axis, p.b.axis) for p in pair([tuple(along), tuple(along[::-1])])] == [
        ("length", "length"),
        ("noise", "noise"),
    ]
    lost, new = pair([(first,), (replace(first, arm="other"),)])
    assert (lost.change, new.change) == ("only in A", "only in B")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--diff", "{one}"], "1 given"),
        (["{one}", "nmae=scaling"], "no such setting"),
        (["{one}", "to=paper"], "choose one of page, wandb"),
        (["{one}", "share=true"], "add to=wandb"),
        (["name=scaling"], "no store given"),
        (["{one}", "name=nothing"], "no experiment nothing"),
        (["{one}", "scaling"], "name=EXPERIMENT"),
        (["{one}", "{two}", "out={one}"], "give another folder"),
    ],
)
def test_requests_that_cannot_be_met_are_one_line(stores, capsys, arguments: list[str], message: str) -> None:
    given = [a.format(one=stores[0], two=stores[1]) for a in arguments]
    status, lines, complaints = said(capsys, *given)
    assert (status, lines) == (2, [])
    assert message in complaints
    assert len(complaints.strip().splitlines()) == 1
