"""What a scaling study varies and reads loss against: training FLOPs, or one of the paper's other axes."""

from collections.abc import Callable
from dataclasses import dataclass

from compare.store.evidence import Run


@dataclass(frozen=True)
class Axis:
    """One axis of compare/store/manifest.py's AXES."""

    label: str
    """As figures name it, with its unit."""
    short: str
    """As tables and captions name it."""
    value: Callable[[Run], float | None]
    """Where a run lies on the axis; nothing, or 0, if its record does not say."""


def _setting(part: str, name: str) -> Callable[[Run], float | None]:
    return lambda run: run.record.config.get(part, {}).get(name)


PARAMETERS = Axis(
    "parameters without vocabulary maps", "parameters", lambda run: run.record.parameters.get("non_embedding")
)
READ = {
    "flops": Axis("training FLOPs, counted", "FLOPs", lambda run: run.record.flops),
    "data": Axis("training problems (windows, for text)", "problems", lambda run: run.record.problems),
    "batch": Axis("problems per training step", "batch", _setting("task", "batch")),
    "depth": Axis("layers of the backbone", "layers", _setting("size", "layers")),
    "width": Axis("width of the backbone", "width", _setting("size", "width")),
    "parameters": PARAMETERS,
    "isoflop": PARAMETERS,
}
"""`isoflop` is read against parameters, budget by budget (compare/analysis/scaling/isoflop.py)."""
