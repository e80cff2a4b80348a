"""Records and manifest -> findings, with what every section of the report draws.

The contrasts of the manifest are primary; what the analyses explore besides is corrected within its study.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any

from compare.analysis import caveats, registry
from compare.analysis.base import Analysis, Results, Study
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Draft, Finding, judge
from compare.analysis.quantity import BASELINE, check_contrasts
from compare.store.evidence import Evidence
from compare.store.manifest import Contrast, ManifestError


@cache
def analyses() -> dict[str, Analysis[Any]]:
    """Every analysis by name, in the registry's order."""
    return {name: import_module(f"compare.analysis.{name}.analysis").ANALYSIS for name in registry.NAMES}


def analyse(
    evidence: Evidence,
    *,
    draws: int = Cohort.draws,
    progress: Callable[[str], None] | None = None,
) -> Results:
    """Findings, fits and tables of an experiment; deterministic for the same records.

    Args:
        draws: bootstrap draws within one run.
        progress: called with a line on what is being done.

    Raises:
        ManifestError: a contrast asks for what no analysis can compare.
    """
    check(evidence)
    manifest, studies = evidence.manifest, dict[str, Study]()
    for name in evidence.studies:
        if progress is not None:
            progress(f"fitting {name}")
        runs = evidence.study(name)
        arms = tuple(sorted(dict.fromkeys(run.planned.arm for run in runs), key=lambda arm: arm != BASELINE))
        cohort = Cohort(study=name, arms=arms, runs=runs, manifest=manifest, draws=draws)
        measured = {key: analysis.measure(cohort) for key, analysis in analyses().items()}
        studies[name] = Study(cohort=cohort, measured=measured)
    primary = [_draft(studies[c.study], c, evidence, primary=True) for c in manifest.contrasts]
    asked = {_topic(draft) for draft in primary}
    exploratory: tuple[Finding, ...] = ()
    # Where sizes are compared with one another, no one of them stands for an arm.
    for study in studies.values() if manifest.axis != "isoflop" else ():
        drafts = [
            _draft(study, contrast, evidence)
            for name, analysis in analyses().items()
            if (measured := study.measured[name]) is not None
            for contrast in analysis.explore(study.cohort, measured)
        ]
        exploratory += judge([d for d in drafts if d.estimate is not None and _topic(d) not in asked])
    return Results(evidence=evidence, studies=tuple(studies.values()), findings=judge(primary) + exploratory)


def check(evidence: Evidence) -> None:
    """Raise ManifestError if a contrast of the manifest asks for what no analysis can compare."""
    manifest = evidence.manifest
    arms = {(cell.study, cell.arm) for cell in manifest.cells}
    try:
        check_contrasts(manifest.contrasts, arms, manifest.fit_share, registry.quantities())
    except ValueError as error:
        raise ManifestError(
            f"experiment {manifest.name}: {error}; run it again to write its manifest anew"
        ) from error


def _topic(draft: Draft) -> tuple[str, ...]:
    """What a comparison is of; one that was named beforehand is not explored again."""
    return draft.study, draft.arm, draft.baseline, draft.quantity, draft.axis


def _draft(study: Study, contrast: Contrast, evidence: Evidence, *, primary: bool = False) -> Draft:
    name = registry.owner(contrast.quantity)
    draft = analyses()[name].compare(study.cohort, study.measured[name], contrast)
    general = caveats.of_named(contrast, study.cohort.runs, evidence) if primary else ()
    general += caveats.unequal_tuning(contrast, evidence)
    general += tuple(caveats.of_records(draft.records, study.cohort.runs))
    return replace(draft, primary=primary, margin=contrast.margin, caveats=draft.caveats + general)
