"""A Slurm cluster on this machine, for as long as a block runs: munge, a controller, one node."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "squeue", "scancel", "scontrol")
CPUS = 8
"""Cores that the node claims to have: eight single-core jobs at once, whatever the machine has."""
SAVE_SECONDS = 30
"""What a job has left to save when its node is wanted for another (Slurm's own default)."""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    if os.geteuid():
        return "slurmd starts jobs for other users, which only root may"
    absent = [name for name in PROGRAMS if _program(name) is None]
    return f"no {', '.join(absent)}: apt-get install munge slurmctld slurmd" if absent else ""


def version() -> str:
    """As slurmctld tells it."""
    command = [str(_program("slurmctld")), "-V"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start a cluster, yield the environment in which Slurm's commands speak to it, tear it down.

    Two partitions share the node: `main`, and `urgent`, whose jobs preempt (and requeue) those of `main`.

    Raises:
        RuntimeError: a daemon did not come up; with the end of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # munge refuses a socket that others cannot reach
    daemons: list[tuple[str, subprocess.Popen[bytes]]] = []
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(name: str, *arguments: str) -> None:
        log = (folder / f"{name}.out").open("wb")
        command = [str(_program(name)), *arguments]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        daemons.append((name, process))

    def wait_for(what: str, seconds: float, *command: str) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            dead = [name for name, process in daemons if process.poll() is not None]
            found = subprocess.run(command, env=environment, capture_output=True, text=True)
            if dead or (found.returncode == 0 and what in found.stdout):
                break
            time.sleep(0.2)
        else:
            dead = [name for name, _ in daemons]
        if dead:
            logs = "\n".join((folder / f"{name}.out").read_text()[-800:] for name in dead)
            raise RuntimeError(f"{', '.join(dead)} did not come up:\n{logs}")

    try:
        munge = folder / "munge"
        munge.mkdir()
        key, socket_path = munge / "key", munge / "socket"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {"pid": "pid-file", "seed": "seed-file", "log": "log-file"}
        paths = [f"--{option}={munge / name}" for name, option in files.items()]
        start("munged", "--foreground", f"--key-file={key}", f"--socket={socket_path}", *paths)
        deadline = time.monotonic() + 20
        while not socket_path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        (folder / "slurm.conf").write_text(_configuration(folder, socket_path))
        for name in ("state", "spool"):
            (folder / name).mkdir()
        start("slurmctld", "-D", "-i")
        wait_for("UP", 30, "scontrol", "ping")
        start("slurmd", "-D")
        wait_for("idle", 60, "sinfo", "--noheader", "--format=%T")
        yield environment
    finally:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            mine = ["scancel", "--full", "--user=root"]
            subprocess.run(mine, env=environment, capture_output=True, timeout=10)
        for _, process in reversed(daemons):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(folder: Path, munge: Path) -> str:
    """slurm.conf of a cluster without systemd, control groups, accounting or other machines."""
    node, controller_port, node_port = socket.gethostname(), *free_ports(2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    settings = {
        "ClusterName": "here",
        "SlurmctldHost": f"{node}(127.0.0.1)",
        "SlurmctldPort": controller_port,
        "SlurmdPort": node_port,
        "SlurmUser": "root",
        "SlurmdUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={munge},cred_expire=20",  # also how long a requeued job waits
        "CredType": "cred/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SlurmdParameters": "config_overrides",  # the node may claim more cores than it has
        "SchedulerParameters": "sched_interval=2,bf_interval=2",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "KillWait": SAVE_SECONDS,
        "MinJobAge": 300,
        "ReturnToService": 2,
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    lines += [
        f"NodeName={node} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={memory} State=UNKNOWN",
        f"PartitionName=main Nodes={node} Default=YES PriorityTier=1 State=UP",
        f"PartitionName=urgent Nodes={node} PriorityTier=2 PreemptMode=off State=UP",
    ]
    return "\n".join(lines) + "\n"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _program(name: str) -> str | None:
    """Where a program lies; daemons are in folders that are not on everybody's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
