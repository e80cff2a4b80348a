"""Sweeps on real clusters, where their programs are installed."""

import re
import subprocess
import sys
import time

import pytest

from compare.store.claims import SNAPSHOT
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
    arguments += ["budget.flops=1e10", "trainer.checkpoint_minutes=0.02"]
    one, two = tmp_path / "one", tmp_path / "two"
    with slurm.cluster() as environment:
        sweep = ["-m", *arguments, "worker=0", "hydra/launcher=submitit_slurm", f"runs={two}"]
        command = [sys.executable, "-m", "compare", *sweep]
        process = subprocess.Popen(command, cwd=ROOT, env={**environment, "PYTHONPATH": str(ROOT)})
        deadline = time.monotonic() + 120
        while not list(two.glob(f"cells/*/{SNAPSHOT}")) and time.monotonic() < deadline:
            time.sleep(0.1)
        (folder,) = two.glob("cells/*")
        subprocess.run(
            ["sbatch", "--partition=urgent", f"--ntasks={slurm.CPUS}", "--output=/dev/null", "--wrap=true"],
            env=environment,
            check=True,
        )
        while (folder / "claim.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        # Left by its own will: who is killed leaves its claim behind. A requeued job waits before it starts.
        assert not (folder / "claim.json").exists()
        assert (folder / SNAPSHOT).exists()
        assert process.wait(300) == 0
    ran([*arguments, f"runs={one}"], environment, one)
    assert int(re.findall(r"goes on at step (\d+)", (folder / "log.txt").read_text())[0]) > 0
    assert differing(one, two) == []
