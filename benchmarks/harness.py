"""What the harness costs: a cell's time beside its work, a plan of 10,000 cells, a look at 10,000 records.

    python -m benchmarks.harness [cells] [flops]

`share`: of a cell's wall time, from claim to record, what is neither training nor evaluation; the worst of
three arms. `share_between_steps`: what training itself spends outside its steps, on batches, Lightning's loop
and snapshots, of which there are twenty times as many as by default. A worker's imports are paid once, not by
each cell; they are apart. Timings are wall time, and processor time where another process may be in the way.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.strategies import Strategy
from omegaconf import OmegaConf
from rich.console import Console

from benchmarks.common import last_line
from compare.folders import conf_folder
from compare.plan.cells import expand
from compare.plan.config import Logger, Request, Root, register
from compare.plan.planned import Planned
from compare.run import pool, status
from compare.store import manifest
from compare.store.claims import Store
from compare.store.record import Record, dump

ARMS = ("transformer", "ebt_s1", "rl_grpo")
SETTINGS = ("task=addition", "size=6xs", "trainer.checkpoint_minutes=0.15")
GRID = "scaling"
BAR = 0.05
"""Share of a cell's time that the harness may take; `ratio` is this over the measured one."""


def plan(*overrides: str) -> list[Planned]:
    """What a command line with these overrides asks for."""
    root = OmegaConf.to_object(compose("config", overrides=list(overrides)))
    assert isinstance(root, Root)
    return expand(Request(root=root, overrides=overrides))


def costs(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a call returns, and its seconds: by the clock and of this process."""
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return found, {name: round(value, 3) for name, value in seconds.items()}


def cell_costs(planned: Planned, store: Store) -> dict[str, float]:
    """Run a cell as a worker does; its wall time, and the shares outside of its work."""
    inside = [0.0]
    step = Strategy.training_step

    def timed(self: Strategy, *arguments: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return step(self, *arguments, **named)
        finally:
            inside[0] += time.perf_counter() - begun

    Strategy.training_step = timed
    try:
        begun = time.perf_counter()
        outcome = pool._claim_and_run(
            planned, store, "benchmark", Logger(name="none"), None, lambda what: None
        )
        wall = time.perf_counter() - begun
    finally:
        Strategy.training_step = step
    if outcome.status != "done":
        raise RuntimeError(f"{planned.cell.arm.name}: {outcome.status}, {outcome.reason}")
    record = store.record(planned.identity)
    assert record is not None
    train, evaluate = record.seconds["train"], record.seconds["evaluate"]
    return {
        "seconds": wall,
        "share": (wall - train - evaluate) / wall,
        "share_between_steps": (train - inside[0]) / wall,
    }


def main(cells: int = 10_000, flops: float = 3e10) -> None:
    """Measure, print a line each, and the JSON."""
    console = Console()
    torch.set_num_threads(1)
    register()
    with (
        initialize_config_dir(str(conf_folder()), version_base="1.3"),
        tempfile.TemporaryDirectory() as folder,
    ):
        store = Store(Path(folder, "cells"))
        store.prepare()
        # What a worker pays once: imports, the first pass through torch.
        (first,) = plan(*SETTINGS, "arm=transformer", f"budget.flops={flops / 10}")
        cell_costs(first, store)
        by_arm: dict[str, dict[str, float]] = {}
        for arm in ARMS:
            (planned,) = plan(*SETTINGS, f"arm={arm}", f"budget.flops={flops}")
            by_arm[arm] = {k: round(v, 4) for k, v in cell_costs(planned, store).items()}
            console.print(f"{arm}: {by_arm[arm]}")
        one = len(plan(f"+experiment={GRID}", "experiment.seeds=[0]"))
        seeds = f"experiment.seeds={list(range(-(-cells // one)))}".replace(" ", "")
        grid, planning = costs(lambda: plan(f"+experiment={GRID}", seeds))
        console.print(f"a plan of {len(grid)} cells: {planning}")
        many = Path(folder, "many")
        record = store.record(first.identity)
        assert record is not None
        fill(many, grid[:cells], record)
        state, looking = costs(lambda: status.look(many))
        assert len(state.ended) == cells
        console.print(f"a look at {len(state.ended)} records: {looking}")
    share = max(found["share"] for found in by_arm.values())
    last_line(
        "harness",
        torch.device("cpu"),
        ratio=round(BAR / share, 2),
        share=share,
        share_between_steps=max(found["share_between_steps"] for found in by_arm.values()),
        arms=by_arm,
        cells=len(grid),
        seconds_planning=planning,
        records=len(state.ended),
        seconds_status=looking,
    )


def fill(root: Path, grid: list[Planned], record: Record) -> None:
    """A store with a record for every cell of a grid: copies of a real one, under other names."""
    Store(root).prepare()
    text = dump(dataclasses.replace(record, cell="NAME"))
    for planned in grid:
        path = root / "cells" / planned.identity / "record.json"
        path.parent.mkdir()
        path.write_text(text.replace("NAME", planned.identity, 1))
    cells = tuple(p.listed for p in grid)
    content = manifest.Manifest(
        name=GRID, title="t", question="q", command="c", commit="c", contrasts=(), cells=cells
    )
    manifest.dump(root, content)


if __name__ == "__main__":
    main(*(int(float(x)) for x in sys.argv[1:3]))
