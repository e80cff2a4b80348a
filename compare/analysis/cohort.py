"""Which runs a number is read from: the one answer, for every analysis.

* A comparison is read at the largest rung at which all of its sides were measured with a common seed.
* What is shown of one arm is read at the largest rung at which it was measured; what is shown of a whole
  study, at the largest at which any arm was.
* Runs of one seed are paired: they met the same problems in the same order.
* A rung is a budget where FLOPs are the axis, else the rung's number.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from compare.analysis.findings import Draft
from compare.store.evidence import Run
from compare.store.manifest import Contrast, Manifest

T = TypeVar("T")

Look = Callable[[Run], T | None]
"""What a number needs of a run; None where the run lacks it."""


@dataclass(frozen=True, kw_only=True)
class Matched(Generic[T]):
    """Sides of a comparison at one rung, paired by seed."""

    rung: float
    seeds: tuple[int, ...]
    runs: tuple[tuple[Run, ...], ...]
    """By side, in the order of the seeds."""
    values: tuple[tuple[T, ...], ...]
    """What was looked up, likewise."""
    caveats: tuple[str, ...]
    """Says so where this is not the largest rung of the study."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells of all sides, each once."""
        return tuple(dict.fromkeys(run.planned.cell for side in self.runs for run in side))

    @property
    def pairs(self) -> list[tuple[T, T]]:
        """The first two sides, seed by seed."""
        return list(zip(*self.values[:2], strict=True))


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The finished runs of one study, and what is asked of them."""

    study: str
    arms: tuple[str, ...]
    """Those with a finished run, BASELINE first, then in the plan's order."""
    runs: tuple[Run, ...]
    manifest: Manifest
    draws: int = 2000
    """Bootstrap draws within one run, where a single run is all there is."""

    @cached_property
    def asked(self) -> frozenset[str]:
        """Quantities that a contrast of this study names."""
        return frozenset(c.quantity for c in self.manifest.contrasts if c.study == self.study)

    @property
    def axis(self) -> str:
        """What the runs vary: one of compare/store/manifest.py's AXES."""
        return self.manifest.axis

    @property
    def point(self) -> str:
        """What tells the points of an arm apart."""
        return "budget" if self.axis == "flops" else "rung"

    def of(self, arm: str) -> tuple[Run, ...]:
        """The runs of one arm, by rung and seed."""
        own = (run for run in self.runs if run.planned.arm == arm)
        return tuple(sorted(own, key=lambda run: (run.rung, run.planned.seed)))

    def top(self, *arms: str, look: Look[T] = lambda run: run) -> tuple[Run, ...]:
        """Runs of these arms (of all, if none is named) at the largest rung at which one of them has it.

        By arm and seed; runs of that rung that lack it are left out.
        """
        having = [run for arm in arms or self.arms for run in self.of(arm) if look(run) is not None]
        largest = max((run.rung for run in having), default=0.0)
        return tuple(run for run in having if run.rung == largest)

    def match(self, *sides: tuple[str, Look[T]]) -> Matched[T] | str:
        """Pair the sides, (arm, what is needed of it), at the largest rung where a seed has them all.

        Returns:
            The pairs, or the reason why there are none, in a few words.
        """
        tables: list[dict[tuple[float, int], tuple[Run, T]]] = []
        for arm, look in sides:
            looked = ((run, look(run)) for run in self.of(arm))
            tables.append({(run.rung, run.planned.seed): (run, x) for run, x in looked if x is not None})
        keys = set.intersection(*(set(table) for table in tables))
        if not keys:
            if set.intersection(*({rung for rung, _ in table} for table in tables)):
                return "no seed that both were run with"
            return f"no {self.point} at which all were measured"
        rung = max(rung for rung, _ in keys)
        seeds = tuple(sorted(seed for other, seed in keys if other == rung))
        rows = [[table[rung, seed] for seed in seeds] for table in tables]
        largest, caveats = max(run.rung for run in self.runs), ()
        if rung != largest:
            caveats = (f"at {self.point} {rung:.3g}; the largest, {largest:.3g}, has not all of it",)
        return Matched(
            rung=rung,
            seeds=seeds,
            runs=tuple(tuple(run for run, _ in row) for row in rows),
            values=tuple(tuple(value for _, value in row) for row in rows),
            caveats=caveats,
        )

    def contrast(
        self, arm: str, baseline: str, quantity: str, *, severity: int = 0, axis: str = ""
    ) -> Contrast:
        """A comparison of this study that nobody named beforehand."""
        where = {"study": self.study, "arm": arm, "baseline": baseline, "axis": axis}
        return Contrast(**where, quantity=quantity, margin=0.0, severity=severity)

    def draft(self, contrast: Contrast) -> Draft:
        """A comparison that is not yet measured, its sides named with the effort and severity it chose."""
        return Draft(
            study=self.study,
            arm=_named(contrast.arm, contrast.effort, contrast.severity),
            baseline=_named(contrast.baseline, contrast.baseline_effort, contrast.severity),
            quantity=contrast.quantity,
            axis=contrast.axis,
            point=self.point,
        )


def _named(arm: str, effort: str, severity: int) -> str:
    how = ", ".join([*([effort] if effort else []), *([f"severity {severity}"] if severity else [])])
    return f"{arm} ({how})" if how else arm
