"""Numbers of the README that name their contrast are those of the committed records, digit by digit.

`+0.377 [+0.229, +0.525]<!-- STUDY'S EXPERIMENT, STUDY, ARM, BASELINE, QUANTITY -->` stands for a finding.
"""

import re
from functools import cache
from pathlib import Path

import pytest

from compare.analysis.analyse import analyse
from compare.analysis.findings import Finding
from compare.store import archive, evidence, manifest

ROOT = Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"([+\-.\d]+)(x| nats)?\**\s+\[([^\]]+)\]<!-- (\w+) (\w+) (\w+) (\w+) (\w+) -->(.*)")
MARKED = [match.groups() for match in NUMBER.finditer((ROOT / "README.md").read_text())]


@cache
def findings(experiment: str) -> tuple[Finding, ...]:
    with archive.unpacked(ROOT / "results" / experiment) as store:
        return analyse(evidence.collect(store, manifest.load(store, experiment))).findings


def plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{MULTIPLICATION SIGN}", "x")


def test_some_numbers_are_marked() -> None:
    assert len(MARKED) >= 8


@pytest.mark.parametrize("marked", MARKED, ids=lambda marked: " ".join(marked[3:8]))
def test_a_marked_number_is_that_of_the_records(marked: tuple[str, ...]) -> None:
    value, unit, ends, experiment, study, arm, baseline, quantity, rest = marked
    (finding,) = [
        f
        for f in findings(experiment)
        if (f.study, f.arm, f.baseline, f.quantity) == (study, arm, baseline, quantity)
    ]
    assert plain(finding.value_text) == value + (unit or "")
    assert plain(finding.interval_text) == f"[{ends}]"
    if rest.strip().startswith("|"):
        word = rest.strip(" |").split(":")[0].split(" ")[0]
        assert word == ("withheld" if finding.withheld else finding.verdict)
