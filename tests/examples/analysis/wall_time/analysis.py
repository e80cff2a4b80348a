"""Seconds of training at equal counted FLOPs: a comparison, a figure and a table."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from compare.analysis.base import Analysis, LookOf
from compare.analysis.blocks import Block, Figures, Mark, table
from compare.analysis.cohort import Cohort
from compare.analysis.drawing import draw_figure
from compare.analysis.findings import Draft, Finding
from compare.analysis.quantity import BASELINE
from compare.analysis.text import interval_text
from compare.stats.intervals import Estimate, over_seeds
from compare.store.evidence import Run
from compare.store.manifest import Contrast

Measured = dict[str, tuple[Estimate, tuple[str, ...]]]
"""Arm -> seconds of training over seeds, and the cells that they come from."""


def seconds(run: Run) -> float | None:
    """Seconds of training, if the record tells them."""
    return run.record.seconds.get("train")


class WallTime(Analysis[Measured]):
    """Wall time decides nothing; it says what a counted FLOP costs."""

    title, anchor = "Wall time", "wall"
    nothing = "No finished run of this study tells its wall time."

    def measure(self, cohort: Cohort) -> Measured:
        tops = {arm: cohort.top(arm, look=seconds) for arm in cohort.arms}
        return {
            arm: (
                over_seeds(np.array([run.record.seconds["train"] for run in runs])),
                tuple(run.planned.cell for run in runs),
            )
            for arm, runs in tops.items()
            if runs
        }

    def compare(self, cohort: Cohort, measured: Measured | None, contrast: Contrast) -> Draft:
        blank = cohort.draft(contrast)
        matched = cohort.match((contrast.arm, seconds), (contrast.baseline, seconds))
        if isinstance(matched, str):
            return replace(blank, caveats=(matched,))
        logs_S = np.log([mine / theirs for mine, theirs in matched.pairs])
        return replace(blank, estimate=over_seeds(logs_S), caveats=matched.caveats, records=matched.cells)

    def explore(self, cohort: Cohort, measured: Measured | None) -> list[Contrast]:
        others = [arm for arm in cohort.arms if arm != BASELINE and BASELINE in cohort.arms]
        return [cohort.contrast(arm, BASELINE, "wall_time") for arm in others]

    def part(
        self, cohort: Cohort, measured: Measured, findings: Sequence[Finding], look: LookOf
    ) -> list[Block]:
        def draw(ax: Axes) -> None:
            for row, (arm, (estimate, _)) in enumerate(measured.items()):
                colour, marker = look[arm]
                ax.plot(estimate.value, row, marker, color=colour, label=arm)
            ax.set_xlabel("seconds of training")

        cells = tuple(cell for _, own in measured.values() for cell in own)
        words = "; ".join(f"{arm} {estimate.value:.3g} s" for arm, (estimate, _) in measured.items())
        title = f"{cohort.study}: seconds at the largest {cohort.point}"
        figure = draw_figure(f"{cohort.study}-wall", title, "Means over seeds.", draw, words, cells)
        rows = [
            {"arm": Mark(arm, own), "seconds": interval_text(estimate, 1)}
            for arm, (estimate, own) in measured.items()
        ]
        return [Figures(figures=(figure,)), *table(f"Wall time of {cohort.study}", rows)]


ANALYSIS = WallTime()
