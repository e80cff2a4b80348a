"""Preregistration: what is frozen, that seeds are spent once, and what a report says of it."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from compare.calibrate import builders
from compare.folders import conf_folder
from compare.plan.config import Request, register
from compare.plan.freeze import freeze
from compare.plan.planned import training_code
from compare.report.__main__ import main
from compare.store import evidence, manifest, prereg
from compare.store.archive import pack, unpacked
from compare.store.manifest import Contrast, Manifest, ManifestError, PlannedCell
from compare.store.prereg import Freeze
from tests import fresh

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
CONTRAST = Contrast(study="planted", arm="ebt_s1", baseline="transformer", quantity="final_loss", margin=0.05)


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return fresh.run("compare", *arguments, cwd=folder)


def run(store: Path, cells: tuple[PlannedCell, ...]) -> None:
    """Records, as if the cells had been run."""
    for cell in cells:
        builders.write(store, builders.record(cell, [builders.loss(1 + cell.seed / 100)]))


def test_a_freeze_holds_what_the_experiment_promises_and_is_dry(tmp_path: Path) -> None:
    result = compare(tmp_path, "freeze", "+experiment=smoke", "experiment.seeds=[4,5]")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "prereg/smoke.json"
    assert [path.name for path in tmp_path.iterdir()] == ["prereg"]
    frozen = prereg.load(tmp_path / "prereg/smoke.json")
    assert (frozen.name, frozen.seeds, frozen.code, frozen.reused) == ("smoke", (4, 5), training_code(), ())
    assert {(cell.study, cell.seed) for cell in frozen.cells} == {
        (study, seed) for study in ("text", "addition") for seed in (4, 5)
    }
    assert frozen.contrasts[0].quantity == "final_loss"
    assert abs(datetime.fromisoformat(frozen.time) - datetime.now(UTC)) < timedelta(minutes=5)
    # Its identities are those of the plan, settings and all.
    again = compare(tmp_path, "freeze", "+experiment=smoke", "experiment.seeds=[4,5]", "prereg=again")
    assert again.returncode == 0
    assert prereg.load(tmp_path / "again/smoke.json").cells == frozen.cells
    other = ["trainer.clip=0.5", "prereg=other"]
    assert compare(tmp_path, "freeze", "+experiment=smoke", *other).returncode == 0
    assert not {c.cell for c in prereg.load(tmp_path / "other/smoke.json").cells} & {
        c.cell for c in frozen.cells
    }


def test_what_cannot_be_frozen_is_one_line(tmp_path: Path) -> None:
    for arguments, words in (([], "+experiment=NAME"), (["+experiment=nonesuch"], "choose one of")):
        result = compare(tmp_path, "freeze", *arguments)
        assert result.returncode == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = compare(tmp_path, "freeze", "+experiment=smoke", "prereg=/proc/nowhere")
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "prereg=/proc/nowhere: cannot be written" in line


def test_uncommitted_changes_are_told(tmp_path: Path) -> None:
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=["+experiment=smoke", f"prereg={tmp_path}", f"runs={tmp_path}"])
        request = Request(root=OmegaConf.to_object(config), overrides=())
        for commit, clean in (("abc1234", True), ("abc1234+", False), ("unknown", False)):
            content = prereg.load(freeze(request, [], commit))
            assert (content.commit, content.clean) == (commit.removesuffix("+"), clean)


def test_a_spent_seed_is_refused_in_one_line_unless_it_is_said(tmp_path: Path) -> None:
    first = ("freeze", "+experiment=smoke", "experiment.seeds=[4]")
    (tmp_path / "runs").mkdir()
    assert compare(tmp_path, *first).returncode == 0
    cells = prereg.load(tmp_path / "prereg/smoke.json").cells
    # Frozen and not run, or run as it was frozen: nothing is spent.
    assert compare(tmp_path, *first, "trainer.clip=0.5").returncode == 0
    assert compare(tmp_path, *first).returncode == 0
    run(tmp_path / "runs", cells)
    assert compare(tmp_path, *first).returncode == 0
    for arguments, words in (
        ((*first, "trainer.clip=0.5"), "addition seeds 4 by smoke with other settings"),
        ((*first, "experiment.name=other"), "text seeds 4 by smoke; take others"),
    ):
        refused = compare(tmp_path, *arguments)
        assert refused.returncode == 2
        assert len(refused.stderr.strip().splitlines()) == 1
        assert words in refused.stderr
        assert "reuse=true" in refused.stderr
        assert compare(tmp_path, *arguments, "experiment.seeds=[5]").returncode == 0
        assert compare(tmp_path, *arguments, "reuse=true").returncode == 0
    assert prereg.load(tmp_path / "prereg/other.json").reused == (
        "addition seeds 4 by smoke",
        "text seeds 4 by smoke",
    )


def test_a_run_takes_the_freeze_into_its_store(tmp_path: Path) -> None:
    assert compare(tmp_path, "freeze", "+experiment=smoke").returncode == 0
    path = tmp_path / "prereg/smoke.json"
    run(tmp_path / "runs", prereg.load(path).cells)
    result = compare(tmp_path, "+experiment=smoke")
    assert result.returncode == 0, result.stderr
    (kept,) = prereg.kept(tmp_path / "runs")
    assert kept.read_text() == path.read_text()
    assert "Frozen 2" in (tmp_path / "runs/reports/smoke/report.md").read_text()
    # One that was changed stops the run before anything is trained.
    path.write_text(path.read_text().replace('"seeds": [', '"seeds": [ 7,'))
    stopped = compare(tmp_path, "+experiment=smoke")
    assert stopped.returncode == 2
    assert "does not match its digest" in stopped.stderr


def test_searches_and_cells_run_one_by_one_spend_nothing(tmp_path: Path) -> None:
    (tried,) = cells = (replace(builders.cell("ebt_s1", 0), trial=1),)
    manifest.dump(tmp_path, builders.manifest(cells))
    manifest.dump(tmp_path, builders.manifest([builders.cell("ebt_s1", 0)], name="cells"))
    run(tmp_path, cells)
    wanted = [replace(tried, cell="other", trial=0)]
    assert prereg.spent(tmp_path, "new", wanted) == ()
    manifest.dump(tmp_path, builders.manifest([builders.cell("ebt_s1", 0)], name="old"))
    assert prereg.spent(tmp_path, "new", wanted) == ("planted seeds 0 by old",)


def cells_of(seeds: range) -> tuple[PlannedCell, ...]:
    return tuple(builders.cell(arm, seed) for arm in ("transformer", "ebt_s1") for seed in seeds)


def frozen(**changes: Any) -> Freeze:
    """A freeze of the planted study."""
    plain: dict[str, Any] = {
        "name": "planted",
        "time": NOW.isoformat(),
        "commit": "abc1234",
        "clean": True,
        "code": "c0de",
        "seeds": (0, 1, 2),
        "contrasts": (CONTRAST,),
        "fit_share": 0.0,
        "reused": (),
        "cells": cells_of(range(3)),
    }
    return Freeze(**plain | changes)


def store(
    path: Path, freeze: Freeze | None, *, hours: float = 1.0, plan: Manifest | None = None, **changes: Any
) -> Path:
    """The planted study, each record written so many hours after NOW, and its freeze."""
    plan = plan or builders.manifest(cells_of(range(3)), [CONTRAST])
    manifest.dump(path, plan)
    for cell in plan.cells:
        value = builders.loss(1 + cell.seed / 100 + 0.1 * (cell.arm == "ebt_s1"))
        written = (NOW + timedelta(hours=hours)).timestamp() if hours else 0.0
        left = {"environment": {"code": "c0de"}, "commit": "def5678", "written": written} | changes
        builders.write(path, builders.record(cell, [value], **left))
    if freeze is not None:
        prereg.dump(path / "planted.json", freeze)
        prereg.keep(path / "planted.json", path)
    return path


def told(path: Path) -> tuple[str, tuple[str, ...]]:
    return prereg.told(path, evidence.collect(path, manifest.load(path, "planted")))


def test_a_report_says_whether_its_plan_was_frozen_before_its_records(tmp_path: Path) -> None:
    before = "Frozen 2026-05-01 12:00 UTC at commit abc1234, before the first record."
    assert told(store(tmp_path / "before", frozen())) == (before, ())
    sentence, _ = told(store(tmp_path / "after", frozen(), hours=-1))
    assert sentence.endswith("after the first record: 6 of 6 runs had begun.")
    # A run that ended after the freeze had begun before it.
    sentence, _ = told(store(tmp_path / "during", frozen(), seconds={"total": 7200.0}))
    assert "after the first record" in sentence
    sentence, _ = told(store(tmp_path / "old", frozen(), hours=0))
    assert sentence.endswith("but 6 of 6 records do not say when they were written.")
    assert told(store(tmp_path / "never", None))[0].startswith("Never frozen")
    sentence, _ = told(store(tmp_path / "dirty", frozen(clean=False)))
    assert "at commit abc1234, with uncommitted changes, before" in sentence
    assert main([str(tmp_path / "before")]) == 0
    for page in ("index.html", "report.md"):
        assert before in (tmp_path / "before/reports/planted" / page).read_text()


def settings(plan: Manifest) -> Manifest:
    """The same places under another identity, for one arm."""
    return replace(
        plan,
        cells=tuple(replace(c, cell=f"{c.cell}x") if c.arm == "ebt_s1" else c for c in plan.cells),
    )


PLAN = builders.manifest(cells_of(range(3)), [CONTRAST])
WIDER = replace(CONTRAST, margin=0.5)
CHANGED: dict[str, tuple[Callable[[Manifest], Manifest], list[str]]] = {
    "seeds added": (lambda p: replace(p, cells=cells_of(range(5))), ["seeds added: 3, 4"]),
    "seeds left out": (lambda p: replace(p, cells=cells_of(range(2))), ["seeds left out: 2"]),
    "contrast": (
        lambda p: replace(p, contrasts=(WIDER,)),
        [f"contrast added: {WIDER.label}", f"contrast left out: {CONTRAST.label}"],
    ),
    "settings": (settings, ["settings changed: planted, ebt_s1"]),
    "arm": (
        lambda p: replace(p, cells=(*p.cells, builders.cell("looped", 0))),
        ["arms added: planted looped"],
    ),
    "rung": (
        lambda p: replace(p, cells=(*p.cells, builders.cell("ebt_s1", 0, budget=3e12))),
        ["rungs added: planted 3e+12"],
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_report_names_what_differs_from_the_freeze(case: str, tmp_path: Path) -> None:
    change, lines = CHANGED[case]
    assert list(told(store(tmp_path, frozen(), plan=change(PLAN)))[1]) == lines
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "reports/planted/report.md").read_text().replace("\\", "")
    assert all(line in text for line in lines)


def test_another_program_and_spent_seeds_are_named(tmp_path: Path) -> None:
    spent = frozen(reused=("planted seeds 0 by old",))
    assert told(store(tmp_path / "spent", spent))[1] == ("seeds were spent before: planted seeds 0 by old",)
    other = store(tmp_path / "other", frozen(), environment={"code": "another"})
    assert told(other)[1] == ("6 of 6 runs were trained by another program (commits def5678)",)
    # Records that do not tell their program are known by their commit.
    assert told(store(tmp_path / "commit", frozen(), environment={}, commit="abc1234"))[1] == ()


def test_the_first_freeze_of_the_same_plan_counts(tmp_path: Path) -> None:
    path = store(tmp_path, frozen())
    late = (NOW + timedelta(days=1)).isoformat()
    for later in (frozen(time=late), frozen(time=late, contrasts=())):
        prereg.dump(path / "planted.json", later)
        prereg.keep(path / "planted.json", path)
    assert len(prereg.kept(path)) == 3
    assert told(path)[0].endswith("before the first record.")


def test_a_freeze_goes_where_its_records_go(tmp_path: Path) -> None:
    path = store(tmp_path / "store", frozen())
    sentence = told(path)
    assert main([str(path), f"out={tmp_path / 'both'}"]) == 0
    assert told(tmp_path / "both") == sentence
    with unpacked(pack(path, "planted", tmp_path / "results")) as again:
        assert told(again) == sentence


def test_a_doctored_freeze_is_found(tmp_path: Path) -> None:
    path = store(tmp_path, frozen())
    (kept,) = prereg.kept(path)
    raw = json.loads(kept.read_text())
    raw["seeds"] = [7]
    kept.write_text(json.dumps(raw))
    with pytest.raises(ManifestError, match="does not match its digest"):
        prereg.load(kept)
    sentence, _ = told(path)
    assert sentence.startswith("A freeze cannot be used")
    assert str(tmp_path) not in sentence
