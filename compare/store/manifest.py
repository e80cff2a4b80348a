"""The manifest of an experiment: which cells it planned and which contrasts it named before running.

It lies beside the records, `<store>/experiments/<name>.json`, so that a report can be rebuilt from
the store alone and so that a planned cell that never ran is seen to be missing.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from compare.store import strict
from compare.store.files import write_atomically

VERSION = 1
PLAIN = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Names that may be those of files and folders."""

ONE_BY_ONE = "cells"
"""Name of the manifest of cells that no experiment planned: all that the store holds."""

HAND_SET = "its own file's"
"""What a search has chosen, in words, where nothing that it tried was better; or there was no search."""

CEILING_QUANTITIES = ("entropy_held", "ceiling", "final_reward", "above_ceiling", "forecast_error")
"""What a contrast can compare of reward and entropy; only with a `fit_share`."""

ANATOMY_QUANTITIES = ("extra_gain", "forking_excess", "entropy_lag", "error_lag")
"""What a contrast can compare of tokens; one of them puts the section on tokens into the report."""

DECAY_QUANTITIES = ("decay_slope", "decay_slope_loss", "retained_share")
"""What a contrast can compare of two arms along an axis of shift."""

THINKING_SHIFT_QUANTITIES = ("thinking_shift", "thinking_shift_loss")
"""Whether an arm's gain from thinking grows with the shift."""

OOD_QUANTITIES = (*DECAY_QUANTITIES, *THINKING_SHIFT_QUANTITIES)
"""One of them puts the section on decay into the report."""

THINKING_QUANTITIES = ("thinking_gain", "thinking_area")
"""What a contrast can compare of efforts; one of them puts the section on thinking into the report."""

QUANTITIES = (
    "compute_multiplier",
    "exponent",
    "slope_ratio",
    "final_loss",
    "final_error",
    "reward_gain",
    *CEILING_QUANTITIES,
    *ANATOMY_QUANTITIES,
    *OOD_QUANTITIES,
    *THINKING_QUANTITIES,
)
"""What a contrast can compare; see compare/analysis/findings.py for units and directions."""

WARM_START = "warm_start"
"""Baseline of `reward_gain`: the same arm before its reinforcement learning. Of `entropy_held`: the
same arm when that begins."""

CHEAPEST = "cheapest_effort"
"""Baseline of `thinking_gain`: the same arm with the least compute an answer."""

FORECASTS = ("linear", "quadratic", "carry_last", "sigmoid")
"""Baselines of `forecast_error`: what the entropy law's forecast is held against."""

ALL_TOKENS, EXECUTE_TOKENS, SEVERITY = "all_tokens", "execute_tokens", "severity"

AXES = ("flops", "data", "batch", "depth", "width", "parameters", "isoflop")
"""What the rungs of an experiment vary; `isoflop`: sizes at each of some budgets."""

OWN_BASELINES = {
    "forking_excess": ALL_TOKENS,
    "entropy_lag": EXECUTE_TOKENS,
    "error_lag": EXECUTE_TOKENS,
    **dict.fromkeys(THINKING_SHIFT_QUANTITIES, SEVERITY),
}
"""Baseline of the quantities that no second arm enters: other tokens than an arm's planning tokens, or
the severity that its gain from thinking is correlated with."""


class ManifestError(ValueError):
    """A manifest cannot be read or written. The message is one line: which file, what is wrong."""


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One cell the experiment asked for."""

    cell: str
    """Identity of the cell, the name of its folder in the store."""
    study: str
    """Group of cells that are compared with one another, usually one task."""
    arm: str
    task: str
    size: str
    budget: float
    """Training FLOPs allowed."""
    seed: int
    rung: int = 0
    """Number of its rung, from 1, where the axis is not FLOPs; 0: budgets tell rungs apart."""
    trial: int = 0
    """Number of the trial of a search, from 1, which is the arm as its files have it; 0: no search."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the settings of an arm come from, if a search chose them."""

    study: str
    arm: str
    size: str
    trials: int
    """Settings that the search tried for this arm."""
    runs: int
    """Seeds of each trial."""
    budget: float
    """Training FLOPs of a trial."""
    commit: str
    """Commit of the program that searched."""
    chosen: str
    """What was chosen, in words."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A comparison named before the experiment ran; Holm's correction runs over all of them."""

    study: str
    arm: str
    baseline: str
    """Another arm of the study, or a word that the quantity knows, such as `warm_start` for `reward_gain`."""
    quantity: str
    """What is compared: a name in a `quantities.py` of compare/analysis."""
    margin: float
    """Half-width of equivalence, in the quantity's unit (for a multiplier: 0.1 means 1/1.1 to 1.1)."""
    effort: str = ""
    """How the arm answers, for example `energy@16`, where the quantity lets it be chosen; empty: its default."""
    baseline_effort: str = ""
    """The same for the baseline, which may then be the arm itself."""
    severity: int = 0
    """Shift of the problems, where the quantity lets it be chosen; 0 is in distribution."""
    axis: str = ""
    """Axis of shift; empty: the task's first one (for a correlation with severity: all of them)."""

    @property
    def chooses(self) -> bool:
        """Whether it says how to answer, or on which shift."""
        return bool(self.effort or self.baseline_effort or self.severity)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an experiment is about, what it plans and what it will be judged by."""

    version: int = VERSION
    name: str
    """File name of the manifest and folder of the report."""
    title: str
    question: str
    command: str
    """The command that runs the experiment."""
    commit: str
    """Commit of the program that planned it."""
    contrasts: tuple[Contrast, ...]
    cells: tuple[PlannedCell, ...]
    fit_share: float = 0.0
    """Share of reinforcement learning that the entropy law is fitted on, the rest being forecast; 0: no
    forecast was asked for."""
    remarks: tuple[str, ...] = ()
    """What a reader of the report should know of how its store came about, such as conflicts between
    stores that were combined."""
    axis: str = "flops"
    """One of AXES."""
    tuned: tuple[Settings, ...] | None = None
    """Settings that a search chose; arms that are not named have those of their files. None: older than
    any search."""


def path_of(store: Path, name: str) -> Path:
    """Where the manifest of experiment `name` lies in a store."""
    return store / "experiments" / f"{name}.json"


def names(store: Path) -> tuple[str, ...]:
    """Names of the experiments in a store, sorted; empty if there are none."""
    return tuple(sorted(path.stem for path in (store / "experiments").glob("*.json")))


def dump(store: Path, manifest: Manifest) -> Path:
    """Write the manifest atomically, replacing an older one; return its path.

    Raises:
        ManifestError: it would not load again.
    """
    path = path_of(store, manifest.name)
    try:
        _check(manifest)
        text = json.dumps(dataclasses.asdict(manifest), allow_nan=False, indent=1)
    except ValueError as error:
        raise ManifestError(f"experiment {manifest.name}: {error}") from error
    write_atomically(path, text)
    return path


def load(store: Path, name: str) -> Manifest:
    """Read and check the manifest of experiment `name`.

    Raises:
        ManifestError: there is none, or it is unreadable, of another version, or has a field missing,
            unknown, or of the wrong type or range.
    """
    path = path_of(store, name)
    if not re.fullmatch(PLAIN, name):
        raise ManifestError(f"experiment {name!r}: not a plain name; give one without slashes")
    if not path.exists():
        known = ", ".join(names(store)) or "none"
        raise ManifestError(f"no experiment {name} in {store}; it holds: {known}")

    def check(manifest: Manifest, raw: object) -> None:
        _check(manifest)
        if manifest.name != name:
            raise ValueError(f"name {manifest.name!r} differs from the file's")

    remedy = "run the experiment again to write it anew"
    return strict.load(path, Manifest, version=VERSION, check=check, error=ManifestError, remedy=remedy)


def _check(manifest: Manifest) -> None:
    if not re.fullmatch(PLAIN, manifest.name):
        raise ValueError(f"name {manifest.name!r} is not a plain file name")
    if manifest.axis not in AXES:
        raise ValueError(f"axis {manifest.axis!r}: choose one of {', '.join(AXES)}")
    taken: set[tuple[str, str, float, int, int, int]] = set()
    for cell in manifest.cells:
        if not re.fullmatch(PLAIN, cell.cell):
            raise ValueError(f"cell {cell.cell!r} is not a plain folder name")
        if not (math.isfinite(cell.budget) and cell.budget > 0):
            raise ValueError(f"cell {cell.cell}: budget {cell.budget!r} is not a positive number")
        for name in ("rung", "trial"):
            if getattr(cell, name) < 0:
                raise ValueError(f"cell {cell.cell}: {name} {getattr(cell, name)} is negative")
        key = (cell.study, cell.arm, cell.budget, cell.rung, cell.trial, cell.seed)
        if key in taken:
            # Runs of a study are told apart by these alone; two tasks or sizes need two studies.
            raise ValueError(f"study {cell.study}: two cells with arm, budget, rung, trial, seed {key[1:]}")
        taken.add(key)
    check_contrasts(
        manifest.contrasts, {(cell.study, cell.arm) for cell in manifest.cells}, manifest.fit_share
    )


def check_contrasts(contrasts: tuple[Contrast, ...], arms: set[tuple[str, str]], fit_share: float) -> None:
    """Check the contrasts of an experiment.

    Args:
        arms: (study, arm) of everything it plans.

    Raises:
        ValueError: one asks for what cannot be compared. The message is one line.
    """
    if not 0 <= fit_share < 1:
        raise ValueError(f"fit_share={fit_share!r}: a share of reinforcement learning, 0 <= fit_share < 1")
    for contrast in contrasts:
        quantity, baseline = contrast.quantity, contrast.baseline
        if quantity not in QUANTITIES:
            raise ValueError(f"contrast quantity {quantity!r}: choose one of {', '.join(QUANTITIES)}")
        if not (math.isfinite(contrast.margin) and contrast.margin >= 0):
            raise ValueError(f"contrast margin {contrast.margin!r} is not a non-negative number")
        if quantity in CEILING_QUANTITIES and fit_share == 0:
            raise ValueError(
                f"contrast {contrast.arm}: {quantity} needs fit_share, the first share of reinforcement "
                "learning that the entropy law may see, for example fit_share: 0.36"
            )
        if (quantity == "reward_gain") != (baseline == WARM_START) and (quantity, baseline) != (
            "entropy_held",
            WARM_START,
        ):
            raise ValueError(
                f"contrast {contrast.arm}: reward_gain and baseline {WARM_START} go together (entropy_held "
                "may have it too)"
            )
        if (quantity == "forecast_error") != (baseline in FORECASTS):
            raise ValueError(
                f"contrast {contrast.arm}: forecast_error goes with a baseline of {', '.join(FORECASTS)}"
            )
        if quantity in OWN_BASELINES and baseline != OWN_BASELINES[quantity]:
            raise ValueError(
                f"contrast {contrast.arm}: {quantity} goes with baseline {OWN_BASELINES[quantity]}, "
                f"not {baseline}"
            )
        if baseline == CHEAPEST and quantity != "thinking_gain":
            raise ValueError(f"contrast {contrast.arm}: baseline {CHEAPEST} goes with thinking_gain alone")
        for arm in (contrast.arm, *([] if quantity in OWN_BASELINES else [baseline])):
            if arm not in (WARM_START, CHEAPEST, *FORECASTS) and (contrast.study, arm) not in arms:
                raise ValueError(f"contrast names arm {arm}, which study {contrast.study} does not plan")
        on_a_shift = quantity in THINKING_QUANTITIES and not (contrast.effort or contrast.baseline_effort)
        if contrast.chooses and quantity not in ("final_error", "final_loss") and not on_a_shift:
            raise ValueError(
                f"contrast {contrast.arm}: effort, baseline_effort and severity go with final_error and "
                f"final_loss (severity with {' and '.join(THINKING_QUANTITIES)} too), not with {quantity}; "
                "leave them out"
            )
        shifted = quantity in THINKING_QUANTITIES and contrast.severity > 0
        if contrast.axis and quantity not in OOD_QUANTITIES and not shifted:
            raise ValueError(
                f"contrast {contrast.arm}: axis {contrast.axis} goes with {', '.join(OOD_QUANTITIES)}, and "
                f"with {' and '.join(THINKING_QUANTITIES)} at a severity above 0, not with {quantity}; leave "
                "it out"
            )
        if contrast.severity < 0:
            raise ValueError(f"contrast {contrast.arm}: severity {contrast.severity}: must not be negative")
        if contrast.arm == baseline and contrast.effort == contrast.baseline_effort:
            raise ValueError(
                f"contrast {contrast.arm}: its baseline is the arm itself; name another, or another effort"
            )
