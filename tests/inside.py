"""The command line in this process: what it prints and how it ends, without the seconds of a fresh Python."""

import io
import logging
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from compare.cli import main


def compare(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m compare ARGUMENTS` in a folder; for what plans or is refused, and runs no cell."""
    out, err = io.StringIO(), io.StringIO()
    root, status = logging.getLogger(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["compare", *arguments])
        patch.setattr(root, "handlers", list(root.handlers))
        patch.setattr(root, "level", root.level)
        patch.setenv("HYDRA_FULL_ERROR", "1")
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())
