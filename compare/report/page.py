"""Builds the report of an experiment: `<store>/reports/<name>/index.html`, `report.md`, `figures/*.svg`.

The page holds everything (figures and one small script inline, nothing fetched; a policy in its head lets
nothing else run or load), so it can be sent as one file.
"""

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from compare.analysis import drawing as figures
from compare.analysis.ceiling.section import BEWARE as CEILING_BEWARE
from compare.analysis.ceiling.section import Section, sections
from compare.analysis.ceiling.words import possibility
from compare.analysis.energy import section as pictures_section
from compare.analysis.findings import Finding
from compare.analysis.scaling import figures as study_figures
from compare.analysis.scaling import more_figures as scaling_figures
from compare.analysis.scaling.measure import Results, Study, analyse
from compare.analysis.search import section as settings_section
from compare.analysis.search.choice import choices, chosen_alone
from compare.analysis.shift import section as ood_section
from compare.analysis.tables import BASELINE, HEADLINES, FitRow, Interval
from compare.analysis.thinking import section as thinking_section
from compare.analysis.tokens import section as anatomy_section
from compare.folders import conf_folder
from compare.report import glossary
from compare.report.basis import Basis
from compare.stats.intervals import VERDICTS, Estimate
from compare.store import manifest as manifests
from compare.store.evidence import Evidence, collect, without_paths
from compare.store.record import Record

TEMPLATES = Path(__file__).parent

CONTENTS = "<!-- contents -->"
"""Where a page's links to its own sections go."""

BEWARE = (
    "Training compute is counted FLOPs, everything in: both streams, inner steps and double backward of an "
    "energy-based arm; warm start, rollouts, rejected samples and reward passes of a reward-trained one. "
    "A cell stops before the step that would exceed its budget.",
    "Reward queries count as labels and stand in the table of cells beside the labelled problems.",
    "Final differences are paired by seed, answers also by problem; intervals are Student's t, which stays "
    "honest at three seeds where a bootstrap over seeds does not.",
    "Fitted quantities have a bootstrap of runs within each arm and budget, with spread and percentiles "
    "corrected for few seeds.",
    "The compute multiplier is read at the larger of the two fitted losses at the largest shared budget; "
    "beyond the measured range it is marked as extrapolated.",
    "A joint fit assumes one irreducible loss for all arms; the table of fits shows what follows without it.",
    "Arms trained by reward minimise no loss: they stay out of the loss fits unless a contrast names them.",
    "Failed and missing cells are left out of every estimate. If cells fail for the same cause that makes "
    "an arm bad, that arm is flattered: compare the list of failures.",
    "Results hold for the tasks, sizes and budgets measured here.",
)


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """One planned cell in the table of cells."""

    cell: str
    anchor: bool
    """Whether this row is what links to the cell lead to: its first, where studies share it."""
    study: str
    arm: str
    task: str
    size: str
    budget: float
    seed: int
    status: str
    """`done`, or the kind of trouble."""
    record: Record | None
    metrics: str
    """Metrics in distribution at the end."""


def compose(store: Path, name: str, *, progress: Callable[[str], None] | None = None) -> Path:
    """Write the report of experiment `name` and return the path of its page.

    Args:
        store: folder with `cells/` and `experiments/`.
        progress: called with a line on what is being done.

    Raises:
        compare.store.manifest.ManifestError: the store has no such experiment, or its manifest is unreadable.
    """
    return write(collect(store, manifests.load(store, name), progress), store, progress=progress)


def write(evidence: Evidence, store: Path, *, progress: Callable[[str], None] | None = None) -> Path:
    """The same, of what has been read from the store. Of a search's trials the chosen ones are analysed."""
    everything, evidence = evidence, chosen_alone(evidence)
    results = analyse(evidence, progress=progress)
    if progress is not None:
        progress("drawing figures")
    look = figures.colours(cell.arm for cell in evidence.manifest.cells)
    drawn = {
        study.name: [*study_figures.of_study(study, look), *scaling_figures.of_study(study, look)]
        for study in results.studies
    }
    ceilings = sections(results, look)
    anatomies = anatomy_section.sections(results, look)
    oods = ood_section.sections(results, look)
    pictures = pictures_section.sections(results, look)
    thoughts = thinking_section.sections(results, look)
    context = _context(results, everything, drawn, ceilings) | {
        "searches": choices(everything),
        "settings": settings_section.rows(everything.manifest),
        "anatomies": anatomies,
        "anatomy_beware": anatomy_section.BEWARE,
        "oods": oods,
        "ood_beware": ood_section.BEWARE,
        "thoughts": thoughts,
        "thinking_beware": thinking_section.BEWARE,
        "pictures": pictures,
        "pictures_measured": pictures_section.MEASURED,
    }
    parts = (*ceilings, *anatomies, *oods, *thoughts, *pictures)
    folder = store / "reports" / evidence.manifest.name
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for group in (*drawn.values(), *(part.figures for part in parts)):
        for figure in group:
            write_text(folder / "figures" / f"{figure.name}.svg", figures.standalone(figure))
    # A mark of an arm leads to what was analysed of it, one of a trial to its own cells.
    render(folder, "page", context, {"basis": (replace(everything, runs=evidence.runs), "R")})
    return folder / "index.html"


def render(
    folder: Path, template: str, context: dict[str, object], marks: dict[str, tuple[Evidence, str]]
) -> None:
    """Write `report.md` and `index.html` from the two forms of a template.

    Args:
        marks: by the name that the template knows it under, what a Basis leads to and its letter.
    """
    for name, html in (("report.md", False), ("index.html", True)):
        form = "html" if html else "md"
        bases = {
            key: Basis(evidence, count_text, html=html, letter=letter)
            for key, (evidence, letter) in marks.items()
        }
        text = _environment(html=html).get_template(f"{template}.{form}.j2").render(context | bases)
        if html:
            text = text.replace(CONTENTS, _contents(text), 1)
        write_text(folder / name, text)


def _contents(page: str) -> str:
    """Links to the sections that a page has."""
    found = re.findall(r'<h2 id="([a-z]+)">([^<]+)</h2>', page)
    return " · ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in found)


def _context(
    results: Results,
    evidence: Evidence,
    drawn: dict[str, list[figures.Figure]],
    ceilings: tuple[Section, ...],
) -> dict[str, object]:
    plan = evidence.manifest
    records = [run.record for run in evidence.runs]
    return {
        "plan": plan,
        "point": "budget" if plan.axis == "flops" else "rung",
        "checkout": plan.commit.removesuffix("+"),
        "beware": BEWARE,
        "command": without_paths(plan.command),
        "primary": [f for f in results.findings if f.primary],
        "tally": _tally([f for f in results.findings if f.primary]),
        "words": glossary.entries(plan, (e.effort for r in records for e in r.evaluations), conf_folder()),
        "exploratory": [f for f in results.findings if not f.primary],
        "studies": results.studies,
        "figures": drawn,
        "ceilings": ceilings,
        "ceiling_beware": CEILING_BEWARE,
        "cells": _cells(evidence),
        "troubles": evidence.troubles,
        "counts": {
            kind: sum(t.kind == kind for t in evidence.troubles)
            for kind in ("failed", "missing", "unreadable")
        },
        "done": len(records),
        "unsigned": sum(not record.digest for record in records),
        # From the report's folder; a page that leaves its store keeps everything but these links.
        "cells_folder": "../../cells",
        "environment": _environments(records),
        "commits": sorted({record.commit for record in records}),
        "spent": sum(record.flops for record in records),
        "seconds": sum(record.seconds.get("total", 0.0) for record in records),
    }


def _tally(primary: list[Finding]) -> str:
    """How many contrasts came out how, in one sentence."""
    counts = [(word, sum(f.verdict == word for f in primary)) for word in VERDICTS]
    said = ", ".join(f"{n} {word}" for word, n in counts if n)
    return f"Of {len(primary)} contrasts named beforehand: {said}."


def _cells(evidence: Evidence) -> list[CellRow]:
    """Every planned cell, in the plan's order, whatever became of it."""
    results: dict[tuple[str, str], tuple[str, Record | None]] = {}
    for run in evidence.runs:
        results[run.planned.study, run.planned.cell] = ("done", run.record)
    for trouble in evidence.troubles:
        results[trouble.planned.study, trouble.planned.cell] = (trouble.kind, trouble.record)
    rows: list[CellRow] = []
    seen: set[str] = set()
    for planned in evidence.manifest.cells:
        status, record = results[planned.study, planned.cell]
        rows.append(
            CellRow(
                cell=planned.cell,
                anchor=planned.cell not in seen,
                study=planned.study,
                arm=planned.arm,
                task=planned.task,
                size=planned.size,
                budget=planned.budget,
                seed=planned.seed,
                status=status,
                record=record,
                metrics=_metrics(record) if record is not None else "",
            )
        )
        seen.add(planned.cell)
    return rows


def _metrics(record: Record) -> str:
    final = [e for e in record.evaluations if e.stage == "final" and e.severity == 0]
    return ", ".join(f"{e.metric} {e.value:.4g} ({e.effort})" for e in final if e.metric in HEADLINES)


def _environments(records: list[Record]) -> list[tuple[str, str]]:
    """Each key of the runs' environments with every value it took; more than one is worth seeing."""
    values: dict[str, dict[str, int]] = {}
    for record in records:
        for key, value in record.environment.items():
            seen = values.setdefault(key, {})
            text = without_paths(str(value))
            seen[text] = seen.get(text, 0) + 1
    return [
        (
            key,
            ", ".join(
                text if len(seen) == 1 else f"{text} ({count} cells)" for text, count in sorted(seen.items())
            ),
        )
        for key, seen in sorted(values.items())
    ]


def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count_text,
        interval=interval_text,
        big=big_interval_text,
        md=markdown_text,
        seconds=seconds_text,
        verdict_mark=verdict_mark,
        p=p_text,
        possibility=possibility,
        settings=settings_text,
        fit_cells=fit_cells,
        portable=without_paths,
    )
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    environment.globals["script"] = Markup(script)
    environment.globals["script_hash"] = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.filters["raw_svg"] = lambda figure: Markup(figure.svg)
    return environment


def fit_cells(row: FitRow, study: Study) -> tuple[str, ...]:
    """Cells that a row of the table of fits rests on: a joint fit's E is that of all its arms."""
    fit = study.fits.get(row.variant)
    arms = fit.runs.arms if fit is not None else (row.arm, BASELINE)
    return tuple(run.planned.cell for run in study.runs if run.planned.arm in arms and run.find("loss"))


def count_text(value: float) -> str:
    """A FLOP count in three digits, 1.25e+12 as 1.25e12."""
    return re.sub(r"e\+?(-?)0*(\d+)", r"e\1\2", f"{value:.3g}")


def interval_text(interval: Interval | Estimate | None, digits: int = 3) -> str:
    """Value and 95% interval; a dash where there is none."""
    if interval is None:
        return "–"
    value, low, high = (_fixed(x, digits) for x in (interval.value, interval.low, interval.high))
    if abs(interval.low) == float("inf") or abs(interval.high) == float("inf"):
        return f"{value} (single run, no interval)"
    return f"{value} [{low}, {high}]"


def _fixed(value: float, digits: int) -> str:
    """Fixed-point text with a minus sign, and none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\u2212")


def big_interval_text(interval: Interval | None) -> str:
    """The same for numbers that span decades."""
    if interval is None:
        return "–"
    return f"{count_text(interval.value)} [{count_text(interval.low)}, {count_text(interval.high)}]"


def p_text(value: float) -> str:
    """A p-value, never as zero."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def settings_text(settings: dict[str, float | None]) -> str:
    """A trial's settings on one line."""
    said = (f"{key}={'?' if value is None else f'{value:g}'}" for key, value in settings.items())
    return ", ".join(said) or "–"


def seconds_text(value: float) -> str:
    """Wall time in the unit a reader thinks in."""
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def verdict_mark(finding: Finding) -> str:
    """A sign beside the word, so that a verdict does not hang on its colour."""
    return {"ahead": "▲", "behind": "▼", "equivalent": "=", "undecided": "?"}[finding.verdict]


def markdown_text(value: object) -> str:
    """Text that Markdown shows as it is: one line, no tags, no table bars."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text)


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, so that nobody reads half a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
