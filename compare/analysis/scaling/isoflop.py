"""Loss against parameters at equal training FLOPs: which size is best for a budget, by a parabola.

log L = a + b u + c u^2 in u = log parameters, least squares over the runs of one arm and budget
(Hoffmann et al. 2022, approach 2), to all runs and to those of each seed; the optimum is -b / 2c.

Shapes: R = 1 + S rows (all runs, then each seed), N runs, G grid points.
"""

from dataclasses import dataclass

import numpy as np

from compare.analysis.scaling.axes import READ
from compare.stats.intervals import Interval
from compare.stats.least_squares import Array
from compare.stats.power_law import Runs, exp_by_seed, gather, of_all_and_each_seed
from compare.store.evidence import Run

SIZES_NEEDED = 4
"""A parabola goes through any three."""


@dataclass(frozen=True, kw_only=True)
class Parabola:
    """The parabola of one arm at one budget."""

    arm: str
    budget: float
    runs: Runs
    """Loss by parameters instead of compute."""
    centre: float
    """log parameters at u = 0."""
    coefficients_R3: Array
    """c, b, a, highest power first."""
    optimum: Interval | None
    """Parameters with the lowest loss, over the seeds; None where the curve of all runs or a seed's has no
    minimum."""
    caveats: tuple[str, ...]

    def loss(self, parameters_G: Array) -> Array:
        """Fitted loss (G,)."""
        return np.exp(np.polyval(self.coefficients_R3[0], np.log(parameters_G) - self.centre))


def parabolas(runs: tuple[Run, ...]) -> tuple[tuple[Parabola, ...], list[str]]:
    """The parabola of every arm and budget, and a note on each that has too few sizes for one."""
    groups: dict[tuple[str, float], list[tuple[str, float, float, float, int]]] = {}
    for run in runs:
        loss, parameters, arm = run.find("loss"), READ["isoflop"].value(run), run.planned.arm
        if loss is not None and loss.value > 0 and parameters:
            point = (arm, run.rung, parameters, loss.value, run.planned.seed)
            groups.setdefault((arm, run.planned.budget), []).append(point)
    fitted, notes = [], []
    for (arm, budget), points in groups.items():
        pooled = gather(points)
        if (sizes := pooled.budgets(arm)) < SIZES_NEEDED:
            notes.append(f"{arm} at {budget:.3g} FLOPs: {sizes} sizes, a parabola needs {SIZES_NEEDED}")
        else:
            fitted.append(_parabola(arm, budget, pooled))
    return tuple(fitted), notes


def _parabola(arm: str, budget: float, runs: Runs) -> Parabola:
    centre = float(np.log(runs.compute_N).mean())

    def fit(mine: Runs) -> Array:
        if mine.budgets(arm) < SIZES_NEEDED:
            return np.full(3, np.nan)
        return np.polyfit(np.log(mine.compute_N) - centre, np.log(mine.value_N), 2)

    coefficients_R3 = of_all_and_each_seed(runs, fit)
    curve_R, slope_R = coefficients_R3[:, 0], coefficients_R3[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        best_R = np.where(curve_R > 0, centre - slope_R / (2 * curve_R), np.nan)
    known_R, sizes = np.isfinite(curve_R), np.unique(np.log(runs.compute_N))
    lost = int((known_R & ~np.isfinite(best_R))[1:].sum())
    minimum = bool(curve_R[0] > 0)
    inside = minimum and sizes[0] <= best_R[0] <= sizes[-1]
    caveats = {
        "beyond the measured range": minimum and not inside,
        "at the edge of the measured range": inside and not sizes[1] <= best_R[0] <= sizes[-2],
        f"{lost} of {known_R[1:].sum()} seeds have no minimum": minimum and lost > 0,
        "no minimum: the best size lies beyond the measured range": not minimum,
        "single runs, no interval": known_R[1:].sum() < 2,
    }
    return Parabola(
        arm=arm,
        budget=budget,
        runs=runs,
        centre=centre,
        coefficients_R3=coefficients_R3,
        optimum=exp_by_seed(best_R) if minimum and not lost else None,
        caveats=tuple(caveat for caveat, holds in caveats.items() if holds),
    )
