"""A manifest reads back as written, and nothing else reads as one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from compare.store import manifest
from tests.compare.planted import scaling


def test_manifest_round_trip_and_strictness(tmp_path: Path) -> None:
    plan = scaling.manifest(scaling.plan())
    path = manifest.dump(tmp_path, plan)
    assert manifest.load(tmp_path, "scaling") == plan
    assert manifest.names(tmp_path) == ("scaling",)
    raw = json.loads(path.read_text())
    broken = (
        raw | {"version": 2},
        raw | {"surprise": 1},
        raw | {"title": 3},
        raw | {"cells": raw["cells"] + raw["cells"][:1]},
        {key: value for key, value in raw.items() if key != "question"},
        [],
    )
    for bad in broken:
        path.write_text(json.dumps(bad))
        with pytest.raises(manifest.ManifestError):
            manifest.load(tmp_path, "scaling")
    with pytest.raises(manifest.ManifestError, match=r"field name='\.\./escape': Expected `str` matching"):
        manifest.dump(tmp_path, replace(plan, name="../escape"))


def test_a_bad_name_within_a_cell_is_one_line_that_names_its_place(tmp_path: Path) -> None:
    plan = scaling.manifest(scaling.plan())
    cells = (plan.cells[0], replace(plan.cells[1], cell="../escape"), *plan.cells[2:])
    with pytest.raises(
        manifest.ManifestError, match=r"field cells\[1\]\.cell='\.\./escape': Expected"
    ) as error:
        manifest.dump(tmp_path, replace(plan, cells=cells))
    assert "\n" not in str(error.value)
