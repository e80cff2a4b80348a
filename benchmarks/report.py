"""A report of 500 cells, rebuilt from records in a fresh process: the program a user starts, import and all.

python -m benchmarks.report [cells]; the last line is JSON.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import last_line
from compare.calibrate import builders
from compare.store.manifest import dump
from tests.compare.planted import scaling

BAR = 5.0
"""Seconds that the whole may take."""


def seconds(*arguments: str) -> tuple[float, float]:
    """Wall and processor seconds of a fresh Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    took = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(cells: int = 500) -> None:
    """Plant a study, report on it, tell the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        seeds = -(-cells // len(scaling.plan(seeds=1)))
        planned = scaling.plan(seeds=seeds)
        dump(store, scaling.manifest(planned))
        rng = np.random.default_rng(0)
        for cell in planned:
            builders.write(store, scaling.finished(cell, rng))
        imports = {
            name: round(seconds("-c", f"import {name}")[0], 2)
            for name in ("numpy", "scipy.special", "matplotlib.pyplot", "compare.report.page")
        }
        runs = [seconds("-m", "compare.report", str(store)) for _ in range(3)]
        wall, processor = min(runs)
        size = (store / "reports" / "scaling" / "index.html").stat().st_size
    last_line(
        "report",
        torch.device("cpu"),
        cells=len(planned),
        ratio=round(BAR / wall, 2),
        seconds=round(wall, 2),
        processor_seconds=round(processor, 2),
        import_seconds=imports,
        page_bytes=size,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
