"""Loss against parameters at equal training FLOPs: which size is best for a budget, by a parabola.

log L = a + b u + c u^2 in u = log parameters, least squares over the runs of one arm and budget
(Hoffmann et al. 2022, approach 2), with the bootstrap of compare/stats/power_law.py; the optimum is -b / 2c.

Shapes: R = 1 + B rows, N runs, G grid points.
"""

from dataclasses import dataclass

import numpy as np

from compare.analysis.scaling.axes import READ
from compare.stats.intervals import Interval, exp_interval
from compare.stats.least_squares import Array
from compare.stats.power_law import Runs, bootstrap_rows, gather
from compare.store.evidence import Run

SIZES_NEEDED = 4
"""A parabola goes through any three."""

LIMIT = 700.0
"""log parameters of an optimum at no finite size."""


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
    """Parameters with the lowest loss; None where the curve has no minimum. An interval without end: some
    draws have none."""
    caveats: tuple[str, ...]

    def loss(self, parameters_G: Array) -> Array:
        """Fitted loss (G,)."""
        return np.exp(np.polyval(self.coefficients_R3[0], np.log(parameters_G) - self.centre))


def parabolas(
    runs: tuple[Run, ...], draws: int, rng: np.random.Generator
) -> tuple[tuple[Parabola, ...], list[str]]:
    """The parabola of every arm and budget, and a note on each that has too few sizes for one."""
    groups: dict[tuple[str, float], list[tuple[str, float, float, float]]] = {}
    for run in runs:
        loss, parameters, arm = run.find("loss"), READ["isoflop"].value(run), run.planned.arm
        if loss is not None and loss.value > 0 and parameters:
            point = (arm, run.rung, parameters, loss.value)
            groups.setdefault((arm, run.planned.budget), []).append(point)
    fitted, notes = [], []
    for (arm, budget), points in groups.items():
        pooled = gather(points)
        if (sizes := pooled.budgets(arm)) < SIZES_NEEDED:
            notes.append(f"{arm} at {budget:.3g} FLOPs: {sizes} sizes, a parabola needs {SIZES_NEEDED}")
        else:
            fitted.append(_parabola(arm, budget, pooled, draws, rng))
    return tuple(fitted), notes


def _parabola(arm: str, budget: float, runs: Runs, draws: int, rng: np.random.Generator) -> Parabola:
    y_RN = bootstrap_rows(runs, np.log(runs.value_N), draws, rng)
    x_N = np.log(runs.compute_N)
    centre = float(x_N.mean())
    design_N3 = np.vander(x_N - centre, 3)
    inverse_3N = np.linalg.pinv(design_N3)
    coefficients = y_RN @ inverse_3N.T
    curve, slope = coefficients[:, 0], coefficients[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        # A parabola that opens downwards has its lowest loss at an end, the one it slopes to.
        best_R = np.where(curve > 0, centre - slope / (2 * curve), np.where(slope < 0, np.inf, -np.inf))
    sizes, minimum, optimum = np.unique(x_N), curve[0] > 0, None
    if minimum:
        # What the optimum moves by with each run: d(-b / 2c) = -db / 2c + b dc / 2c^2.
        influence = -inverse_3N[1] / (2 * curve[0]) + slope[0] * inverse_3N[0] / (2 * curve[0] ** 2)
        optimum = exp_interval(np.clip(best_R, -LIMIT, LIMIT), runs.effective_degrees(influence))
    inside, lost = sizes[0] <= best_R[0] <= sizes[-1], 1 - np.isfinite(best_R[1:]).mean()
    caveats = {
        "beyond the measured range": minimum and not inside,
        "at the edge of the measured range": minimum and inside and not sizes[1] <= best_R[0] <= sizes[-2],
        f"{lost:.0%} of the bootstrap draws have no minimum": minimum and lost > 0,
        "no minimum: the best size lies beyond the measured range": not minimum,
        "single runs, no interval": runs.degrees(arm) < 1,
    }
    return Parabola(
        arm=arm,
        budget=budget,
        runs=runs,
        centre=centre,
        coefficients_R3=coefficients,
        optimum=optimum,
        caveats=tuple(caveat for caveat, holds in caveats.items() if holds),
    )
