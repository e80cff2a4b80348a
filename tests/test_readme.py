"""Every command of the README is run, the expensive ones as the dry run or short form of themselves."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fresh

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines() if line.strip()
]
SET_UP = [c for c in COMMANDS if "venv" in c]
BENCHMARKS = ("ebt_step", "ebt_think", "ebt_generate", "rollout", "alpha_rule", "harness", "report")
LAUNCHERS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}
USE = [c for c in COMMANDS if "venv" not in c]
FIRST = next(c for c in USE if c[2] == "compare")


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return fresh.run(*command[2:], cwd=cwd, WANDB_MODE="offline")


def in_a_fresh_python(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "WANDB_MODE": "offline"}
    return subprocess.run(
        [sys.executable, *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_there_are_exactly_two_commands_to_set_up_and_both_install_this_package() -> None:
    assert len(SET_UP) == 2
    for command in SET_UP:
        assert command[:4] == ["python3", "-m", "venv", ".venv"]
        assert command[5:8] == [".venv/bin/pip", "install", "-e"]
    assert SET_UP[0][-3:] == ["-m", "compare", "+experiment=scaling"]
    assert SET_UP[1][8] == ".[dev]"
    assert SET_UP[1][-2:] == ["-m", "pytest"]


PLANS = [c for c in USE if c[2] == "compare" and c[3] not in ("status", "freeze")]


@pytest.mark.parametrize("command", PLANS, ids=" ".join)
def test_compare_commands_are_understood(command: list[str], tmp_path: Path) -> None:
    for launcher, plugin in LAUNCHERS.items():
        if f"hydra/launcher={launcher}" in command:
            pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
            if launcher != "joblib":
                command = [c for c in command if not c.startswith("hydra/launcher=")]  # asks for a cluster
    shutil.copy(ROOT / "README.md", tmp_path)
    extra = [] if {"--help", "dry=true"} & set(command) else ["dry=true"]
    # The first, and launchers, which start processes of their own, as a user begins them.
    alone = command == FIRST or any("hydra/" in c for c in command)
    result = (in_a_fresh_python if alone else run)([*command, *extra], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "cells, 0 done" in result.stdout or "--help" in command


@pytest.mark.slow
def test_a_users_own_file_from_record_to_rebuilt_report(tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path)
    own = next(c for c in USE if "task.path=README.md" in c)
    # One window is longer than the README's own test split is sure to be.
    result = run([*own, "size=8xs", "trainer.problems=4", "task.context=16"], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    alone, combined, packed, compared, published = [c for c in USE if c[2] == "compare.report"]
    rebuilt = run(alone, tmp_path)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert Path(rebuilt.stdout.strip().splitlines()[-1]) == Path("runs/reports/cells/index.html")
    assert (tmp_path / "runs/reports/cells/index.html").exists()
    kept = run(packed, tmp_path)
    assert kept.returncode == 0, kept.stderr
    assert (tmp_path / "results/cells/records.jsonl.xz").exists()
    shutil.copytree(tmp_path / "runs", tmp_path / "other")
    both = run(combined, tmp_path)
    assert both.returncode == 0, both.stderr
    assert (tmp_path / "both/reports/cells/index.html").exists()
    difference = run(compared, tmp_path)
    assert difference.returncode == 0, difference.stderr
    assert Path(tmp_path / difference.stdout.strip().splitlines()[-1]).exists()
    # Without an account nothing is published, and one line says what is missing.
    refused = run(published, tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_end_with_one_json_line(name: str, tmp_path: Path) -> None:
    import json

    assert any(c[2] == f"benchmarks.{name}" for c in USE)
    given = {
        "alpha_rule": ["3", "8"],
        "ebt_think": ["1", "2"],
        "ebt_generate": ["1", "8"],
        "harness": ["200", "2.2e9"],
        "report": ["30"],
    }
    short = given.get(name, ["1"])
    result = run(["python", "-m", f"benchmarks.{name}", *short], tmp_path)
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout.strip().splitlines()[-1])
    assert figures["name"] == name
    assert {"ratio", "device", "commit"} <= figures.keys()
    if name == "ebt_step":
        assert figures["gradient_difference"] < 1e-4
        assert figures["memory_ratio"] > 1
    if name == "ebt_think":
        assert figures["largest_difference"] < 1e-3
    if name == "ebt_generate":
        assert figures["equal_tokens"] > 0.95  # near ties may fall the other way


def test_an_experiment_is_frozen_before_it_runs(tmp_path: Path) -> None:
    command = next(c for c in USE if c[3] == "freeze")
    result = run(command, tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.rglob("ood.json"))) == 1


def test_the_generator_teaches() -> None:
    command = next(c for c in USE if c[2] == "ebt.generate")
    result = run(command, ROOT)
    assert result.returncode == 0
    assert "checkpoint: str" in result.stdout


def test_what_checks_the_analysis_and_the_clusters_says_how_it_is_used() -> None:
    calibrate = next(c for c in USE if c[2] == "compare.calibrate")
    assert run([*calibrate, "--help"], ROOT).returncode == 0
    cluster = next(c for c in USE if c[2] == "tests.cluster")
    result = run([*cluster[:3], "nowhere"], ROOT)
    assert "python -m tests.cluster joblib|slurm|ray" in result.stderr


def test_every_command_of_the_readme_is_covered() -> None:
    kinds = {"compare", "compare.report", "compare.calibrate", "ebt.generate", "tests.cluster"}
    kinds |= {f"benchmarks.{name}" for name in BENCHMARKS}
    assert all(c[:2] == ["python", "-m"] and c[2] in kinds for c in USE)
    assert len(USE) >= 10


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]
)
def test_pages_are_finished_and_their_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    assert not re.search(r"^(RESULT|TABLE)$|\bTIME\b", text, re.MULTILINE)
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target
