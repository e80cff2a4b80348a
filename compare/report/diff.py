"""What two studies say differently: findings side by side, and cells that came out otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compare.analysis.analyse import analyse
from compare.analysis.blocks import Badge, Block, Bold, Inline, Mark, Number, Prose, Table
from compare.analysis.findings import Finding
from compare.report.basis import counted
from compare.report.render import cells_address, render
from compare.store import manifest as manifests
from compare.store.combine import difference
from compare.store.evidence import Progress, collect

SIDES = ("A", "B")
SAME = "same verdict"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One comparison as two studies see it."""

    a: Finding | None
    b: Finding | None
    either: Finding
    """Whichever there is; what is compared is the same in both."""

    @property
    def change(self) -> str:
        """What became of the verdict."""
        if self.a is None or self.b is None:
            return "only in B" if self.a is None else "only in A"
        if self.a.verdict == self.b.verdict:
            return SAME
        return f"{self.a.verdict} → {self.b.verdict}"

    @property
    def apart(self) -> bool:
        """Whether each estimate lies outside of the other's interval."""
        a, b = self.a, self.b
        if a is None or b is None or a.estimate is None or b.estimate is None:
            return False
        return not (a.low <= b.estimate <= a.high) and not (b.low <= a.estimate <= b.high)


def diff(a: tuple[Path, str], b: tuple[Path, str], folder: Path, *, progress: Progress = None) -> Path:
    """Compare two studies, each a store and the name of an experiment; write a page and Markdown to `folder`.

    Raises:
        compare.store.manifest.ManifestError: a store has no such experiment, or its manifest is unreadable.
    """
    evidence = [collect(store, manifests.load(store, name), progress) for store, name in (a, b)]
    results = [analyse(one, progress=progress) for one in evidence]
    pairs = pair([r.findings for r in results])
    ours, theirs = ({run.planned.cell: run for run in one.runs} for one in evidence)
    shared = [
        (run.planned, difference(run.record, theirs[cell].record))
        for cell, run in ours.items()
        if cell in theirs
    ]
    return render(
        folder,
        "diff",
        {
            "sides": [
                {
                    "name": side,
                    "store": store.name or "store",
                    "plan": one.manifest,
                    "done": len(one.runs),
                    "planned": len(one.manifest.cells),
                    "commits": sorted({run.record.commit for run in one.runs}),
                    "cells": cells_address(store, folder),
                }
                for side, (store, _), one in zip(SIDES, (a, b), evidence, strict=True)
            ],
            "changed": table("Changed verdicts", [p for p in pairs if p.change != SAME], "No verdict."),
            "primary": table("Primary findings", [p for p in pairs if p.either.primary]),
            "exploratory": table("Exploratory findings", [p for p in pairs if not p.either.primary]),
            "plans": _plans(*(one.manifest for one in evidence)),
            "otherwise": [(cell, differences) for cell, differences in shared if differences],
            "shared": len(shared),
        },
        {"basis_a": (evidence[0], SIDES[0]), "basis_b": (evidence[1], SIDES[1])},
    )


def pair(findings: list[tuple[Finding, ...]]) -> list[Pair]:
    """Findings of two studies about the same thing, in A's order, what only B has last."""
    a, b = ({(f.study, f.arm, f.baseline, f.quantity, f.axis): f for f in side} for side in findings)
    return [Pair(a=a.get(key), b=b.get(key), either=a.get(key) or b[key]) for key in a | b]


def _plans(a: manifests.Manifest, b: manifests.Manifest) -> list[str]:
    """How the plans differ, before any result."""
    lines = []
    for side, ours, theirs in zip(SIDES, (a, b), (b, a), strict=True):
        only = [contrast.label for contrast in ours.contrasts if contrast not in theirs.contrasts]
        lines += [f"only {side} names the contrast {label}" for label in only]
        if extra := len({cell.cell for cell in ours.cells} - {cell.cell for cell in theirs.cells}):
            lines.append(f"{extra} cells are planned in {side} only")
    if a.fit_share != b.fit_share:
        lines.append(f"the entropy law is fitted on {a.fit_share:g} of RL in A, on {b.fit_share:g} in B")
    return lines


def table(label: str, pairs: Sequence[Pair], nothing: str = "None.") -> Block:
    """Findings side by side."""
    if not pairs:
        return Prose(text=nothing)
    return Table(
        label=label,
        columns=("change", "study", "arm", "against", "quantity", *SIDES, "apart"),
        rows=tuple(
            (
                *(Bold(p.change), p.either.study, p.either.arm, p.either.baseline, p.either.label),
                *(_estimate(p.a), _estimate(p.b), "yes" if p.apart else ""),
            )
            for p in pairs
        ),
        wrap=("quantity", *SIDES),
        cards=True,
    )


def _estimate(finding: Finding | None) -> Inline:
    """Verdict, estimate, interval and seeds."""
    if finding is None:
        return "–"
    if finding.estimate is None:
        return Badge(finding), f" {finding.value_text}"
    number = Number(finding.value_text, finding.estimate)
    seeds = "single run" if finding.single_run else f"n = {finding.n}"
    whole = " {}, {}, ".format(*(text.replace(" ", "\u00a0") for text in (finding.interval_text, seeds)))
    cells = tuple(dict.fromkeys(finding.records))
    return Badge(finding), " ", number, whole, Mark(counted(cells), cells)
