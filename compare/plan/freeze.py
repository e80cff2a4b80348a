"""What an experiment promises before it runs, written where it can be committed."""

from datetime import UTC, datetime
from pathlib import Path

from arena.config import ConfigError
from compare.plan.config import Request
from compare.plan.planned import UNKNOWN, Planned, training_code
from compare.store import prereg
from compare.store.prereg import Freeze


def freeze(request: Request, grid: list[Planned], commit: str) -> Path:
    """Write `<prereg>/<name>.json`, and to the store if there is one; return its path.

    Args:
        commit: with + where the working tree has uncommitted changes.

    Raises:
        ConfigError: no experiment is named, or its seeds are spent and it does not say reuse=true.
        ManifestError: the store holds a manifest or freeze that cannot be read.
    """
    root, experiment = request.root, request.root.experiment
    if experiment is None:
        raise ConfigError("freeze: name an experiment, python -m compare freeze +experiment=NAME")
    store, cells = Path(root.runs), tuple(p.listed for p in grid)
    spent = prereg.spent(store, experiment.name, cells)
    if spent and not root.reuse:
        raise ConfigError(
            f"freeze {experiment.name}: seeds are spent in {store}: {'; '.join(spent)}; take others, "
            "'experiment.seeds=[...]', or say reuse=true, and the report says so, too"
        )
    path = Path(root.prereg) / f"{experiment.name}.json"
    content = Freeze(
        name=experiment.name,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit.removesuffix("+"),
        clean=commit != UNKNOWN and not commit.endswith("+"),
        code=training_code(),
        seeds=tuple(experiment.seeds),
        contrasts=tuple(experiment.contrasts),
        fit_share=float(experiment.fit_share),
        reused=spent,
        cells=cells,
    )
    try:
        prereg.dump(path, content)
    except OSError as error:
        raise ConfigError(f"prereg={root.prereg}: cannot be written ({error.strerror})") from error
    if store.is_dir():
        prereg.keep(path, store)
    return path
