"""Who imports nothing heavy: planning is quick, and a report is built from records alone."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.compare.planted import shift

ROOT = Path(__file__).resolve().parents[1]

TORCH = ("torch", "lightning", "transformers", "wandb")
FIGURES = (*TORCH, "matplotlib", "scipy")
NUMBERS = (*FIGURES, "numpy")


def under(*patterns: str) -> list[str]:
    """Modules of the files that match."""
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    assert paths
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]


CASES = {
    # The strictest first: they are imported one after another by one process.
    **dict.fromkeys(["arena.effort"], (*NUMBERS, "hydra", "omegaconf", "msgspec")),
    **dict.fromkeys(["compare", "compare.report", "compare.analysis.registry"], NUMBERS),
    **dict.fromkeys(under("compare/analysis/*/quantities.py"), NUMBERS),
    **dict.fromkeys(["compare.cli", "compare.plan.families", "compare.plan.checks"], NUMBERS),
    **dict.fromkeys(under("[!t]*/family.py", "[!t]*/*/family.py"), NUMBERS),
    **dict.fromkeys(under("[!t]*/cost.py", "[!t]*/*/cost.py"), NUMBERS),
    **dict.fromkeys(under("compare/store/*.py"), FIGURES),
    **dict.fromkeys(under("compare/plan/*.py"), FIGURES),
    **dict.fromkeys(
        under("compare/stats/*.py", "compare/analysis/**/*.py", "compare/report/*.py"), (*TORCH, "hydra")
    ),
    **dict.fromkeys(under("compare/calibrate/*.py"), TORCH),
}
"""Module -> packages that it must not import, itself or by way of others."""

REFUSE = """
import importlib, json, sys

class Heavy(BaseException):
    pass

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in refused:
            raise Heavy(name)

refused = ()
sys.meta_path.insert(0, Refuse())
"""
"""From here on, importing what is refused raises what no `except ImportError` catches."""

EACH = """
import os
sys.stdout = open(os.devnull, "w")
found = {}
for module, refused in json.loads(sys.argv[1]).items():
    try:
        importlib.import_module(module)
    except BaseException as error:
        found[module] = f"{type(error).__name__}: {error}"
sys.__stdout__.write(json.dumps(found))
"""


def python(code: str, *arguments: str) -> str:
    """Output of a fresh Python in which nothing is imported yet."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSE + code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def offences() -> dict[str, str]:
    """Module -> what it imported and must not."""
    return json.loads(python(EACH, json.dumps(CASES)))


@pytest.mark.parametrize("module", CASES)
def test_a_light_module_imports_nothing_heavy(module: str) -> None:
    assert offences().get(module) is None


def test_what_is_heavy_is_seen() -> None:
    assert json.loads(python(EACH, json.dumps({"ebt.module": TORCH}))) == {"ebt.module": "Heavy: torch"}


def test_a_dry_run_starts_without_torch_and_numpy(tmp_path: Path) -> None:
    code = "refused = sys.argv.pop().split(); from compare.cli import main; sys.exit(main())"
    printed = python(code, "+experiment=smoke", "dry=true", f"runs={tmp_path}", " ".join(NUMBERS))
    assert "9 cells, 0 done" in printed


def test_a_report_is_built_without_torch(tmp_path: Path) -> None:
    store = shift.store(tmp_path, seeds=1)
    code = "refused = sys.argv.pop().split(); from compare.report.__main__ import main; sys.exit(main())"
    assert "index.html" in python(code, str(store), " ".join((*TORCH, "hydra")))
