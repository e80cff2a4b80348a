"""The section on the ceiling: questions and their answers in words, figures, tables."""

from collections.abc import Iterable, Iterator, Sequence

from compare.analysis.base import LookOf
from compare.analysis.blocks import (
    Badge,
    Block,
    Callout,
    Figures,
    Fold,
    Heading,
    Inline,
    Listing,
    Mark,
    Prose,
    Table,
)
from compare.analysis.ceiling.figures import of_ceiling
from compare.analysis.ceiling.forecast import LABELS
from compare.analysis.ceiling.measure import SENSITIVITY, CeilingStudy
from compare.analysis.cohort import Cohort
from compare.analysis.findings import Finding, grounds, word
from compare.analysis.text import count_text, fixed, grouped, interval_text, sentence
from compare.stats.entropy_law import possible, surely_impossible
from compare.stats.intervals import LEVEL, Estimate
from compare.store.manifest import WARM_START

Row = dict[str, Inline]
"""Column of a table -> cell."""

COLLAPSE = 0.5
"""Entropy has collapsed where the whole interval of the share that is left lies below this."""


def _words(ahead: str, behind: str, equivalent: str) -> dict[str, str]:
    return {"ahead": ahead, "behind": behind, "equivalent": equivalent, "undecided": "undecided"}


START = _words("rose", "fell", "held")
HELD = _words("keeps more", "keeps less", "keeps as much")
MOVED = _words("raised it", "lowered it", "left it where it was")
ABOVE = _words("above it", "below it", "level with it")
FORECAST = _words("better", "worse", "no different")

BEWARE = (
    "The law is no identity: a softmax policy that follows the exact gradient on a one-state bandit fits it "
    "with R² above .9 and can have a ceiling far above the largest reward. A good fit shows nothing; what "
    "counts is the forecast against simpler ones, and a ceiling outside [0, 1] is impossible.",
    "R is the mean reward of an update's rollout at temperature 1 on training problems, verified but for "
    "rl_random_reward, whose reward is a coin and says nothing of answers; H is the "
    "entropy of the same rollout; levels are exact answers on held-out problems, each arm answering in its "
    "default way. At no entropy sampling and greedy answering are the same, so a ceiling compares with a "
    "level as far as training problems are no easier than held-out ones.",
    "Entropy is measured, not set, and its noise flattens the fitted line.",
    "Rows are fitted by least squares, run by run; intervals over runs are Student's t over seeds, which "
    "holds whatever the dependence of neighbouring updates. Those of levels hold for other problems too.",
    "The law, linear and quadratic forecasts are told the entropies of what came after; carry-last and the "
    "sigmoid in the compute of reinforcement learning are not.",
)


def blocks(
    studies: Sequence[tuple[Cohort, CeilingStudy | None]], findings: Sequence[Finding], look: LookOf
) -> list[Block]:
    """One part for each study that trained by reward, if the experiment has a `fit_share`.

    A study that names no arm trained by reward, such as one of text, has none; if none has finished
    anything, every study says so.
    """
    share = studies[0][0].manifest.fit_share if studies else 0.0
    if share == 0:
        return []
    intro = (
        f"The entropy law R = −a exp(H) + b is fitted to each run on the first {share:.0%} of its "
        "reinforcement learning, a share named before the experiment ran. Its ceiling is the reward at no "
        'entropy, b − a. "Collapsed": less than half of the starting entropy is left, with the whole 95% '
        "interval."
    )
    heading = Heading(text="The ceiling that entropy sets", level=2, anchor="ceiling")
    out: list[Block] = [heading, Prose(text=intro, soft=True)]
    measured = [(cohort, study) for cohort, study in studies if study is not None]
    for cohort, study in measured or studies:
        out.append(Heading(text=cohort.study))
        if study is None:
            out.append(Prose(text="No finished run of this study was trained by reward."))
            continue
        own = [finding for finding in findings if finding.study == cohort.study]
        out += [*answers(study, own), Figures(figures=of_ceiling(cohort.study, study, look))]
        out += _tables(cohort.study, study, own)
    return [*out, Listing(items=BEWARE, soft=True)]


def answers(study: CeilingStudy, findings: Sequence[Finding]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""
    by: dict[str, list[Finding]] = {}
    for finding in findings:
        by.setdefault(finding.quantity, []).append(finding)
    held, moved, above = (by.get(quantity, []) for quantity in ("entropy_held", "ceiling", "above_ceiling"))
    start = [f for f in held if f.baseline == WARM_START]
    kept = [f for f in held if f.baseline != WARM_START]
    methods = list(LABELS)
    better = sorted(by.get("forecast_error", []), key=lambda f: methods.index(f.baseline))
    ceilings = [(arm.arm, possibility(arm.ceiling)) for arm in study.arms if arm.ceiling is not None]
    ceiling = f"Ceilings: {grouped(ceilings)}" if ceilings else "No ceiling could be fitted."
    forecasts = _sentences(
        (f"Against {f.baseline.replace('_', ' ')}", f.arm, word(f, FORECAST)) for f in better
    )
    passed = _sentences((f"{f.arm}, against the ceiling of each", f.baseline, word(f, ABOVE)) for f in above)
    nothing = "There is nothing to compare"
    unmanaged = f"{nothing}: no managed arm and its baseline have finished runs."
    told = (
        ("Did entropy collapse?", sentence(grouped([(f.arm, _fall(f)) for f in start])), start),
        ("Did managing entropy hold it?", _against(kept, HELD) or unmanaged, kept),
        (
            "Did managing entropy move the ceiling?",
            _against(moved, MOVED) or unmanaged,
            [*moved, *by.get("final_reward", [])],
        ),
        (
            "Is the ceiling possible, and does the law foretell rewards better than others?",
            f"{ceiling} {forecasts}",
            # The rest stands in the table of errors.
            [f for f in better if f.primary],
        ),
        (
            "Did the arms without reinforcement learning pass it, at the same total compute?",
            passed or f"{nothing}: no such arm has exact answers at this compute.",
            above,
        ),
    )
    return [Callout(question=q, answer=answer, grounds=grounds(own)) for q, answer, own in told]


def _fall(finding: Finding) -> str:
    if finding.verdict == "behind" and finding.high < COLLAPSE:
        return "collapsed"
    if finding.verdict == "behind" and finding.low >= COLLAPSE:
        return "fell, without collapsing"
    return word(finding, START)


def _against(findings: Sequence[Finding], words: dict[str, str]) -> str:
    return _sentences((f"Against {f.baseline}", f.arm, word(f, words)) for f in findings)


def _sentences(answers: Iterable[tuple[str, str, str]]) -> str:
    """(opening, name, word): a sentence per opening, the names of one word together."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for opening, *pair in answers:
        pairs.setdefault(opening, []).append((pair[0], pair[1]))
    return " ".join(f"{opening}: {grouped(own)}" for opening, own in pairs.items())


def possibility(ceiling: Estimate | None) -> str:
    """Whether a ceiling can be one of rewards in [0, 1], and how sure that is."""
    if ceiling is None:
        return "not fitted"
    if surely_impossible(ceiling):
        return f"impossible at {LEVEL:.0%} confidence"
    if not possible(ceiling):
        return "impossible as fitted, its interval reaches into [0, 1]"
    inside = ceiling.low >= 0 and ceiling.high <= 1
    return "possible" if inside else "possible, its interval reaches beyond [0, 1]"


def _tables(name: str, study: CeilingStudy, findings: Sequence[Finding]) -> list[Block]:
    """The tables of a study, and why runs are missing in them."""
    reasons = [f"{arm.arm}, seed {seed}: {reason}." for arm in study.arms for seed, reason in arm.reasons]
    ceilings = _table(
        f"Ceilings of {name}",
        f"Means over seeds with 95% intervals, at {count_text(study.budget)} training FLOPs in all; "
        "entropies in nats per token. Without reinforcement learning the last column holds exact answers, in "
        "distribution.",
        _ceilings(study),
        wrap=("possible?",),
    )
    errors = _table(
        f"Forecast errors of {name}",
        "Absolute errors of the reward forecast, means over seeds: over what came after the fit, and at its "
        "end. Differences are paired by seed; below 0 the law is better.",
        _errors(study, findings),
    )
    sensitivity = _table(
        f"Sensitivity of {name}",
        "Ceiling by the share of reinforcement learning that it is fitted on, means over seeds.",
        _sensitivity(study),
    )
    runs = _table(
        f"Runs of {name}",
        "Single runs. The ceiling's interval is a block bootstrap of residuals within the run: it knows "
        "nothing of other seeds.",
        _runs(study),
        wrap=("not fitted",),
    )
    summary = "How much the ceiling depends on what the fit saw, and each run by itself"
    more = Fold(summary=summary, blocks=(*sensitivity, *runs))
    return [*ceilings, *errors, more, *([Listing(items=tuple(reasons), soft=True)] if reasons else [])]


def _table(label: str, caption: str, rows: Iterable[Row], wrap: tuple[str, ...] = ()) -> list[Table]:
    """A table of rows by column; none without rows."""
    rows = list(rows)
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    cells = tuple(tuple(row.get(column, "–") for column in columns) for row in rows)
    return [Table(label=label, caption=caption, columns=columns, rows=cells, wrap=wrap)] if rows else []


def _ceilings(study: CeilingStudy) -> Iterator[Row]:
    for arm in study.arms:
        yield {
            "arm": arm.arm,
            "n": Mark(len(arm.fits), arm.cells),
            "a": interval_text(arm.mean(lambda fit: fit.law.a if fit.law else None)),
            "b": interval_text(arm.mean(lambda fit: fit.law.b if fit.law else None)),
            "ceiling, b − a": interval_text(arm.ceiling),
            "possible?": possibility(arm.ceiling),
            "entropy at the start": interval_text(arm.mean(lambda fit: fit.start_entropy)),
            "at the end": interval_text(arm.mean(lambda fit: fit.end_entropy)),
            "reward at the end": interval_text(arm.end_reward),
        }
    for level in study.levels:
        yield {
            "arm": f"{level.arm} (no reinforcement learning)",
            "n": Mark(level.estimate.n, level.cells),
            "reward at the end": interval_text(level.estimate),
        }


def _errors(study: CeilingStudy, findings: Sequence[Finding]) -> Iterator[Row]:
    errors = [f for f in findings if f.quantity == "forecast_error" and f.estimate is not None]
    against = {(f.arm, f.baseline): f for f in errors}
    for arm in study.arms:
        for method, label in LABELS.items():
            mean, f = arm.error(method), against.get((arm.arm, method))
            if mean is not None:
                yield {
                    "arm": Mark(arm.arm, arm.cells),
                    "forecast": label,
                    "mean error": interval_text(mean),
                    "error at the end": interval_text(arm.error(method, lambda e: e.end)),
                    "the law's mean error less this": f"{f.value_text} {f.interval_text}" if f else "–",
                    "verdict": Badge(f) if f else "–",
                }


def _sensitivity(study: CeilingStudy) -> Iterator[Row]:
    shares = sorted({*SENSITIVITY, study.share})
    for arm in study.arms:
        ceilings = {f"first {share:.0%}": interval_text(arm.ceiling_at(share)) for share in shares}
        yield {"arm": Mark(arm.arm, arm.cells), **ceilings}


def _runs(study: CeilingStudy) -> Iterator[Row]:
    for arm in study.arms:
        for fit in arm.fits:
            yield {
                "arm": arm.arm,
                "seed": Mark(fit.seed, (fit.run.planned.cell,)),
                "rows fitted on, of all": f"{fit.seen} of {len(fit.trace)}",
                "a": fixed(fit.law.a, 3) if fit.law else "–",
                "b": fixed(fit.law.b, 3) if fit.law else "–",
                "ceiling": interval_text(fit.ceiling),
                "entropy, start to end": f"{fit.start_entropy:.3f} to {fit.end_entropy:.3f}",
                "reward at the end": f"{fit.end_reward:.3f}",
                "not fitted": "; ".join(reason for seed, reason in arm.reasons if seed == fit.seed),
            }
