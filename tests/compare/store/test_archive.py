"""Records small enough to commit: the same findings come of them, nothing private is in them, faults are
named."""

import getpass
import json
import lzma
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compare.analysis.text import p_text
from compare.report.__main__ import main
from compare.store import manifest
from compare.store import record as records
from compare.store.archive import MANIFEST, RECORDS, cut, pack, unpacked
from tests.compare.conftest import Made
from tests.compare.planted import ceiling, energy, scaling, tokens

NUMBER, NAME = re.compile(r"-?\d+(?:\.\d+)?"), re.compile(r"-[a-z][0-9a-f]{10}")
"""In a figure: coordinates, and names of shapes, which are hashes of them."""


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """An archive of a small study."""
    store = scaling.store(tmp_path / "store", seeds=2)
    return pack(store, "scaling", tmp_path / "results/scaling")


def lines(folder: Path) -> list[bytes]:
    return lzma.decompress((folder / RECORDS).read_bytes()).splitlines()


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], list[str]]:
    """Exit status, lines printed, lines complained."""
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


@pytest.mark.parametrize("study", [ceiling, energy, tokens], ids=lambda module: module.NAME)
def test_findings_pages_and_figures_are_the_same(
    study: ModuleType, planted_study: Callable[[ModuleType], Made], tmp_path: Path
) -> None:
    made = planted_study(study)
    folder = pack(made.store, made.name, tmp_path / "results")
    originals = [path.stat().st_size for path in made.store.glob("cells/*/record.json")]
    assert (folder / RECORDS).stat().st_size < sum(originals) / 4
    with unpacked(folder) as store:
        again = Made(store, made.name)
        for mine, theirs in zip(made.results.findings, again.results.findings, strict=True):
            assert printed(mine) == printed(theirs)
        where = re.compile("The record of a cell is .*| A line also names the digest .*")
        assert where.sub("", again.markdown) == where.sub("", made.markdown)
        figures = sorted((made.page.parent / "figures").glob("*.svg"))
        assert figures
        for figure in figures:
            texts = (figure.read_text(), (again.page.parent / "figures" / figure.name).read_text())
            one, two = (NAME.sub("", text) for text in texts)
            assert NUMBER.sub("", one) == NUMBER.sub("", two)
            ours, theirs = (np.array(NUMBER.findall(text), dtype=float) for text in (one, two))
            assert np.abs(ours - theirs).max(initial=0) < 0.01


def printed(finding) -> dict[str, object]:
    """What a reader sees of a finding."""
    return {
        "claim": finding.claim,
        "verdict": finding.verdict,
        "p": p_text(finding.p_holm),
        "n": finding.n,
        "caveats": finding.caveats,
        "records": finding.records,
    }


def test_one_command_packs_and_reports_and_another_rebuilds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, results = scaling.store(tmp_path / "store", seeds=2), tmp_path / "results"
    status, printed_lines, _ = said(capsys, store, "name=scaling", f"records={results}")
    assert (status, printed_lines) == (0, [str(results / "scaling/index.html")])
    assert {RECORDS, MANIFEST, "report.md"} < {path.name for path in (results / "scaling").iterdir()}
    first = (results / "scaling/report.md").read_text()
    (results / "scaling/report.md").unlink()
    shutil.rmtree(store)
    assert said(capsys, results / "scaling")[:2] == (0, printed_lines)
    assert (results / "scaling/report.md").read_text() == first
    assert "record.json" not in (results / "scaling/index.html").read_text()


def test_an_archive_serves_wherever_a_store_does(
    tmp_path: Path, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, both = tmp_path / "store", tmp_path / "both"
    status, _, complaints = said(capsys, packed, store, f"out={both}")
    assert (status, [line for line in complaints if "differ" in line]) == (0, [])
    cell = json.loads(lines(packed)[0])["cell"]
    assert records.load(both / "cells" / cell / "record.json").original
    status, pages, _ = said(capsys, "--diff", packed, store, f"out={tmp_path / 'diff'}")
    assert status == 0
    page = Path(pages[0]).read_text()
    assert "cells/" in page
    assert str(tmp_path) not in page
    assert not re.search(r'href="[^"]*tmp', page.replace(str(tmp_path.name), ""))


def test_digests_of_the_record_and_of_what_was_cut_from_it_can_be_checked(
    tmp_path: Path, packed: Path
) -> None:
    store, old = tmp_path / "store", tmp_path / "old"
    for line in lines(packed):
        raw = json.loads(line)
        whole = json.loads((store / "cells" / raw["cell"] / "record.json").read_text())
        assert raw["original"] == whole["digest"] == records.digest(whole)
        assert raw["digest"] == records.digest(raw)
        assert raw["traceback"] == ""
        assert "loss" not in raw["history"]
    # Packed again, the same; what had no digest does not get to look as if it had one.
    with unpacked(packed) as again:
        assert (pack(again, "scaling", tmp_path / "twice") / RECORDS).read_bytes() == (
            packed / RECORDS
        ).read_bytes()
    shutil.copytree(store, old)
    path = old / "cells" / json.loads(lines(packed)[0])["cell"] / "record.json"
    raw = json.loads(path.read_text())
    del raw["digest"]
    path.write_text(json.dumps(raw))
    assert cut(cut(records.load(path))).unsigned
    assert not cut(records.load(store / "cells" / raw["cell"] / "record.json")).unsigned


def test_paths_user_and_machine_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "meitner")
    monkeypatch.setattr(socket, "gethostname", lambda: "solvay.example.org")
    store = scaling.store(tmp_path / "store", seeds=1, trouble=False)
    plan = manifest.load(store, "scaling")
    manifest.dump(store, replace(plan, command=f"python -m compare runs={tmp_path}", remarks=("on solvay",)))
    path = store / "cells" / plan.cells[0].cell / "record.json"
    where = {"corpus": "/data/meitner/text.txt", "host": "solvay", "nested": [{"by": "meitner"}]}
    path.write_text(records.dump(replace(records.load(path), data=where, environment=where, config=where)))
    folder = pack(store, "scaling", tmp_path / "results")
    text = "".join(line.decode() for line in lines(folder)) + (folder / MANIFEST).read_text()
    assert "text.txt" in text
    for word in ("meitner", "solvay", "/data", str(tmp_path)):
        assert word not in text


def rewritten(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    before = lines(folder)
    after = change(list(before))
    assert after != before
    (folder / RECORDS).write_bytes(lzma.compress(b"".join(line + b"\n" for line in after)))


def test_a_doctored_line_is_named_and_left_out(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def better(entries: list[bytes]) -> list[bytes]:
        raw = json.loads(entries[0])
        raw["steps"] += 1
        return [json.dumps(raw).encode(), *entries[1:]]

    rewritten(packed, better)
    cell = json.loads(lines(packed)[0])["cell"]
    status, _, complaints = said(capsys, packed)
    named = [line for line in complaints if cell in line]
    assert status == 0
    assert len(named) == 1
    assert "does not match its digest" in named[0]


CORRUPTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda f: (f / RECORDS).write_bytes((f / RECORDS).read_bytes()[:-40]), "truncated"),
    "followed": (
        lambda f: (f / RECORDS).write_bytes((f / RECORDS).read_bytes() + b"more"),
        "something follows its end",
    ),
    "no archive": (lambda f: (f / RECORDS).write_bytes(b"hello, this is none"), "not readable"),
    "cut line": (lambda f: rewritten(f, lambda entries: [entries[0][:99], *entries[1:]]), "line 1: not"),
    "twice": (lambda f: rewritten(f, lambda entries: [*entries, entries[0]]), "a second time"),
    "elsewhere": (
        lambda f: rewritten(f, lambda entries: [b'{"cell": "../../../up"}', *entries]),
        "line 1: not readable",
    ),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "manifest.json: No such file"),
    "other manifest": (
        lambda f: (f / MANIFEST).write_text('{"name": "../up"}'),
        "json: not readable",
    ),
}


@pytest.mark.parametrize("case", CORRUPTED)
def test_a_corrupted_archive_is_one_line(case: str, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corrupt, words = CORRUPTED[case]
    corrupt(packed)
    status, pages, complaints = said(capsys, packed)
    assert (status, pages, len(complaints)) == (2, [], 1)
    assert words in complaints[0]


def test_an_archive_that_unpacks_to_too_much_is_refused(
    packed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compare.store.archive.LARGEST", 10_000)
    status, _, complaints = said(capsys, packed)
    assert (status, len(complaints)) == (2, 1)
    assert "more than 10000 bytes" in complaints[0]
