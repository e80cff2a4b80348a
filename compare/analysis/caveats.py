"""Caveats that any comparison of two arms may need, whatever its quantity."""

from compare.analysis.findings import Draft
from compare.store.evidence import Evidence, Run

UNEQUAL = 0.02
"""Relative difference in parameters up to which two arms count as equal."""


def of_primary(
    draft_arms: tuple[str, str], study: str, runs: tuple[Run, ...], evidence: Evidence
) -> tuple[str, ...]:
    """Of a comparison named beforehand: cells without a result, unlike parameters, unequal tuning."""
    lost = sum(t.planned.study == study and t.planned.arm in draft_arms for t in evidence.troubles)
    return (
        *((f"{lost} planned cells of these arms gave no result",) if lost else ()),
        *unequal_parameters(runs, *draft_arms),
        *unequal_tuning(evidence, study, *draft_arms),
    )


def of_explored(draft: Draft, evidence: Evidence) -> tuple[str, ...]:
    """Of a comparison that nobody named beforehand."""
    return unequal_tuning(evidence, draft.study, draft.arm, draft.baseline)


def unequal_parameters(runs: tuple[Run, ...], arm: str, baseline: str) -> tuple[str, ...]:
    """A caveat if two arms differ by more than UNEQUAL in parameters other than vocabulary maps."""
    counts = {
        name: max(
            (r.record.parameters.get("non_embedding", 0) for r in runs if r.planned.arm == name), default=0
        )
        for name in (arm, baseline)
    }
    if 0 in counts.values() or max(counts.values()) <= (1 + UNEQUAL) * min(counts.values()):
        return ()
    return (f"non-embedding parameters differ: {counts[arm]:,} against {counts[baseline]:,}",)


def unequal_tuning(evidence: Evidence, study: str, arm: str, baseline: str) -> tuple[str, ...]:
    """A caveat if the settings of two arms were chosen from unequally many trials at some size."""
    manifest = evidence.manifest
    counts: dict[str, dict[str, int]] = {}
    for cell in manifest.cells:
        if cell.study == study and cell.arm in (arm, baseline):
            counts.setdefault(cell.size, {}).setdefault(cell.arm, 0)
    for settings in manifest.tuned or ():
        if settings.study == study and settings.arm in counts.get(settings.size, {}):
            counts[settings.size][settings.arm] = settings.trials
    for size, tried in counts.items():
        if len(set(tried.values())) > 1:
            numbers = ", ".join(f"{name} {trials or 'no'}" for name, trials in tried.items())
            return (f"tuning is unequal at size {size}, trials: {numbers}",)
    return ()
