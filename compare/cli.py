"""The command line. Nothing heavy is imported until a cell runs."""

import dataclasses
import os
import shlex
import subprocess
import sys
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
from compare.analysis.search.choice import choices
from compare.folders import conf_folder
from compare.plan import tuned
from compare.plan.axis_switch import switched
from compare.plan.cells import expand, narrow
from compare.plan.checks import contrasts
from compare.plan.config import Request, Root, register
from compare.plan.planned import Planned
from compare.plan.trials import ranges_of
from compare.run import mirror, stop
from compare.run.display import Display, plan_table
from compare.run.pool import run, workers_by_default
from compare.store import manifest
from compare.store.claims import SNAPSHOT, Store
from compare.store.evidence import collect, without_paths
from compare.store.record import Record, RecordError
from compare.store.redaction import redact


class CellsFailed(Exception):
    """At least one cell of the plan has a failed record; the rest was run and reported."""


class _Stop(BaseException):
    """Carries an error past Hydra, which would announce the job's overrides on a line of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def task(config: DictConfig) -> None:
    """One Hydra job. In a sweep an error is left to Hydra, so that the other jobs go on."""
    try:
        _task(config)
    except (ConfigError, RecordError, CellsFailed) as error:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            raise
        raise _Stop(error) from error


def _task(config: DictConfig) -> None:
    """Plan, run what is not done, report."""
    root = OmegaConf.to_object(config)
    assert isinstance(root, Root)
    given = tuple(o for o in HydraConfig.get().overrides.task if not o.startswith("hydra"))
    request = Request(root=root, overrides=given)
    console = Console()
    if not console.is_terminal:
        console.width = 140
    store = Store(root.runs)
    store.check()
    grid = expand(request)
    plan = narrow(grid, request)
    records = {p.identity: r for p in plan if (r := store.record(p.identity)) is not None}
    done = {i for i, r in records.items() if r.status == "done" or root.retry == "none"}
    workers = root.workers or workers_by_default(root.trainer.threads * root.trainer.devices)
    rates = _rates(records.values() if done else ())
    if root.dry:
        console.print(plan_table(plan, done, rates, workers))
        return
    mirror.check(root.logger)
    if any(p.cell.trainer.devices > 1 for p in plan):
        from compare.run import team

        for settings in {p.cell.trainer for p in plan}:
            team.check(settings)
    logger = dataclasses.replace(root.logger, group=root.logger.group or request.name)
    store.prepare()
    commit = code_version()
    waiting = [p for p in plan if p.identity not in done]
    begun = sum((store.folder(p.identity) / SNAPSHOT).exists() for p in waiting)
    line = f"{len(plan)} cells, {len(done)} done before, {len(waiting)} to run"
    console.print(f"{line}, {begun} of them from a snapshot" if begun else line, highlight=False)
    failed = [i for i in done if records[i].status == "failed"]
    _write_manifest(request, grid, store, commit)
    if waiting:
        count = min(workers, len(waiting))
        with Display(console, waiting, rates, count) as display:
            outcomes = run(
                waiting,
                store,
                commit=commit,
                logger=logger,
                workers=count,
                again={p.identity: records[p.identity] for p in waiting if p.identity in records},
                ended=display.ended,
                spent=display.spent,
                said=display.said,
            )
        failed += [o.planned.identity for o in outcomes if o.status == "failed"]
        _write_manifest(request, grid, store, commit)
    _report(store, request.name, console)
    if root.experiment is not None and root.experiment.search is not None:
        _keep_choices(request, grid, store, console)
    if failed:
        raise CellsFailed(
            f"{len(failed)} of {len(plan)} cells failed; the report names them (retry=failed runs them again)"
        )


def _keep_choices(request: Request, grid: list[Planned], store: Store, console: Console) -> None:
    """Write the settings that a search chose, and say so."""
    folder, search = tuned.folder_of(request.root.settings, conf_folder()), request.root.experiment.search
    first = {(p.study, p.cell.arm.name, p.cell.size.name): p.cell for p in reversed(grid)}
    evidence = collect(store.root, manifest.load(store.root, request.name))
    for choice in choices(evidence):
        cell = first[choice.study, choice.arm, choice.size]
        what = f"{choice.task} {choice.size} {choice.arm}"
        if choice.chosen is None:
            why = f"{choice.missing} runs are missing" if choice.missing else "every trial failed"
            console.print(f"{what}: nothing chosen, {why}", highlight=False)
        elif folder is None:
            trial = f"trial {choice.chosen.number}"
            console.print(f"{what}: {trial}, not written (settings=none)", highlight=False)
        else:
            path = tuned.write(
                folder,
                choice,
                task=cell.task,
                ranges=ranges_of(cell, search),
                search_seed=search.seed,
                commit=choice.commit,  # a later program may only have looked at them again
                command=without_paths(redact(shlex.join(["python", "-m", "compare", *request.overrides]))),
            )
            trial = f"trial {choice.chosen.number} of {len(choice.trials)}"
            console.print(f"{what}: {trial} -> {'/'.join(path.parts[-4:])}", highlight=False)


def _report(store: Store, name: str, console: Console) -> None:
    from compare import report

    console.print("fitting and drawing the report ...", highlight=False)
    path = report.build(store.root, name)
    # Plain print: a path must be one line, whatever the terminal's width.
    print(path, flush=True)


def _rates(records: Any) -> dict[str, float]:
    """FLOPs a second of training, by arm, over what this store has done."""
    flops: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for record in records:
        assert isinstance(record, Record)
        if record.status == "done":
            flops[record.arm] = flops.get(record.arm, 0.0) + record.flops
            seconds[record.arm] = seconds.get(record.arm, 0.0) + record.seconds["total"]
    return {arm: flops[arm] / seconds[arm] for arm in flops if seconds[arm] > 0}


def _write_manifest(request: Request, plan: list[Planned], store: Store, commit: str) -> None:
    """The grid, beside the records. Cells run one by one share one manifest: all that the store holds."""
    experiment = request.root.experiment
    # The report shows studies as the experiment's file lists them, not as the plan runs them.
    names = list(experiment.studies) if experiment else ["cells"]
    ordered = sorted(plan, key=lambda p: names.index(p.study))
    cells = tuple(
        manifest.PlannedCell(
            cell=p.identity,
            study=p.study,
            arm=p.cell.arm.name,
            task=p.cell.task.name,
            size=p.cell.size.name,
            budget=float(p.cell.budget.flops),
            seed=p.cell.seed,
            rung=p.rung,
            trial=p.trial,
        )
        for p in ordered
    )
    if experiment is not None:
        named, title, question = contrasts(experiment), experiment.title, experiment.question
    else:
        named, title, question = (), "Cells run one by one", "What did these cells measure?"
        one_by_one = {cell.cell: cell for cell in cells}
        for record in store.records():
            study = f"{record.task} {record.size}"
            one_by_one[record.cell] = manifest.PlannedCell(
                cell=record.cell,
                study=study,
                arm=record.arm,
                task=record.task,
                size=record.size,
                budget=record.budget,
                seed=record.seed,
            )
        cells = _apart(list(one_by_one.values()))
    content = manifest.Manifest(
        name=request.name,
        title=title,
        question=question,
        command=redact(shlex.join(["python", "-m", "compare", *request.overrides])),
        commit=commit,
        contrasts=named,
        cells=cells,
        fit_share=float(experiment.fit_share) if experiment is not None else 0.0,
        axis=experiment.axis if experiment is not None else "flops",
        tuned=tuple(dict.fromkeys(p.settings for p in ordered if p.settings is not None)),
    )
    try:
        manifest.dump(store.root, content)
    except manifest.ManifestError as error:
        raise ConfigError(str(error)) from error


def _apart(cells: list[manifest.PlannedCell]) -> tuple[manifest.PlannedCell, ...]:
    """Cells that differ in more than arm, budget and seed go to studies of their own."""
    taken: set[tuple[str, str, float, int]] = set()
    apart: list[manifest.PlannedCell] = []
    for cell in cells:
        study, number = cell.study, 1
        while (study, cell.arm, cell.budget, cell.seed) in taken:
            number += 1
            study = f"{cell.study} ({number})"
        taken.add((study, cell.arm, cell.budget, cell.seed))
        apart.append(dataclasses.replace(cell, study=study))
    return tuple(apart)


def code_version() -> str:
    """Commit of the checkout (with + for uncommitted changes), else the installed version."""
    here = Path(__file__).resolve().parent.parent
    if (here / ".git").exists():
        command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
    try:
        return "v" + metadata.version("ebt-arena")
    except metadata.PackageNotFoundError:
        return "unknown"


def main() -> None:
    """Entry point of `python -m compare` and of the console script `ebt-compare`.

    Exit status: 0 done; 1 a cell failed; 2 bad configuration, nothing was trained; 130 interrupted by
    Ctrl-C, 143 by SIGTERM, 138 or 140 by SIGUSR1 or SIGUSR2.
    """
    if sys.argv[1:2] == ["status"]:
        from compare.run import status

        sys.exit(status.main(sys.argv[2:]))
    # Hydra would print a traceback's tail and exit with 1; errors are told apart here instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    entry: Any = hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")(task)
    try:
        try:
            sys.argv[1:] = switched(sys.argv[1:], conf_folder())
            entry()
        except _Stop as carried:
            raise carried.error from None
    except CellsFailed as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except (ConfigError, RecordError, HydraException, OmegaConfBaseException) as error:
        print(one_line(error), file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if not from_hydra(error):
            raise
        print(one_line(error), file=sys.stderr)
        sys.exit(2)
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
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return module.split(".")[0] in ("hydra", "omegaconf")


def one_line(error: BaseException) -> str:
    """What was wrong, which value, and the remedy, on one line."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        known = ", ".join(error.options)
        return f"{group}={name}: there is none; choose one of {known}"
    cause = error.__cause__ or error.__context__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(cause, OmegaConfBaseException) and not isinstance(error, ConfigError):
        lines += [line.strip() for line in str(cause).splitlines()[:1]]
    kept = [
        line
        for line in dict.fromkeys(lines)
        if not line.startswith(("full_key", "object_type", "reference", "See https", "^"))
    ]
    text = "; ".join(kept) or type(error).__name__
    return (
        text
        if isinstance(error, ConfigError | RecordError)
        else f"{text}; python -m compare --help lists every key"
    )
