"""Sweeps on real clusters, where their programs are installed."""

import json
import re
import subprocess
import sys
import time

import pytest

from compare.store import SNAPSHOT
from tests.cluster import slurm
from tests.cluster.engines import ENGINES
from tests.cluster.same import ROOT, differing, ran, run_both

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def skip_if_missing(name: str) -> None:
    reason = ENGINES[name].missing()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_a_cluster_writes_the_records_of_one_process(name: str) -> None:
    skip_if_missing(name)
    found = run_both(ENGINES[name], 2)
    assert found["cells"] == 9
    assert found["differing"] == []
    assert found["processes_that_trained"] == 2


def test_a_preempted_job_saves_and_goes_on(tmp_path) -> None:
    """SIGTERM, time to save, the queue again."""
    skip_if_missing("slurm")
    arguments = ["arm=ebt_s1", "size=8xs", "trainer.problems=8", "trainer.accelerator=cpu", "workers=1"]
    # Never by itself: the one snapshot is the one that the request brought about.
    arguments += ["budget.flops=1e10", "trainer.checkpoint_minutes=1000"]
    one, two = tmp_path / "one", tmp_path / "two"
    with slurm.cluster() as environment:
        sweep = ["-m", *arguments, "worker=0", "hydra/launcher=submitit_slurm", f"runs={two}"]
        command = [sys.executable, "-m", "compare", *sweep]
        process = subprocess.Popen(command, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)})
        deadline = time.monotonic() + 120
        while not list(two.glob("cells/*/log.txt")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)  # some steps
        (folder,) = two.glob("cells/*")
        assert not (folder / SNAPSHOT).exists()
        subprocess.run(
            ["sbatch", "--partition=urgent", f"--ntasks={slurm.CPUS}", "--output=/dev/null", "--wrap=true"],
            env=environment,
            check=True,
        )
        while not (folder / SNAPSHOT).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (folder / SNAPSHOT).exists()
        # Slurm holds a requeued job back for two minutes.
        assert process.wait(300) == 0
    ran([*arguments, f"runs={one}"], environment, one)
    assert int(re.findall(r"goes on at step (\d+)", (folder / "log.txt").read_text())[0]) > 0
    assert differing(one, two) == []
