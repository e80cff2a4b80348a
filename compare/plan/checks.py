"""What an experiment may not ask for: contrasts that its arms cannot answer, searches that see too much."""

from arena.config import ConfigError, TaskConfig
from arena.tasks.base import Task
from compare.analysis.quantity import Quantity, check_contrasts
from compare.analysis.registry import quantities
from compare.plan.config import Experiment
from compare.plan.families import FAMILIES
from compare.plan.planned import Planned
from compare.store.manifest import Contrast


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
    studies = {p.study: p for p in planned}
    specs = quantities()
    try:
        check_contrasts(experiment.contrasts, set(kinds), experiment.fit_share, specs)
        for contrast in experiment.contrasts:
            study = studies[contrast.study]
            axes, severities = tasks[study.cell.task].axes, study.cell.trainer.severities
            _check_measured(contrast, specs[contrast.quantity], axes, severities, experiment.axis)
            _check_families(contrast, specs[contrast.quantity], kinds)
    except ValueError as error:
        raise ConfigError(f"experiment {experiment.name}: {error}") from error


def _check_measured(
    contrast: Contrast, spec: Quantity, axes: dict[str, int], severities: int, axis: str
) -> None:
    """Raise ValueError if a contrast looks where its study does not measure."""
    what, study = f"contrast {contrast.quantity} of {contrast.arm}", contrast.study
    if axis != "flops" and spec.largest_budget:
        raise ValueError(
            f"{what}: it looks at the largest budget alone, which all rungs of axis={axis} share; name it "
            "where axis is flops"
        )
    if contrast.axis and contrast.axis not in axes:
        raise ValueError(
            f"{what}: axis {contrast.axis}: study {study} has {', '.join(axes)}; name one of these"
        )
    if spec.shifted and severities < 2:
        raise ValueError(
            f"{what}: trainer.severities={severities} measures in distribution only; give study {study} at "
            "least 2"
        )
    if contrast.severity >= severities:
        raise ValueError(
            f"{what} at severity {contrast.severity}: study {study} measures {severities} severities, from "
            "0; raise trainer.severities"
        )


def _check_families(contrast: Contrast, spec: Quantity, kinds: dict[tuple[str, str], str]) -> None:
    """Raise ValueError if an arm of a contrast is of a family that does not do what is asked about."""
    what = f"contrast {contrast.quantity} of {contrast.arm}"
    kind = kinds[contrast.study, contrast.arm]
    if spec.thinks and not FAMILIES[kind].thinks:
        thinking = ", ".join(name for name, family in FAMILIES.items() if family.thinks)
        raise ValueError(
            f"{what}: {contrast.arm} is of family {kind}, which does not think; name one of {thinking}"
        )
    for arm in (getattr(contrast, side) for side in spec.rewarded):
        kind = kinds.get((contrast.study, arm))
        if kind is not None and not FAMILIES[kind].rewarded:
            rewarded = " or ".join(name for name, family in FAMILIES.items() if family.rewarded)
            raise ValueError(
                f"{what} against {contrast.baseline}: {arm} is of family {kind}, which no reward trains; "
                f"name an arm of family {rewarded}"
            )
