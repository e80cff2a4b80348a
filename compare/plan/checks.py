"""What an experiment may not ask for: contrasts that its arms cannot answer, searches that see too much."""

from arena.config import ConfigError, TaskConfig
from arena.tasks.base import Task
from compare.plan.config import Experiment
from compare.plan.planned import Planned
from compare.store.manifest import (
    ANATOMY_QUANTITIES,
    CEILING_QUANTITIES,
    FORECASTS,
    OOD_QUANTITIES,
    OWN_BASELINES,
    THINKING_QUANTITIES,
    THINKING_SHIFT_QUANTITIES,
    WARM_START,
    Contrast,
    check_contrasts,
)

THINKING_FAMILIES = ("ebt", "parallel", "diffusion", "looped")
"""Families that answer in more or fewer steps of one kind: descents, unmaskings, loops."""


def contrasts(experiment: Experiment) -> tuple[Contrast, ...]:
    """The comparisons that an experiment's file names, as its manifest keeps them."""
    return tuple(
        Contrast(
            study=c.study,
            arm=c.arm,
            baseline=c.baseline,
            quantity=c.quantity,
            margin=float(c.margin),
            effort=c.effort,
            baseline_effort=c.baseline_effort,
            severity=c.severity,
            axis=c.axis,
        )
        for c in experiment.contrasts
    )


def check_search(experiment: Experiment, planned: list[Planned]) -> None:
    """Raise ConfigError if what a search would choose by, or write to, is not what it should be."""
    if experiment.search is None:
        return
    files: dict[tuple[str, str, str], tuple[str, float]] = {}
    for p in planned:
        cell = p.cell
        if cell.trainer.split != "val":
            raise ConfigError(
                f"experiment {experiment.name}: study {p.study}: trainer.split={cell.trainer.split}: a "
                "search must not see what results are measured on; put trainer.split=val into its overrides"
            )
        file, place = (cell.task.name, cell.size.name, cell.arm.name), (p.study, cell.budget.flops)
        if files.setdefault(file, place) != place:
            raise ConfigError(
                f"experiment {experiment.name}: arm {cell.arm.name} is searched for twice on "
                f"{cell.task.name}, size {cell.size.name}; leave one budget or study of it"
            )


def check_experiment(experiment: Experiment, planned: list[Planned], tasks: dict[TaskConfig, Task]) -> None:
    """Raise ConfigError if a contrast asks for what its arms cannot give."""
    kinds = {(p.study, p.cell.arm.name): p.cell.arm.kind for p in planned}
    try:
        check_contrasts(contrasts(experiment), set(kinds), experiment.fit_share)
    except ValueError as error:
        raise ConfigError(f"experiment {experiment.name}: {error}") from error
    measured = {p.study: p.cell.trainer.severities for p in planned}
    axes = {p.study: tasks[p.cell.task].axes for p in planned}
    for c in contrasts(experiment):
        sections = (*OOD_QUANTITIES, *THINKING_QUANTITIES, *CEILING_QUANTITIES, *ANATOMY_QUANTITIES)
        if experiment.axis != "flops" and c.quantity in sections:
            raise ConfigError(
                f"experiment {experiment.name}: contrast {c.quantity} of {c.arm}: it looks at the largest "
                f"budget alone, which all rungs of axis={experiment.axis} share; name it where axis is flops"
            )
        if c.axis and c.axis not in axes[c.study]:
            raise ConfigError(
                f"experiment {experiment.name}: contrast {c.quantity} of {c.arm}: axis {c.axis}: study "
                f"{c.study} has {', '.join(axes[c.study])}; name one of these"
            )
        if c.quantity in OOD_QUANTITIES:
            try:
                _check_shift(c, measured[c.study], kinds[c.study, c.arm])
            except ValueError as error:
                raise ConfigError(f"experiment {experiment.name}: {error}") from error
        if c.severity >= measured[c.study]:
            raise ConfigError(
                f"experiment {experiment.name}: contrast {c.quantity} of {c.arm} at severity {c.severity}: "
                f"study {c.study} measures {measured[c.study]} severities, from 0; raise trainer.severities"
            )
        if c.quantity not in (*CEILING_QUANTITIES, *ANATOMY_QUANTITIES):
            continue
        # A measured level may be anybody's; a ceiling, an entropy and a forecast need rewards.
        needed = [c.baseline] if c.quantity == "above_ceiling" else [c.arm, c.baseline]
        for arm in needed:
            kind = kinds.get((c.study, arm))
            if arm not in (WARM_START, *FORECASTS, *OWN_BASELINES.values()) and kind != "rl":
                raise ConfigError(
                    f"experiment {experiment.name}: contrast {c.quantity} of {c.arm} against {c.baseline}: "
                    f"{arm} is of family {kind}, which no reward trains; name an arm of family rl"
                )


def _check_shift(contrast: Contrast, severities: int, kind: str) -> None:
    """Raise ValueError if a contrast along an axis of shift has nothing to be measured on."""
    said = f"contrast {contrast.quantity} of {contrast.arm}"
    if severities < 2:
        raise ValueError(
            f"{said}: trainer.severities={severities} measures in distribution only; give study "
            f"{contrast.study} at least 2"
        )
    if contrast.quantity in THINKING_SHIFT_QUANTITIES and kind not in THINKING_FAMILIES:
        raise ValueError(
            f"{said}: {contrast.arm} is of family {kind}, which does not think; name one of "
            f"{', '.join(THINKING_FAMILIES)}"
        )
