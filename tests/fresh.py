"""A command in a process of its own, which has torch, Lightning and this project imported before it begins.

A fresh Python spends six seconds on imports, its worker six more; forked from a server that has done nothing
but import (multiprocessing's forkserver), either begins at once. What a fresh Python itself does, and what a
signal to a whole session does, is asked of a few commands by `subprocess` (test_cli.py, test_kills.py,
test_readme.py, test_imports.py, test_packaging.py).
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import warnings
from multiprocessing import forkserver
from pathlib import Path
from tempfile import NamedTemporaryFile

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "lightning.pytorch",
        "lightning.pytorch.strategies",
        "compare.cli",
        "compare.run.cell",
        "compare.report.page",
        "ebt.module",
        "ebt.parallel.module",
        "rl_baseline.module",
    ]
)
"""Starts processes from where these are imported. Its server ends with the test process."""


class Command:
    """`python -m MODULE ARGUMENTS`, in a session of its own; as much of `subprocess.Popen` as is used."""

    def __init__(self, *command: str, cwd: Path | None = None, **environment: str) -> None:
        # Files and not pipes: nobody has to read them while the command runs.
        self._outputs = tuple(NamedTemporaryFile("w+") for _ in range(2))  # noqa: SIM115 (as long as this)
        settings = {**os.environ, **ENVIRONMENT, **environment}
        names = [file.name for file in self._outputs]
        self.args = command
        self._process = SERVER.Process(
            target=_run, args=(command, str(cwd or Path.cwd()), settings, names, address())
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def kill(self) -> None:
        """By SIGKILL."""
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed on stdout and stderr, once it has ended."""
        self.wait(timeout)
        out, err = (Path(file.name).read_text() for file in self._outputs)
        return out, err


def run(*command: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS` to its end."""
    begun = Command(*command, cwd=cwd, **environment)
    out, err = begun.communicate()
    return subprocess.CompletedProcess(command, begun.wait(), out, err)


def _run(
    command: tuple[str, ...], cwd: str, environment: dict[str, str], outputs: list[str], address: str
) -> None:
    """Body of the process."""
    os.setsid()
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    for number, name in enumerate(outputs, start=1):
        os.dup2(os.open(name, os.O_RDWR | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, cwd)
    warnings.simplefilter("ignore")
    share(address)
    module, *sys.argv[1:] = command
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_the_test() -> None:
    """A test run that is cut off leaves no command behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


def address() -> str:
    """Where the server of this test process listens."""
    forkserver.ensure_running()
    return _SERVER._forkserver_address  # pyright: ignore[reportAttributeAccessIssue]


def share(address: str) -> None:
    """Take the processes that this one starts from that server, whatever way it asks for."""
    _SERVER._forkserver_address = address  # pyright: ignore[reportAttributeAccessIssue]
    _SERVER.ensure_running = lambda: None
    multiprocessing.get_context = lambda method=None: SERVER  # pyright: ignore[reportAttributeAccessIssue]


_SERVER = forkserver._forkserver
