"""`python -m compare.report RUNS [RUNS...]`: rebuild, combine, compare or publish reports from records."""

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from compare.report import build
from compare.store import manifest
from compare.store.archive import pack, unpacked
from compare.store.manifest import ManifestError
from compare.store.record import RecordError

# What needs numpy or matplotlib is imported where it is used: `--help` should not wait for them.

SETTINGS = {"name": "", "out": "", "records": "", "to": "page", "share": "false", "project": "", "entity": ""}
"""What may be given as key=value, with its default."""

SHOWN = 6
"""Remarks on a combined store that are printed."""

EPILOG = """\
settings: name=EXPERIMENT  one experiment; without it, all of them
          out=DIR          where a combined store is written (default: combined), or a --diff (default: diff)
          records=DIR      pack the records into DIR/EXPERIMENT, small enough to commit (such as results), and
                           report from them; DIR/EXPERIMENT then serves wherever a store does
          to=wandb         publish to Weights & Biases as well: project=PROJECT entity=ENTITY; share=true
                           makes a link that anybody can open, and prints it
The last line printed is the path of the last report, or its link."""


class BadRequest(Exception):
    """The command line asks for what cannot be done. One line."""


def main(arguments: list[str] | None = None) -> int:
    """Build the reports; returns the exit status (2 for what cannot be used, 0 otherwise)."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.report",
        description="Rebuild the reports of a store from its records alone. Several stores are combined, "
        "cells united by identity, into a new store. With --diff two are compared.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUNS",
        help="a store: a folder with cells/ and experiments/, or with what records=DIR left",
    )
    parser.add_argument(
        "--diff",
        action="store_true",
        help="compare two studies: RUNS twice, or RUNS/experiments/NAME.json to pick the experiment",
    )
    options = parser.parse_args(arguments)
    try:
        stores, settings = _read(options.runs)
        with ExitStack() as stack:
            opened = [stack.enter_context(unpacked(store)) for store in stores]
            return _diff(opened, settings) if options.diff else _build(stores, opened, settings)
    except (BadRequest, ManifestError, RecordError) as error:
        print(error, file=sys.stderr)
        return 2


def _read(given: list[str]) -> tuple[list[Path], dict[str, str]]:
    """Stores and settings."""
    settings = dict(SETTINGS)
    stores = []
    for word in given:
        key, is_setting, value = word.partition("=")
        if not is_setting or Path(word).exists():
            stores.append(Path(word))
        elif key in settings:
            settings[key] = value
        else:
            raise BadRequest(f"{word}: no such setting; give one of {', '.join(f'{k}=' for k in settings)}")
    for key, choices in (("to", ("page", "wandb")), ("share", ("true", "false"))):
        if settings[key] not in choices:
            raise BadRequest(f"{key}={settings[key]}: choose one of {', '.join(choices)}")
    if settings["share"] == "true" and settings["to"] != "wandb":
        raise BadRequest("share=true: only a published report has a link; add to=wandb")
    if not stores:
        raise BadRequest("no store given; give the folder that a run wrote, such as runs")
    for store in stores:
        if not store.exists():
            raise BadRequest(
                f"RUNS={store}: no such folder; give the store that a run wrote "
                "(one experiment of it: name=EXPERIMENT)"
            )
    return stores, settings


def _names(store: Path) -> set[str]:
    """Experiments of a store."""
    if names := manifest.names(store):
        return set(names)
    raise BadRequest(f"RUNS={store}: no experiments/*.json in it; give the store itself")


def _build(given: list[Path], stores: list[Path], settings: dict[str, str]) -> int:
    """Args: stores: what was given, archives unpacked."""
    from compare.report.publish import Unpublished, publish
    from compare.store.combine import combine

    every = sorted(set().union(*map(_names, stores)))
    together = len(stores) > 1 or bool(settings["out"])
    home = Path(settings["out"] or "combined") if together else stores[0]
    if together and any(home.exists() and home.samefile(store) for store in given):
        raise BadRequest(f"out={home}: is one of the stores that are combined; give another folder")
    status = 0
    for name in [settings["name"]] if settings["name"] else every:
        try:
            remarks = combine(stores, name, home).remarks if together else ()
            for line in remarks[:SHOWN]:
                print(f"{name}: {line}", file=sys.stderr)
            if more := len(remarks[SHOWN:]):
                print(f"{name}: {more} more remarks like these stand in the report", file=sys.stderr)
            folder = None if together or stores == given else given[0]
            source = home
            if settings["records"]:
                folder = source = pack(home, name, Path(settings["records"]) / name)
            with unpacked(source) as opened:
                told = partial(print, file=sys.stderr)
                page = _progress(name, partial(build, opened, name, folder, unusable=told))
            print(page)
            if settings["to"] == "wandb":
                where = {key: settings[key] for key in ("project", "entity")}
                print(publish(home, name, page.parent, share=settings["share"] == "true", **where))
        except (ManifestError, RecordError, Unpublished) as error:
            print(error, file=sys.stderr)
            status = 2
    return status


def _diff(paths: list[Path], settings: dict[str, str]) -> int:
    from compare.report.diff import diff

    if len(paths) != 2:
        raise BadRequest(f"--diff: compares two studies, {len(paths)} given; give --diff A B")
    (a, ours), (b, theirs) = (_side(path, settings["name"]) for path in paths)
    pairs = [(name, name) for name in sorted(ours & theirs)]
    if not pairs and len(ours) == len(theirs) == 1:
        pairs = [(*ours, *theirs)]
    if not pairs:
        raise BadRequest(
            f"--diff: no experiment is in both ({', '.join(sorted(ours))}; {', '.join(sorted(theirs))}); "
            "give RUNS/experiments/NAME.json twice"
        )
    for one, two in pairs:
        folder = Path(settings["out"] or "diff") / (one if one == two else f"{one}-{two}")
        print(_progress(one, partial(diff, (a, one), (b, two), folder)))
    return 0


def _side(path: Path, name: str) -> tuple[Path, set[str]]:
    """A store and experiments of it: the one whose manifest the path is, or that of the name, or all."""
    if not path.is_dir():
        return path.parent.parent, {path.stem}
    names = _names(path)
    return path, {name} if name else names


def _progress(name: str, work: Callable[..., Path]) -> Path:
    """Do work that tells its `progress`, shown on one changing line."""
    from rich.console import Console

    with Console(stderr=True).status(f"{name}: reading records") as line:
        return work(progress=lambda text: line.update(f"{name}: {text}"))


if __name__ == "__main__":
    sys.exit(main())
