"""Caveats that any comparison of two arms may need, whatever its quantity."""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from compare.store.evidence import Evidence, Run
from compare.store.manifest import Contrast
from compare.store.record import Record

UNEQUAL = 0.02
"""Relative difference in parameters other than vocabulary maps up to which two arms count as equal."""
SPENT = 0.9
"""Share of its budget that a run should have spent, where another step still fitted."""
NAMED = 3
"""Records that a caveat names; of more, only the number."""


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


def of_records(cells: Collection[str], runs: Sequence[Run]) -> Iterator[str]:
    """Of the records that a number rests on: unsigned ones, several programs, budgets that were not spent."""
    used = {run.planned.cell: run.record for run in runs if run.planned.cell in cells}
    if bare := [cell for cell, record in used.items() if record.unsigned]:
        names = ", ".join(bare[:NAMED]) + (" and others" if len(bare) > NAMED else "")
        yield f"{len(bare)} of {len(used)} records unsigned, a change of them would not be seen: {names}"
    if len({record.environment.get("code", record.commit) for record in used.values()}) > 1:
        commits = sorted({record.commit or "unknown" for record in used.values()})
        yield f"records of commits {', '.join(commits)}"
    for arm in dict.fromkeys(record.arm for record in used.values()):
        own = [record for record in used.values() if record.arm == arm]
        if early := [record for record in own if _stopped_early(record)]:
            least = min(record.flops / record.budget for record in early)
            which = f"{len(early)} of {len(own)} runs stopped before their budget was spent"
            yield f"{arm}: {which}, at {least:.0%} of it, though another step fitted"


def _stopped_early(record: Record) -> bool:
    """Whether a run left a tenth of its budget and its dearest step, with no limit of problems."""
    if record.config.get("budget", {}).get("problems") is not None or not record.steps:
        return False
    rows = zip(record.history.get("step", []), record.history.get("flops", []), strict=False)
    known = [(step, flops) for step, flops in rows if step is not None and flops is not None]
    rises = pairwise(known)
    dearest = max(((b[1] - a[1]) / (b[0] - a[0]) for a, b in rises if b[0] > a[0]), default=0.0)
    step = max(dearest, record.flops / record.steps)
    return record.flops < SPENT * record.budget and step < record.budget - record.flops
