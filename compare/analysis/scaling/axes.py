"""What a scaling study varies and reads loss against: training FLOPs, or one of the paper's other axes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from compare.store.evidence import Run


@dataclass(frozen=True, kw_only=True)
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
            found = self.read(run)
        except (KeyError, TypeError):
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or found <= 0:
            return None
        return float(found)


READ = {
    "flops": Axis(label="training FLOPs, counted", short="FLOPs", read=lambda run: run.record.flops),
    "data": Axis(
        label="training problems (windows, for text)", short="problems", read=lambda run: run.record.problems
    ),
    "batch": Axis(
        label="problems a training step", short="batch", read=lambda run: run.record.config["task"]["batch"]
    ),
    "depth": Axis(
        label="layers of the backbone", short="layers", read=lambda run: run.record.config["size"]["layers"]
    ),
    "width": Axis(
        label="width of the backbone", short="width", read=lambda run: run.record.config["size"]["width"]
    ),
    "parameters": Axis(
        label="parameters without vocabulary maps",
        short="parameters",
        read=lambda run: run.record.parameters["non_embedding"],
    ),
}
"""`isoflop` is read against parameters, budget by budget (compare/analysis/scaling/isoflop.py)."""
READ["isoflop"] = READ["parameters"]
