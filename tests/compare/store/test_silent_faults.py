"""Faults that no error shows: runs that cannot stand beside their study are left out and named, limits of a
number stand beside it, and numbers that nobody can have measured are refused.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compare.analysis import text
from compare.analysis.analyse import analyse
from compare.analysis.findings import Finding
from compare.calibrate import builders
from compare.report.__main__ import main
from compare.store import evidence, manifest
from compare.store import record as records
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast, PlannedCell
from compare.store.record import Record, RecordError

SEEDS = (0, 1, 2)
CONTRAST = Contrast(study="planted", arm="ebt_s1", baseline="transformer", quantity="final_loss", margin=0.05)
CELLS = tuple(builders.cell(arm, seed) for arm in ("transformer", "ebt_s1") for seed in SEEDS)


def finished(cell: PlannedCell) -> Record:
    """A run as it should be."""
    value = 1.0 + 0.01 * cell.seed + 0.1 * (cell.arm == "ebt_s1")
    history = {
        "step": [10.0, 20.0, 30.0, 40.0],
        "flops": [cell.budget * share for share in (0.24, 0.48, 0.72, 0.96)],
        "loss": [3.0, 2.0 + value, 1.0 + value, value],
    }
    plain: dict[str, Any] = {"data": {"corpus": "a", "sha256": "aa"}, "commit": "abc1234", "steps": 40}
    return builders.record(cell, [builders.loss(value)], flops=0.96 * cell.budget, history=history, **plain)


def store(path: Path, change: Callable[[Record], Record] = lambda record: record) -> Path:
    """A small study of two arms, its records as `change` leaves them."""
    manifest.dump(path, builders.manifest(CELLS, [CONTRAST]))
    for cell in CELLS:
        builders.write(path, change(finished(cell)))
    return path


def read(path: Path) -> tuple[Evidence, Finding]:
    """What the store holds, and its one finding."""
    found = evidence.collect(path, manifest.load(path, "planted"))
    return found, analyse(found, draws=20).findings[0]


def only(arm: str, seed: int, **changes: Any) -> Callable[[Record], Record]:
    """Changes the record of one run."""
    return lambda record: replace(record, **changes) if (record.arm, record.seed) == (arm, seed) else record


def test_a_sound_study_has_nothing_left_out_and_no_caveat(tmp_path: Path) -> None:
    found, finding = read(store(tmp_path))
    assert found.troubles == ()
    assert (finding.n, finding.caveats) == (3, ())


def test_a_run_on_other_data_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"corpus": "b", "sha256": "bb"}
    found, finding = read(store(tmp_path, only("ebt_s1", 1, data=other)))
    (trouble,) = found.troubles
    assert (trouble.planned.arm, trouble.planned.seed, trouble.kind) == ("ebt_s1", 1, "left out")
    assert trouble.reason.startswith(
        "its data are corpus b, sha256 bb, while 5 of the study's 6 runs have corp"
    )
    assert finding.n == 2
    assert "1 planned cells of these arms gave no result" in finding.caveats
    assert main([str(tmp_path)]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "corpus b" in line] != []
    markdown = (tmp_path / "reports/planted/report.md").read_text()
    assert "left out" in markdown
    assert "corpus b" in markdown


def test_what_an_arm_alone_starts_from_may_differ(tmp_path: Path) -> None:
    def own(record: Record) -> Record:
        more = {"pretrained": "model"} if record.arm == "ebt_s1" else {}
        return replace(record, data=record.data | more)

    assert read(store(tmp_path, own))[0].troubles == ()


def test_stores_on_two_corpora_do_not_become_one_study(tmp_path: Path) -> None:
    one = store(tmp_path / "one")
    two = tmp_path / "two"
    cells = [replace(cell, cell=f"{cell.cell}7", seed=7) for cell in CELLS[::3]]
    manifest.dump(two, builders.manifest(cells, [CONTRAST]))
    for cell in cells:
        builders.write(two, replace(finished(cell), data={"corpus": "b", "sha256": "bb"}))
    assert main([str(one), str(two), f"out={tmp_path / 'both'}"]) == 0
    found, finding = read(tmp_path / "both")
    assert [(t.planned.seed, t.kind) for t in found.troubles] == [(7, "left out")] * 2
    assert finding.n == 3


@pytest.mark.parametrize("part", ["history", "evaluations"])
def test_one_run_under_two_seeds_counts_once(tmp_path: Path, part: str) -> None:
    first = finished(CELLS[3])
    found, finding = read(store(tmp_path, only("ebt_s1", 2, **{part: getattr(first, part)})))
    (trouble,) = found.troubles
    assert (trouble.planned.arm, trouble.planned.seed, trouble.kind) == ("ebt_s1", 2, "left out")
    assert "are those of seed 0 (cell planted-ebt_s1-1000000000000-0)" in trouble.reason
    assert finding.n == 2


def test_seeds_that_all_answer_alike_are_no_copies(tmp_path: Path) -> None:
    """Nothing is right, or everything: chance may do that twice; so may it with a few problems."""

    def saturated(record: Record) -> Record:
        answers = builders.exact("1" * 200), builders.exact("0110" * 5, axis="other", severity=1)
        return replace(record, evaluations=answers, history={})

    assert read(store(tmp_path, saturated))[0].troubles == ()


def test_a_budget_that_was_not_spent_stands_beside_the_finding(tmp_path: Path) -> None:
    early = only("ebt_s1", 1, flops=4e11, steps=16, history={})
    _, finding = read(store(tmp_path / "early", early))
    assert finding.caveats == (
        "ebt_s1: 1 of 3 runs stopped before their budget was spent, at 40% of it, though another step fitted",
    )
    # Where problems ran out, or no other step fits, nothing is amiss.
    limited = only("ebt_s1", 1, flops=4e11, steps=16, history={}, config={"budget": {"problems": 100}})
    assert read(store(tmp_path / "limited", limited))[1].caveats == ()
    dear = {"step": [1.0, 2.0], "flops": [1e11, 8e11], "loss": [2.0, 1.0]}
    coarse = only("ebt_s1", 1, flops=8e11, steps=2, history=dear)
    assert read(store(tmp_path / "coarse", coarse))[1].caveats == ()


def test_an_unsigned_record_is_named_beside_the_findings_that_use_it(tmp_path: Path) -> None:
    path = store(tmp_path) / "cells" / CELLS[3].cell / "record.json"
    raw = json.loads(path.read_text())
    del raw["digest"]
    path.write_text(json.dumps(raw))
    _, finding = read(tmp_path)
    (caveat,) = finding.caveats
    assert caveat.startswith("1 of 6 records unsigned")
    assert CELLS[3].cell in caveat
    assert main([str(tmp_path)]) == 0
    assert "1 of 6 records unsigned" in (tmp_path / "reports/planted/report.md").read_text()


def test_two_commits_stand_beside_the_finding_unless_the_code_that_trained_is_one(tmp_path: Path) -> None:
    mixed = only("ebt_s1", 1, commit="def5678")
    assert read(store(tmp_path / "mixed", mixed))[1].caveats == ("records of commits abc1234, def5678",)

    def same(record: Record) -> Record:
        return replace(mixed(record), environment={"code": "c0de"})

    assert read(store(tmp_path / "same", same))[1].caveats == ()


TRACE = {
    "axis": "planted",
    "severity": 0,
    "correct": "1",
    "energy": [1e200],
    "entropy": [0.1],
    "tokens": [3],
    "courses": [
        {"solved": True, "n": 1, "energy": [1e200], "energy_sd": [0], "entropy": [0.1], "entropy_sd": [0]}
    ],
    "examples": [],
}
ABSURD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "huge loss": (lambda raw: raw["evaluations"][0].update(value=1e300), "evaluation loss"),
    "negative loss": (lambda raw: raw["evaluations"][0].update(value=-0.1), "evaluation loss"),
    "huge deviation": (lambda raw: raw["evaluations"][0].update(sd=1e300), "sd 1e+300"),
    "no share": (lambda raw: raw["evaluations"][0].update(metric="edit", value=1.2), "evaluation edit"),
    "no problems": (lambda raw: raw["evaluations"][0].update(n=0), "evaluations[0].n=0"),
    "endless course": (lambda raw: raw["history"]["loss"].__setitem__(1, -1e200), "history loss"),
    "reward": (lambda raw: raw["history"].update(reward=[None, 0.5, 1.5, 0.5]), "history reward: 1.5"),
    "entropy": (lambda raw: raw["history"].update(entropy=[None, 0.5, -0.5, 0.5]), "history entropy: -0.5"),
    "time": (lambda raw: raw.update(seconds={"total": 1e300}), "seconds"),
    "budget": (lambda raw: raw.update(budget=1e300), "budget 1e+300"),
    "energy": (lambda raw: raw.update(traces=[TRACE]), "trace planted 0: energy or entropy 1e+200"),
}


@pytest.mark.parametrize("case", ABSURD)
def test_numbers_that_nobody_measured_are_refused_by_name(case: str, tmp_path: Path) -> None:
    change, words = ABSURD[case]
    raw = json.loads(records.dump(finished(CELLS[0])))
    change(raw)
    raw["digest"] = records.digest(raw)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(RecordError) as refused:
        records.load(path)
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("value", [1e300, -1e300, 123456789.123456, -999999.9999, 1e-300, 0.0])
def test_no_number_is_printed_long(value: float) -> None:
    printed = [text.fixed(value, 3), text.fixed(value, 3, sign=True), text.count_text(value)]
    printed += [text.seconds_text(abs(value)), text.p_text(abs(value) % 1)]
    assert max(map(len, printed)) <= 13
    assert text.fixed(math.inf, 2) == "inf"
