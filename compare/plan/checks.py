"""What an experiment may not ask for: contrasts that its arms cannot answer, searches that see too much."""

from arena.config import ConfigError, TaskConfig
from arena.tasks.base import Task
from compare.analysis.quantity import Quantity, check_contrasts
from compare.analysis.registry import quantities
from compare.plan.config import Experiment
from compare.plan.families import FAMILIES
from compare.plan.planned import Planned
from compare.store.manifest import Contrast
from compare.store.strict import require


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
            spec, study = specs[contrast.quantity], studies[contrast.study]
            require(
                experiment.axis == "flops" or not spec.largest_budget,
                f"contrast {contrast.quantity} of {contrast.arm}: it looks at the largest budget alone, "
                f"which all rungs of axis={experiment.axis} share; name it where axis is flops",
            )
            _check_measured(contrast, spec, tasks[study.cell.task].axes, study.cell.trainer.severities)
            _check_families(contrast, spec, kinds)
    except ValueError as error:
        raise ConfigError(f"experiment {experiment.name}: {error}") from error


def _check_measured(contrast: Contrast, spec: Quantity, axes: dict[str, int], severities: int) -> None:
    """Raise ValueError if a contrast looks where its study does not measure."""
    what, study = f"contrast {contrast.quantity} of {contrast.arm}", contrast.study
    measured = f"study {study} measures {severities} severities, from 0; raise trainer.severities"
    alone = f"trainer.severities={severities} measures in distribution only; give study {study} at least 2"
    known = f"study {study} has {', '.join(axes)}; name one of these"
    require(contrast.axis in ("", *axes), f"{what}: axis {contrast.axis}: {known}")
    require(severities > 1 or not spec.shifted, f"{what}: {alone}")
    require(contrast.severity < severities, f"{what} at severity {contrast.severity}: {measured}")


def _check_families(contrast: Contrast, spec: Quantity, kinds: dict[tuple[str, str], str]) -> None:
    """Raise ValueError if an arm of a contrast is of a family that does not do what is asked about."""
    what = f"contrast {contrast.quantity} of {contrast.arm} against {contrast.baseline}"
    thinking = [name for name, family in FAMILIES.items() if family.thinks]
    rewarded = [name for name, family in FAMILIES.items() if family.rewarded]
    asked = [(contrast.arm, thinking, "which does not think")] if spec.thinks else []
    asked += [(getattr(contrast, side), rewarded, "which no reward trains") for side in spec.rewarded]
    for arm, able, lacking in asked:
        kind = kinds.get((contrast.study, arm))
        remedy = f"name an arm of family {' or '.join(able)}"
        require(kind in (None, *able), f"{what}: {arm} is of family {kind}, {lacking}; {remedy}")
