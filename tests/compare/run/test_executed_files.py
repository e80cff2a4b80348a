"""One arm's cell executes a small part of compare/: the rooms that plan and run it, not those that judge it.

Counted are the modules of compare/ that Python has loaded from a file, `python -m compare` itself among them;
an `__init__.py` that holds nothing but its docstring is not. The worker is looked at when it gives up its
claim, with the record written, the parent when it is about to import the report.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

from tests.compare.test_cli import ROOT

MOST = 32
"""Files of compare/ that a process may execute for one cell."""

WATCHER = """
import os, sys

def note(event, args):
    ended = event == "os.remove" and str(args[0]).endswith("claim.json")
    if ended or (event == "import" and args[0] == "compare.report"):
        name = "worker" if ended else "parent"
        files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
        with open(os.path.join(os.path.dirname(__file__), name + ".txt"), "w") as file:
            file.write("\\n".join(files))

sys.addaudithook(note)
"""


def holds_code(path: Path) -> bool:
    """Whether a file is more than a package's docstring."""
    body = ast.parse(path.read_text()).body
    return path.name != "__init__.py" or any(not isinstance(node, ast.Expr) for node in body)


def executed(listing: Path) -> set[str]:
    """Files of compare/ among those that a process has loaded, relative to it."""
    inside = ROOT / "compare"
    paths = [Path(line) for line in listing.read_text().splitlines()]
    return {str(p.relative_to(inside)) for p in paths if p.is_relative_to(inside) and holds_code(p)}


def test_one_cell_executes_few_files_and_judges_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCHER)
    command = ["arm=transformer", "task=addition", "size=8xs", "budget.flops=5e8", "trainer.problems=8"]
    done = subprocess.run(
        [sys.executable, "-m", "compare", *command, "trainer.accelerator=cpu", f"runs={tmp_path}/runs"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for process in ("worker", "parent"):
        files = executed(tmp_path / f"{process}.txt")
        print(process, len(files), *sorted(files))
        assert 10 < len(files) <= MOST, sorted(files)
        assert not [name for name in files if name.startswith(("report/", "calibrate/"))]
    assert not [name for name in executed(tmp_path / "worker.txt") if name.startswith("analysis/")]
