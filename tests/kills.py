"""`python -m tests.kills [KILLS] [CELLS]`: kill workers at random until a study is done; is it the same?

Two workers share a store. Again and again one is killed, by SIGKILL or now and then by SIGTERM, and replaced.
Cells write a snapshot after every step, so that many kills fall into writing one. The records must equal
those of a run that nobody disturbed. Prints one JSON object; exit status 1 if a record differs, or if the
study was done before the last kill.
"""

import contextlib
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from arena.config import Addition, Budget, Cell, Size, TrainerConfig
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import pool, stop
from compare.store.claims import Store
from ebt.config import EBTArm
from rl_baseline.config import RLArm, TransformerArm
from tests import fresh
from tests.compare.planted.cells import alone

ARMS: tuple[Any, ...] = (
    TransformerArm(name="transformer"),
    EBTArm(name="ebt_s2", loss="every", extra_steps=1, langevin=0.1, replay=16),
    RLArm(name="rl_adaptive", entropy="adaptive", entropy_target=None, prompts=4, group=4),
    EBTArm(name="ebt_gated", start="head", gate="entropy", gate_share=0.5),
)
SIZE = Size(name="8xs", layers=1, heads=2, width=32, lr=4e-3)
NO_LOG = Logger(name="none")


def study(cells: int, flops: float) -> list[Planned]:
    """Small cells, one arm after the other."""
    planned = []
    for i in range(cells):
        cell = Cell(
            arm=ARMS[i % len(ARMS)],
            task=Addition(name="addition", min_digits=2, max_digits=2, batch=16),
            size=SIZE,
            budget=Budget(flops=flops),
            trainer=TrainerConfig(accelerator="cpu", problems=16, checkpoint_minutes=0.0),
            seed=i // len(ARMS),
        )
        planned.append(alone(cell))
    return planned


def begun(body: Callable[..., object], *arguments: object) -> BaseProcess:
    """`body(*arguments)` in a process of its own, which has imported everything already."""
    process = fresh.SERVER.Process(target=_listening, args=(body, *arguments))
    process.start()
    return process


def _listening(body: Callable[..., object], *arguments: object) -> None:
    torch.set_num_threads(1)
    stop.listen()
    with contextlib.suppress(stop.Stopped):
        body(*arguments)


def work(plan: list[Planned], root: Path) -> None:
    """Body of a worker: run what is not done and not claimed, until all is done."""
    store = Store(root)
    while left := [p for p in plan if store.record(p.identity) is None]:
        for planned in left:
            stop.leave_if_asked()
            pool._claim_and_run(planned, store, "c", NO_LOG, None, lambda what: None)
        time.sleep(0.01)


def disturbed(plan: list[Planned], root: Path, kills: int, seed: int, pause: float) -> int:
    """Run a plan while its workers are killed at random; how many were. Raises if a worker fails."""
    draw, killed = random.Random(seed), 0
    workers = [begun(work, plan, root) for _ in range(2)]
    while workers:
        time.sleep(draw.uniform(0, 2 * pause))
        workers = [worker for worker in workers if worker.is_alive()]
        if not workers or killed >= kills:
            continue
        victim = draw.choice(workers)
        victim.terminate() if draw.random() < 0.2 else victim.kill()
        victim.join()
        killed += 1
        workers[workers.index(victim)] = begun(work, plan, root)
    return killed


def differing(plan: list[Planned], one: Path, two: Path) -> list[str]:
    """Cells whose records differ in more than wall time."""
    found = []
    for planned in plan:
        records = [Store(root).record(planned.identity) for root in (one, two)]
        mine, theirs = (r and dataclasses.replace(r, seconds={}, environment={}) for r in records)
        if mine is None or mine.status != "done" or mine != theirs:
            found.append(planned.identity)
    return found


def main(kills: int, cells: int, *, flops: float = 1e9, pause: float = 0.1, seed: int = 0) -> dict[str, Any]:
    """Run a study twice, undisturbed and with kills; what came of it."""
    plan = study(cells, flops)
    with tempfile.TemporaryDirectory() as folder:
        whole, torn = Path(folder, "whole"), Path(folder, "killed")
        for root in (whole, torn):
            Store(root).prepare()
        start = time.monotonic()
        begun(work, plan, whole).join()
        between = time.monotonic()
        killed = disturbed(plan, torn, kills, seed, pause)
        logs = [(torn / "cells" / p.identity / "log.txt").read_text() for p in plan]
        litter = [str(p) for p in torn.rglob("*") if p.name.startswith((".", "resume", "claim"))]
        return {
            "name": "kills",
            "cells": cells,
            "kills": killed,
            "resumed": sum(log.count("goes on at step") for log in logs),
            "damaged_snapshots": sum(log.count("resume.ckpt is") for log in logs),
            "differing": differing(plan, whole, torn),
            "left_over": litter,
            "seconds_undisturbed": round(between - start, 1),
            "seconds_killed": round(time.monotonic() - between, 1),
        }


if __name__ == "__main__":
    numbers = [int(x) for x in sys.argv[1:]] or [200, 40]
    result = main(*numbers)
    print(json.dumps(result))
    sys.exit(bool(result["differing"] or result["left_over"] or result["kills"] < numbers[0]))
