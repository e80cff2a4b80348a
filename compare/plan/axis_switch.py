"""`axis=` on the command line: `+experiment=scaling axis=depth` is `+experiment=scaling_depth`.

Each axis of scaling has a plan in a file of its own, beside that of the experiment and named after both. The
switch only picks the file, before Hydra composes: cells, manifest and report are those of the file.
"""

from pathlib import Path

from arena.config import ConfigError
from compare.store.manifest import AXES

PLAIN = "flops"
"""The axis of an experiment's own file; the default."""


def switched(arguments: list[str], conf: Path) -> list[str]:
    """The command line with `axis=` worked into `+experiment=`; without one, as it came.

    Both may list several values, separated by commas, as a Hydra sweep takes them.

    Args:
        conf: folder of the YAML files.

    Raises:
        ConfigError: no experiment is given, or one without plans by axis, or without one for this axis.
    """
    axes = {word: _value(word) for word in arguments if _key(word) == "axis"}
    if not axes:
        return arguments
    given = next((word for word in arguments if _key(word) == "experiment"), None)
    known = _experiments(conf)
    if given is None:
        raise ConfigError(f"{next(iter(axes))}: goes with {_with_plans(known)}")
    names: list[str] = []
    for name in _value(given).split(","):
        if name not in known:
            names.append(name)  # Hydra says which experiments there are
            continue
        plans = _plans(name, known)
        for word, value in axes.items():
            if len(plans) == 1:
                raise ConfigError(f"{word}: {name} has no plans by axis; it goes with {_with_plans(known)}")
            for axis in value.split(","):
                if axis not in plans:
                    choices = ", ".join(plans)
                    raise ConfigError(f"{word}: {name} has no plan for axis {axis}; choose one of {choices}")
                names.append(plans[axis])
    experiment = f"{given.partition('=')[0]}={','.join(names)}"
    return [experiment if word == given else word for word in arguments if word not in axes]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+") if "=" in word else ""


def _value(word: str) -> str:
    return word.partition("=")[2]


def _experiments(conf: Path) -> set[str]:
    return {path.stem for path in (conf / "experiment").glob("*.yaml")}


def _plans(name: str, known: set[str]) -> dict[str, str]:
    """Experiments by axis, those of `name`; its own file first."""
    return {PLAIN: name} | {axis: f"{name}_{axis}" for axis in AXES if f"{name}_{axis}" in known}


def _with_plans(known: set[str]) -> str:
    plans = {name: _plans(name, known) for name in sorted(known)}
    return "; ".join(
        f"+experiment={name} (axis one of {', '.join(found)})"
        for name, found in plans.items()
        if len(found) > 1
    )
