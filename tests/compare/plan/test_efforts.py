"""Contrasts between ways to answer, on problems that both were measured on, and their table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare.analysis.analyse import analyse
from compare.analysis.base import Results
from compare.analysis.blocks import Table
from compare.calibrate import builders
from compare.report import build
from compare.store.evidence import collect
from compare.store.manifest import Contrast, ManifestError, PlannedCell, dump, load
from tests.compare.planted import scaling
from tests.compare.reading import of_kind, section_of

ARM, OTHER = "ebt_verifier", "transformer"
CHOICES = {
    "selected": Contrast(
        study="addition",
        arm=ARM,
        baseline=ARM,
        quantity="final_error",
        margin=0.02,
        effort="energy@16",
        baseline_effort="majority@16",
    ),
    "shifted": Contrast(
        study="addition",
        arm=ARM,
        baseline=OTHER,
        quantity="final_error",
        margin=0.02,
        effort="energy@16",
        severity=1,
    ),
}
RIGHT = {"greedy": 0.5, "majority@16": 0.55, "energy@16": 0.75, "oracle@16": 0.9}


def results(path: Path, *contrasts: Contrast, inner: int = 200_000, seeds: int = 3) -> Results:
    """Three seeds of a verifier that lifts a quarter of the problems, and of a transformer."""
    rng = np.random.default_rng(3)
    cells = tuple(
        PlannedCell(
            cell=f"{a}-{s}", study="addition", arm=a, task="addition", size="4xs", budget=1e11, seed=s
        )
        for a in (OTHER, ARM)
        for s in range(seeds)
    )
    dump(path, builders.manifest(cells, contrasts, name="selection"))
    for cell in cells:
        luck = rng.random(200)
        evaluations = [builders.loss(0.3, axis="digits")]
        for severity in (0, 1):
            for effort, share in RIGHT.items():
                if cell.arm == OTHER and effort != "greedy":
                    continue
                right = luck < share * (1 - 0.6 * severity)
                flops = 1e6 * len(effort)
                evaluations.append(builders.exact(right, severity=severity, effort=effort, flops=flops))
        parameters = {"total": 300_000, "non_embedding": inner if cell.arm == ARM else 98_304}
        builders.write(path, builders.record(cell, tuple(evaluations), parameters=parameters))
    return analyse(collect(path, load(path, "selection")), draws=50)


def test_two_ways_of_one_arm_are_compared_on_the_same_problems(tmp_path):
    found = results(tmp_path, *CHOICES.values())
    selected, shifted = found.findings[:2]
    records = [run.record for run in found.evidence.runs if run.planned.arm == ARM]
    error = [
        np.mean([1 - e.value for r in records for e in r.evaluations if (e.effort, e.severity) == key])
        for key in (("energy@16", 0), ("majority@16", 0), ("energy@16", 1))
    ]
    assert selected.estimate == pytest.approx(error[0] - error[1])
    assert (selected.arm, selected.baseline) == (f"{ARM} (energy@16)", f"{ARM} (majority@16)")
    assert selected.verdict == "ahead"
    assert len(selected.records) == 3
    assert "ebt_verifier (energy@16) is ahead of ebt_verifier (majority@16)" in selected.claim
    others = [run.record for run in found.evidence.runs if run.planned.arm == OTHER]
    theirs = np.mean(
        [1 - e.value for r in others for e in r.evaluations if e.metric == "exact" and e.severity]
    )
    assert shifted.estimate == pytest.approx(error[2] - theirs)
    assert shifted.baseline == "transformer (severity 1)"
    assert len(shifted.records) == 6


def test_an_answer_that_costs_more_is_a_caveat(tmp_path):
    # FLOPs an answer are a million times the letters of the effort's name: 9 against 11, and 9 against 6.
    found = results(tmp_path, *CHOICES.values())
    costs = [[c for c in f.caveats if "FLOPs" in c] for f in found.findings[:2]]
    assert costs[0] == ["an answer costs 0.82 times the baseline's FLOPs"]
    assert costs[1] == ["an answer costs 1.5 times the baseline's FLOPs"]


def test_unequal_parameters_are_a_caveat(tmp_path):
    for inner, said in ((100_000, False), (200_000, True)):
        found = results(tmp_path / str(inner), *CHOICES.values(), inner=inner)
        assert "non-embedding parameters differ" not in str(found.findings[0].caveats)
        assert (
            "non-embedding parameters differ: 200,000 against 98,304" in found.findings[1].caveats
        ) == said


def test_an_effort_that_was_not_measured_gives_no_number(tmp_path):
    found = results(tmp_path, replace(CHOICES["selected"], effort="energy@64"))
    assert found.findings[0].estimate is None
    assert found.findings[0].verdict == "undecided"


def test_the_report_lists_every_way_to_answer_and_marks_the_oracle(tmp_path):
    found = results(tmp_path, *CHOICES.values())
    ways = found.studies[0].measured["thinking"].ways
    assert {w.effort for w in ways if not w.deployable} == {"oracle@16"}
    table = list(of_kind(Table, section_of(found, "thinking")))[-1]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    shown = [(r["arm"], r["effort"].removesuffix(" (oracle)"), r["severity"]) for r in rows]
    assert sorted(shown) == sorted((ARM, e, s) for e in RIGHT for s in (0, 1))
    text = (build(tmp_path, "selection").parent / "report.md").read_text()
    assert "oracle@16 (oracle)" in text
    assert "energy@16 (oracle)" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline_effort": "energy@16"}, "name another, or another effort"),
        ({"quantity": "exponent"}, "effort and baseline_effort go with .*final_error"),
        ({"severity": -1}, "severity -1"),
    ],
)
def test_a_contrast_of_no_use_is_refused(tmp_path, changes, message):
    with pytest.raises(ManifestError, match=message) as error:
        results(tmp_path, replace(CHOICES["selected"], **changes))
    assert "\n" not in str(error.value)


def test_a_loss_is_compared_between_efforts_and_shifts_too(tmp_path):
    loss = {"think_2": 2.0, "think_8": 1.75}
    cells = tuple(
        PlannedCell(cell=f"e-{s}", study="text", arm="ebt_s1", task="text", size="4xs", budget=1e11, seed=s)
        for s in range(3)
    )
    contrast = Contrast(
        study="text",
        arm="ebt_s1",
        effort="think_8",
        baseline="ebt_s1",
        baseline_effort="think_2",
        quantity="final_loss",
        margin=0.02,
        severity=1,
    )
    dump(tmp_path, builders.manifest(cells, (contrast,), name="thinking"))
    for i, cell in enumerate(cells):
        evaluations = tuple(
            builders.loss(
                value + 0.01 * i + severity,
                axis="domain",
                effort=effort,
                severity=severity,
                flops=1e6,
            )
            for severity in (0, 1)
            for effort, value in loss.items()
        )
        builders.write(tmp_path, builders.record(cell, evaluations))
    found = analyse(collect(tmp_path, load(tmp_path, "thinking")), draws=50)
    assert found.findings[0].estimate == pytest.approx(-0.25)
    rows = {(way.effort, way.place[1]): way for way in found.studies[0].measured["thinking"].ways}
    assert rows["think_8", 1].value.value == pytest.approx(2.76)
    assert rows["think_8", 1].metric == "loss"


def test_a_manifest_older_than_efforts_is_read(tmp_path):
    cells = scaling.plan()
    path = dump(tmp_path, scaling.manifest(cells))
    raw = json.loads(path.read_text())
    for contrast in raw["contrasts"]:
        for key in ("effort", "baseline_effort", "severity"):
            del contrast[key]
    path.write_text(json.dumps(raw))
    assert load(tmp_path, "scaling") == scaling.manifest(cells)
