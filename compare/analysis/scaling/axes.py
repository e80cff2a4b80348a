"""What a scaling study varies and reads loss against: training FLOPs, or one of the paper's other axes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compare.store.evidence import Run


@dataclass(frozen=True)
class Axis:
    """One axis of compare/store/manifest.py's AXES."""

    label: str
    """As figures name it, with its unit."""
    short: str
    """As tables and captions name it."""
    read: Callable[[Run], Any]
    """The axis' value in a run's record."""

    def value(self, run: Run) -> float | None:
        """Where a run lies on the axis; None if its record does not say."""
        try:
            value = self.read(run)
        except (KeyError, TypeError):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            return None
        return float(value)


PARAMETERS = Axis(
    "parameters without vocabulary maps", "parameters", lambda run: run.record.parameters["non_embedding"]
)
READ = {
    "flops": Axis("training FLOPs, counted", "FLOPs", lambda run: run.record.flops),
    "data": Axis("training problems (windows, for text)", "problems", lambda run: run.record.problems),
    "batch": Axis("problems per training step", "batch", lambda run: run.record.config["task"]["batch"]),
    "depth": Axis("layers of the backbone", "layers", lambda run: run.record.config["size"]["layers"]),
    "width": Axis("width of the backbone", "width", lambda run: run.record.config["size"]["width"]),
    "parameters": PARAMETERS,
    "isoflop": PARAMETERS,
}
"""`isoflop` is read against parameters, budget by budget (compare/analysis/scaling/isoflop.py)."""
