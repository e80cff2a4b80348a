"""The command line. Nothing heavy is imported until a cell runs."""

import dataclasses
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from arena.config import ConfigError
from compare.folders import conf_folder
from compare.plan.announce import write_manifest
from compare.plan.cells import expand, narrow
from compare.plan.config import Request, Root, register
from compare.plan.cost import rates
from compare.plan.planned import UNKNOWN
from compare.run import mirror, stop
from compare.run.display import Display, plan_table
from compare.run.pool import run, workers_by_default
from compare.store.claims import SNAPSHOT, Store
from compare.store.manifest import ManifestError
from compare.store.record import RecordError


class CellsFailed(Exception):
    """At least one cell of the plan has a failed record; the rest was run and reported."""


OWN = (ConfigError, ManifestError, RecordError, CellsFailed)
"""Errors whose message is one line for whoever typed the command."""
NAMED = (*OWN, HydraException, OmegaConfBaseException)
"""Errors whose message can be made one."""


class _Stop(BaseException):
    """Carries an error past Hydra, which would announce the job's overrides on a line of its own."""


def job(work: Callable[[Request], None]) -> Callable[[DictConfig], None]:
    """One Hydra job. In a sweep an error is left to Hydra, so that the other jobs go on."""

    def task(config: DictConfig) -> None:
        root = OmegaConf.to_object(config)
        assert isinstance(root, Root)
        given = tuple(o for o in HydraConfig.get().overrides.task if not o.startswith("hydra"))
        try:
            work(Request(root=root, overrides=given))
        except NAMED as error:
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise
            raise _Stop(error) from error

    return task


def carry_out(request: Request) -> None:
    """Plan, run what is not done, report."""
    root, console = request.root, Console(highlight=False)
    if not console.is_terminal:
        console.width = 140
    store = Store(root.runs)
    store.check()
    grid = expand(request)
    plan = narrow(grid, request)
    ended = {p.identity: seen for p in plan if (seen := store.glance(p.identity)) is not None}
    done = {i for i, seen in ended.items() if seen.status == "done" or root.retry == "none"}
    workers = root.workers or workers_by_default(root.trainer.threads * root.trainer.devices)
    speed = rates(ended.values())
    if root.dry:
        console.print(plan_table(plan, done, speed, workers))
        return
    mirror.check(root.logger)
    if any(p.cell.trainer.devices > 1 for p in plan):
        from compare.run import team

        for settings in {p.cell.trainer for p in plan}:
            team.check(settings)
    store.prepare()
    commit = code_version()
    waiting = [p for p in plan if p.identity not in done]
    begun = sum((store.folder(p.identity) / SNAPSHOT).exists() for p in waiting)
    line = f"{len(plan)} cells, {len(done)} done before, {len(waiting)} to run"
    console.print(f"{line}, {begun} of them from a snapshot" if begun else line)
    failed = sum(ended[i].status == "failed" for i in done)
    write_manifest(request, grid, store, commit)
    if root.experiment is not None:
        from compare.store import prereg

        prereg.keep(Path(root.prereg) / f"{request.name}.json", store.root)
    if waiting:
        count = min(workers, len(waiting))
        with Display(console, waiting, speed, count) as display:
            outcomes = run(
                waiting,
                store,
                commit=commit,
                logger=dataclasses.replace(root.logger, group=root.logger.group or request.name),
                workers=count,
                again=ended,
                ended=display.ended,
                told=display.tell,
            )
        failed += sum(outcome.status == "failed" for outcome in outcomes)
        write_manifest(request, grid, store, commit)
    console.print("fitting and drawing the report ...")
    from compare import report

    # Plain print: a path must be one line, whatever the terminal's width.
    print(report.build(store.root, request.name), flush=True)
    if root.experiment is not None and root.experiment.search is not None:
        from compare.plan.chosen import keep_choices

        keep_choices(request, grid, store.root, console.print)
    if failed:
        raise CellsFailed(
            f"{failed} of {len(plan)} cells failed; the report names them (retry=failed runs them again)"
        )


def freeze(request: Request) -> None:
    """Write what an experiment promises, before it runs."""
    from compare.plan.freeze import freeze

    commit = code_version()
    path = freeze(request, expand(request), commit)
    if commit.endswith("+"):
        print("the working tree has changes that no commit holds: the freeze says so")
    print(path)


def code_version() -> str:
    """Commit of the checkout (with + for uncommitted changes), else the installed version."""
    here = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        if (here / ".git").exists():
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return "v" + metadata.version("ebt-arena")
    except (OSError, subprocess.CalledProcessError, metadata.PackageNotFoundError):
        return UNKNOWN


def main() -> None:
    """Entry point of `python -m compare` and of the console script `ebt-compare`.

    Exit status: 0 done; 1 a cell failed; 2 bad configuration, nothing was trained; 130 interrupted by
    Ctrl-C, 143 by SIGTERM, 138 or 140 by SIGUSR1 or SIGUSR2.
    """
    if sys.argv[1:2] == ["status"]:
        from compare.run import status

        sys.exit(status.main(sys.argv[2:]))
    work = carry_out
    if sys.argv[1:2] == ["freeze"]:
        work = freeze
        del sys.argv[1]
    # Hydra would print a traceback's tail and exit with 1; errors are told apart here instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    entry: Any = hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")
    try:
        entry(job(work))()
    except (Exception, _Stop) as raised:
        error = raised.args[0] if isinstance(raised, _Stop) else raised
        if not isinstance(error, NAMED) and not from_hydra(error):
            raise
        print(one_line(error), file=sys.stderr)
        sys.exit(1 if isinstance(error, CellsFailed) else 2)
    except stop.Interrupted as error:
        again = shlex.join(["python", "-m", "compare", *sys.argv[1:]])
        counts = f"{error.done} cells ended, {error.saved} saved on the way"
        print(f"stopped: {counts}; to go on: {again}", file=sys.stderr)
        sys.exit(128 + error.number)
    except KeyboardInterrupt:
        print("interrupted; what is done is kept, the same command goes on with the rest", file=sys.stderr)
        sys.exit(130)


def from_hydra(error: BaseException) -> bool:
    """Whether an error arose in Hydra or OmegaConf, which do not name all of theirs."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(modules) and modules[-1].split(".")[0] in ("hydra", "omegaconf")


def one_line(error: BaseException) -> str:
    """What was wrong, which value, and the remedy, on one line."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        known = ", ".join(error.options)
        return f"{group}={name}: there is none; choose one of {known}"
    lines, remedy = str(error).splitlines(), ["python -m compare --help lists every key"]
    cause = error.__cause__ or error.__context__
    if isinstance(error, OWN):
        remedy = []
    elif isinstance(cause, OmegaConfBaseException):
        lines += str(cause).splitlines()[:1]
    technical = ("full_key", "object_type", "reference", "See https", "^")
    kept = [line for line in dict.fromkeys(map(str.strip, lines)) if line and not line.startswith(technical)]
    return "; ".join([*(kept or [type(error).__name__]), *remedy])
