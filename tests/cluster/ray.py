"""A Ray cluster on this machine, for as long as a block runs: a head and one more node."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tests.cluster.slurm import free_ports

CPUS = 4
"""Cores that each of the two nodes claims to have: eight jobs at once, whatever the machine has."""
PROGRAM = Path(sys.executable).with_name("ray")


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    return "" if find_spec("ray") and PROGRAM.exists() else "no ray: pip install -e '.[ray]'"


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start a cluster, yield an environment in which Ray finds it, tear it down.

    Raises:
        RuntimeError: it did not come up; with the end of its logs.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: Ray keeps sockets in it
    port, objects = free_ports(1)[0], 2**27
    address = f"127.0.0.1:{port}"
    # Who may speak to a Ray cluster may run any code on it: only who has the token may.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, "RAY_ADDRESS": address, "RAY_USAGE_STATS_ENABLED": "0", **token}
    common = ["--block", f"--num-cpus={CPUS}", f"--object-store-memory={objects}"]
    roles = {
        "head": ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}/head"],
        "node": [f"--address={address}"],
    }
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for count, (name, arguments) in enumerate(roles.items(), start=1):
            log = (folder / f"{name}.out").open("wb")
            command = [str(PROGRAM), "start", *arguments, *common]
            nodes.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            )
            _wait_for(count, folder, environment)
        yield environment
    finally:
        for process in reversed(nodes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(nodes: int, folder: Path, environment: dict[str, str]) -> None:
    """Until so many nodes are alive."""
    asked = "import ray; ray.init(log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    for _ in range(10):
        found = subprocess.run(
            [sys.executable, "-c", asked], env=environment, capture_output=True, text=True, timeout=120
        )
        if found.returncode == 0 and int(found.stdout.split()[-1]) >= nodes:
            return
        time.sleep(1)
    logs = "\n".join(path.read_text()[-800:] for path in folder.glob("*.out"))
    raise RuntimeError(f"fewer than {nodes} nodes came up:\n{logs}\n{found.stderr[-800:]}")
