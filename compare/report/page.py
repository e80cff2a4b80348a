"""Builds the report of an experiment: `index.html`, `report.md`, `figures/*.svg`.

The analyses write their sections as blocks; the frame around them (the answer, findings, cells, words) is
here and in page.html.j2 and page.md.j2.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from compare.analysis import drawing
from compare.analysis.analyse import analyse, analyses
from compare.analysis.base import Results
from compare.analysis.blocks import Badge, Block, Heading, Mark, Number, Prose, Table, figures_of
from compare.analysis.findings import Finding
from compare.analysis.search import section as search
from compare.analysis.search.choice import choices, chosen_alone
from compare.analysis.text import p_text
from compare.folders import conf_folder
from compare.report import glossary
from compare.report.render import cells_address, render
from compare.store import prereg
from compare.store.archive import is_unpacked
from compare.store.evidence import Evidence, Progress
from compare.store.files import write_atomically
from compare.store.record import Record
from compare.store.redaction import without_paths

HEADLINES = ("loss", "exact")
"""Metrics that the table of cells shows, for every task alike."""

BEWARE = (
    "Training compute is counted FLOPs, everything in: both streams, inner steps and double backward of an "
    "energy-based arm; warm start, rollouts, rejected samples and reward passes of a reward-trained one. "
    "A cell stops before the step that would exceed its budget.",
    "Reward queries count as labels and stand in the table of cells beside the labelled problems.",
    "Final differences are paired by seed, answers also by problem; intervals are Student's t, which stays "
    "honest at three seeds where a bootstrap over seeds does not.",
    "Every fit is made to each seed by itself; intervals are Student's t over the seeds' fits.",
    "The compute multiplier is read at the larger of the two losses at the largest shared budget, between "
    "the measured points; an arm that is better from its first budget on has a bound.",
    "A joint fit assumes one irreducible loss for all arms; the table of fits shows what follows without it.",
    "Arms trained by reward minimise no loss: they stay out of the loss fits unless a contrast names them.",
    "Failed and missing cells are left out of every estimate. If cells fail for the same cause that makes "
    "an arm bad, that arm is flattered: compare the list of failures.",
    "Results hold for the tasks, sizes and budgets measured here.",
)


def write(evidence: Evidence, store: Path, folder: Path | None = None, *, progress: Progress = None) -> Path:
    """Write the report of what has been read from the store and return the path of its page.

    Of a search's trials the chosen ones are analysed.

    Args:
        folder: where it is written; None: `<store>/reports/<name>/`.
    """
    everything, evidence = evidence, chosen_alone(evidence)
    results = analyse(evidence, progress=progress)
    if progress is not None:
        progress("drawing figures")
    look = drawing.colours(cell.arm for cell in evidence.manifest.cells)
    sections: list[Block] = []
    for name, analysis in analyses().items():
        measured = [(study.cohort, study.measured[name]) for study in results.studies]
        sections += analysis.section(measured, results.findings, look)
    folder = folder or store / "reports" / evidence.manifest.name
    for figure in figures_of(sections):
        write_atomically(folder / "figures" / f"{figure.name}.svg", drawing.standalone(figure))
    # A mark of an arm leads to what was analysed of it, one of a trial to its own cells.
    marks = {"basis": (replace(everything, runs=evidence.runs), "R")}
    more = {"sections": sections, "records": cells_address(store, folder), "packed": is_unpacked(store)}
    more |= {"frozen": prereg.told(store, everything)}
    return render(folder, "page", _context(results, everything) | more, marks)


def _context(results: Results, evidence: Evidence) -> dict[str, object]:
    plan = evidence.manifest
    records = [run.record for run in evidence.runs]
    primary = [f for f in results.findings if f.primary]
    return {
        "plan": plan,
        "checkout": plan.commit.removesuffix("+"),
        "command": without_paths(plan.command),
        "primary": primary,
        "tally": f"Of {len(primary)} contrasts named beforehand: {_tally(f.verdict for f in primary)}.",
        "trials": search.trials(choices(evidence)),
        "findings": findings_section(results.findings),
        "remarks": [without_paths(line) for line in plan.remarks],
        "settings": search.origins(plan),
        "words": glossary.entries(plan, (e.effort for r in records for e in r.evaluations), conf_folder()),
        "beware": BEWARE,
        "cells": _cells(evidence),
        "troubles": evidence.troubles,
        "counts": _tally(trouble.kind for trouble in evidence.troubles),
        "done": len(records),
        "unsigned": sum(record.unsigned for record in records),
        "environment": _environments(records),
        "commits": sorted({record.commit for record in records}),
        "spent": sum(record.flops for record in records),
        "seconds": sum(record.seconds.get("total", 0.0) for record in records),
    }


def _tally(words: Iterable[str]) -> str:
    """How often each word occurs, such as `3 ahead, 1 undecided`."""
    return ", ".join(f"{n} {word}" for word, n in sorted(Counter(words).items()))


def findings_section(findings: Sequence[Finding]) -> list[Block]:
    """Every finding with all of its numbers."""
    return [
        Heading(text="All findings", level=2, anchor="findings"),
        Heading(text="Primary"),
        _findings_table("Primary findings", [f for f in findings if f.primary]),
        Heading(text="Exploratory"),
        Prose(
            text="Looked at without having been announced; Holm-adjusted within each study, no margin, so "
            'never "equivalent". They suggest, they do not settle.',
            soft=True,
        ),
        _findings_table("Exploratory findings", [f for f in findings if not f.primary]),
    ]


def _findings_table(label: str, findings: list[Finding]) -> Block:
    if not findings:
        return Prose(text="None.")
    columns = "verdict,study,arm,against,quantity,estimate,95% interval,n,p,p Holm,margin,cells,caveats"
    return Table(
        label=label,
        columns=tuple(columns.split(",")),
        rows=tuple(
            (
                Badge(f),
                f.study,
                f.arm,
                f.baseline,
                f.label,
                Number(f.value_text, f.estimate),
                f.interval_text,
                f"{f.n}{' (single run)' if f.single_run else ''}",
                Number(p_text(f.p), f.p),
                Number(p_text(f.p_holm), f.p_holm),
                f"{f.margin:g}" if f.margin else "–",
                Mark(len(set(f.records)), f.records),
                "; ".join(f.caveats),
            )
            for f in findings
        ),
        wrap=("quantity", "caveats"),
        cards=True,
    )


def _cells(evidence: Evidence) -> list[dict[str, object]]:
    """Rows of the table of cells: every planned one, in the plan's order, whatever became of it.

    `anchor`: whether links to the cell lead to this row, its first, where studies share it. `metrics`: those
    in distribution at the end.
    """
    results: dict[tuple[str, str], tuple[str, Record | None]] = {
        (run.planned.study, run.planned.cell): ("done", run.record) for run in evidence.runs
    }
    results |= {(t.planned.study, t.planned.cell): (t.kind, t.record) for t in evidence.troubles}
    rows, seen = [], set[str]()
    for planned in evidence.manifest.cells:
        status, record = results[planned.study, planned.cell]
        final = [e for e in record.evaluations if e.stage == "final" and e.severity == 0] if record else []
        metrics = [f"{e.metric} {e.value:.4g} ({e.effort})" for e in final if e.metric in HEADLINES]
        guess = record.guess_rate() if record else None
        metrics += [f"guess {guess:.2g}"] if guess is not None else []
        row = {"planned": planned, "status": status, "record": record, "metrics": ", ".join(metrics)}
        rows.append({**row, "anchor": planned.cell not in seen})
        seen.add(planned.cell)
    return rows


def _environments(records: list[Record]) -> list[tuple[str, str]]:
    """Each key of the runs' environments with every value it took; more than one is worth seeing."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for key, value in record.environment.items():
            counts.setdefault(key, Counter())[without_paths(str(value))] += 1
    return [
        (key, ", ".join(text if len(of) == 1 else f"{text} ({n} cells)" for text, n in sorted(of.items())))
        for key, of in sorted(counts.items())
    ]
