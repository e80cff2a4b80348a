"""Several processes by a Hydra launcher write what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compare.test_cli import ROOT, records


@pytest.mark.slow
def test_two_processes_by_joblib_write_the_records_of_one(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="extra joblib")
    common = ["-m", "arm=transformer", "size=8xs", "budget.flops=5e8,6e8", "trainer.problems=8", "workers=1"]
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": search, "PYTHONWARNINGS": "ignore"}
    found = []
    for name, extra in (("two", ["worker=range(2)", "hydra/launcher=joblib"]), ("one", [])):
        store = tmp_path / name
        command = [sys.executable, "-m", "compare", *common, f"runs={store}", *extra]
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        found.append({i: (r["evaluations"], r["history"], r["flops"]) for i, r in records(store).items()})
    assert len(found[0]) == 2
    assert found[0] == found[1]
