"""Caveats that any comparison of two arms may need, whatever its quantity."""

from compare.store.evidence import Evidence, Run
from compare.store.manifest import Contrast

UNEQUAL = 0.02
"""Relative difference in parameters other than vocabulary maps up to which two arms count as equal."""


def of_named(contrast: Contrast, runs: tuple[Run, ...], evidence: Evidence) -> tuple[str, ...]:
    """Of a comparison named beforehand: cells without a result, arms that differ by more than UNEQUAL."""
    arms, out = (contrast.arm, contrast.baseline), []
    planned = [trouble.planned for trouble in evidence.troubles]
    if lost := sum(cell.study == contrast.study and cell.arm in arms for cell in planned):
        out.append(f"{lost} planned cells of these arms gave no result")
    sizes = [
        max((r.record.parameters.get("non_embedding", 0) for r in runs if r.planned.arm == arm), default=0)
        for arm in arms
    ]
    if all(sizes) and max(sizes) > (1 + UNEQUAL) * min(sizes):
        out.append(f"non-embedding parameters differ: {sizes[0]:,} against {sizes[1]:,}")
    return tuple(out)


def unequal_tuning(contrast: Contrast, evidence: Evidence) -> tuple[str, ...]:
    """A caveat if the settings of two arms were chosen from unequally many trials at some size."""
    study, manifest = contrast.study, evidence.manifest
    trials = {(s.size, s.arm): s.trials for s in manifest.tuned or () if s.study == study}
    cells = [c for c in manifest.cells if c.study == study and c.arm in (contrast.arm, contrast.baseline)]
    for size in dict.fromkeys(cell.size for cell in cells):
        tried = {cell.arm: trials.get((size, cell.arm), 0) for cell in cells if cell.size == size}
        if len(set(tried.values())) > 1:
            numbers = ", ".join(f"{name} {count or 'no'}" for name, count in tried.items())
            return (f"tuning is unequal at size {size}, trials: {numbers}",)
    return ()
