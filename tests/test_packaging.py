"""The wheel carries what an installed copy needs: configuration, page templates, the console script."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
        entry = next(n for n in names if n.endswith("entry_points.txt"))
        assert "ebt-compare = compare.cli:main" in archive.read(entry).decode()
    conf = {str(p.relative_to(ROOT)) for p in (ROOT / "conf").rglob("*.yaml")}
    assert {f"compare/{name}" for name in conf} <= names
    assert {"compare/report/page.html.j2", "compare/report/page.md.j2"} <= names
    assert not any(n.startswith(("tests/", "benchmarks/")) for n in names)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-P", "-m", "compare", "+experiment=smoke", "dry=true"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "9 cells" in result.stdout
