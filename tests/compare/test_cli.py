"""The command line as a user meets it: help, dry runs, bad input, a whole small study, resuming."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compare.store.claims import Store, running
from tests import fresh

ROOT = Path(__file__).resolve().parents[2]


def compare(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return fresh.run("compare", *arguments, cwd=cwd)


def in_a_fresh_python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As a user begins it: nothing is imported, and workers are fresh, too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "compare", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def records(store: Path) -> dict[str, dict]:
    return {p.parent.name: json.loads(p.read_text()) for p in store.glob("cells/*/record.json")}


def test_help_teaches() -> None:
    result = in_a_fresh_python("--help")
    assert result.returncode == 0
    arms = "ebt_parallel_one_step, ebt_s1"
    for word in ("+experiment=scaling", "dry=true", "runs=DIR", "retry=failed", arms):
        assert word in result.stdout


def test_a_dry_run_prints_the_cells_and_writes_nothing(tmp_path) -> None:
    result = compare("+experiment=smoke", "dry=true", f"runs={tmp_path}/runs", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "9 cells, 0 done" in result.stdout
    assert "rl_kl_cov" in result.stdout
    assert "assumed rates" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["arm=nonesuch"], ["arm=nonesuch", "choose one of", "ebt_s1"]),
        (["+experiment=nonesuch"], ["experiment=nonesuch", "scaling"]),
        (["+experiment=smoke", "experiment.studies.text.arms=[nonesuch]"], ["arm=nonesuch", "choose one of"]),
        (["task.nonesuch=1"], ["task.nonesuch", "--help"]),
        (["seed=many"], ["seed=many", "--help"]),
        (["budget.flops=10"], ["budget.flops=10", "at least"]),
        (["task=text", "task.path=nonesuch.txt"], ["task.path=nonesuch.txt", "give"]),
        (["task=text", "task.path=empty.txt"], ["task.path=empty.txt", "empty"]),
        (["arm=rl_grpo", "task=text"], ["arm=rl_grpo", "choose task=addition"]),
        (["arm=null"], ["Config group override", "--help"]),
        (["retry=always"], ["retry=always", "choose one of"]),
        (["runs=old"], ["store version 99", "runs=DIR"]),
        (["runs=/dev/null/runs"], ["runs=/dev/null/runs", "runs=DIR"]),
    ],
    ids=lambda x: "_".join(x)[:40],
)
def test_bad_input_is_one_line_and_trains_nothing(tmp_path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/store.json").write_text('{"version": 99}')
    before = sorted(p.name for p in tmp_path.rglob("*"))
    # One of them as a user meets it.
    run = in_a_fresh_python if arguments == ["arm=nonesuch"] else compare
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_every_arm_once_then_nothing_then_one_cell_again(tmp_path) -> None:
    store = tmp_path / "runs"
    first = in_a_fresh_python("+experiment=smoke", f"runs={store}", cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    found = records(store)
    assert {r["arm"] for r in found.values()} == {
        "ebt_s1",
        "ebt_one_step",
        "transformer",
        "rl_grpo",
        "rl_clip_cov",
        "rl_kl_cov",
        "rl_gppo",
    }
    assert all(r["status"] == "done" and 0 < r["flops"] <= r["budget"] for r in found.values())
    assert all(r["history"]["step"] for r in found.values())
    page = Path(first.stdout.strip().splitlines()[-1])
    assert page == store / "reports/smoke/index.html"
    assert page.read_text().lower().count("<svg") >= 1
    assert (page.parent / "report.md").exists()

    again = compare("+experiment=smoke", f"runs={store}", cwd=tmp_path)
    assert again.returncode == 0
    assert "9 cells, 9 done before, 0 to run" in again.stdout
    assert records(store) == found

    gone = next(i for i, r in found.items() if r["arm"] == "rl_kl_cov")
    times = {i: (store / "cells" / i / "record.json").stat().st_mtime_ns for i in found}
    shutil.rmtree(store / "cells" / gone)
    third = compare("+experiment=smoke", f"runs={store}", cwd=tmp_path)
    assert "9 cells, 8 done before, 1 to run" in third.stdout
    rerun = records(store)
    # The cell comes out as it did, but for the time that it took; no other was touched.
    for key in ("evaluations", "history", "flops", "config"):
        assert rerun[gone][key] == found[gone][key]
    for i in found:
        if i != gone:
            assert (store / "cells" / i / "record.json").stat().st_mtime_ns == times[i]


@pytest.mark.slow
def test_a_failing_cell_is_recorded_and_the_rest_goes_on(tmp_path) -> None:
    store = tmp_path / "runs"
    common = ["task=addition", "size=8xs", "budget.flops=5e8", "trainer.problems=8", f"runs={store}"]
    result = compare("-m", "arm=ebt_s1", "arm.alpha=1e38,2.0", *common, cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    found = list(records(store).values())
    assert sorted(r["status"] for r in found) == ["done", "failed"]
    reason = next(r["reason"] for r in found if r["status"] == "failed")
    assert reason.startswith("Diverged")
    page = (store / "reports/cells/index.html").read_text()
    assert "Diverged" in page
    # A failed cell stays failed until it is asked for again.
    once_more = compare("arm=ebt_s1", "arm.alpha=1e38", *common, cwd=tmp_path)
    assert once_more.returncode == 1
    assert "0 to run" in once_more.stdout
    retried = compare("arm=ebt_s1", "arm.alpha=1e38", "retry=failed", *common, cwd=tmp_path)
    assert retried.returncode == 1
    assert "1 to run" in retried.stdout
    assert "1 of 1 cells failed" in retried.stderr


@pytest.mark.slow
def test_workers_leave_with_a_killed_parent_and_the_cell_is_taken_over(tmp_path) -> None:
    store = tmp_path / "runs"
    arguments = ["arm=transformer", "size=8xs", f"runs={store}"]
    parent = fresh.Command("compare", *arguments, "budget.flops=1e13", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list(store.glob("cells/*/claim.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    claim = next(store.glob("cells/*/claim.json"))
    worker = json.loads(claim.read_text())["pid"]
    parent.kill()
    parent.wait()
    while running(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(worker)
    # The dead worker's claim is still there and does not stand in the way.
    assert claim.exists()
    (claim.parent / "record.json").unlink(missing_ok=True)
    with Store(store).claim(claim.parent.name) as ours:
        assert ours
