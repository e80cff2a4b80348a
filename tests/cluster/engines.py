"""The launchers of Hydra that spread a sweep over processes, each with the cluster it speaks to."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from tests.cluster import ray, slurm


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A launcher and its cluster."""

    launcher: tuple[str, ...]
    """Overrides that choose it."""
    plugin: str
    """Package of the launcher, which is also the project's extra's only requirement."""
    packages: tuple[str, ...]
    """What its versions are told of."""
    cluster: Callable[[], AbstractContextManager[dict[str, str]]]
    lacking: Callable[[], str]
    """Why the cluster cannot be started here; empty if it can."""
    daemon: Callable[[], str] = lambda: ""
    """Version of what no Python package brings."""

    def missing(self) -> str:
        """Why it cannot be used here; empty if it can."""
        # Without any launcher the package that holds them is not there either, and asking below it raises.
        if not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{self.plugin.replace('-', '_')}")):
            return f"no {self.plugin}: install the extra of its name"
        return self.lacking()

    def versions(self) -> dict[str, str]:
        """Of everything that took part."""
        found = {name: version(name) for name in ("hydra-core", self.plugin, *self.packages)}
        return found | ({"daemon": self.daemon()} if self.daemon() else {})


@contextlib.contextmanager
def _no_cluster() -> Iterator[dict[str, str]]:
    yield dict(os.environ)


ENGINES = {
    "joblib": Engine(
        launcher=("hydra/launcher=joblib",),
        plugin="hydra-joblib-launcher",
        packages=("joblib",),
        cluster=_no_cluster,
        lacking=str,
    ),
    "slurm": Engine(
        launcher=("hydra/launcher=submitit_slurm",),
        plugin="hydra-submitit-launcher",
        packages=("submitit",),
        cluster=slurm.cluster,
        lacking=slurm.missing,
        daemon=slurm.version,
    ),
    "ray": Engine(
        # The launcher asks for a store of objects of its own, which a cluster that runs already refuses.
        launcher=("hydra/launcher=ray", "+hydra.launcher.ray.init.object_store_memory=null"),
        plugin="hydra-ray-launcher",
        packages=("ray",),
        cluster=ray.cluster,
        lacking=ray.missing,
    ),
}
