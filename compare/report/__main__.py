"""`python -m compare.report RUNS [name]`: rebuild reports from the records of a store."""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Build the reports; returns the exit status (2 for a path or name that cannot be used)."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.report",
        description="Rebuild the report of every experiment in a store (or of one) from its records alone. "
        "The last line printed is the path of the last report.",
    )
    parser.add_argument(
        "runs", type=Path, metavar="RUNS", help="the store: a folder with cells/ and experiments/"
    )
    parser.add_argument("name", nargs="?", help="one experiment; without it, all of them")
    options = parser.parse_args(arguments)
    # Only now: `--help` should not wait for numpy and matplotlib.
    from compare import manifest

    if not options.runs.is_dir():
        print(f"RUNS={options.runs}: no such folder; give the store that a run wrote", file=sys.stderr)
        return 2
    names = (options.name,) if options.name else manifest.names(options.runs)
    if not names:
        print(f"RUNS={options.runs}: no experiments/*.json in it; give the store itself", file=sys.stderr)
        return 2
    return _build_all(options.runs, names)


def _build_all(store: Path, names: tuple[str, ...]) -> int:
    from rich.console import Console

    from compare.manifest import ManifestError
    from compare.report import build

    status = 0
    console = Console(stderr=True)
    for name in names:
        try:
            with console.status(f"{name}: reading records") as line:
                page = build(
                    store, name, progress=lambda text, name=name, line=line: line.update(f"{name}: {text}")
                )
        except ManifestError as error:
            print(error, file=sys.stderr)
            status = 2
            continue
        print(page)
    return status


if __name__ == "__main__":
    sys.exit(main())
