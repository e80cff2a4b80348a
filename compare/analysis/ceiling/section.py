"""The section on the ceiling: questions and their answers in words, figures, tables."""

from collections.abc import Iterable, Sequence

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
    return [
        _ceilings(name, study),
        _errors(name, study, findings),
        Fold(
            summary="How much the ceiling depends on what the fit saw, and each run by itself",
            blocks=(_sensitivity(name, study), _runs(name, study)),
        ),
        *([Listing(items=tuple(reasons), soft=True)] if reasons else []),
    ]


def _ceilings(name: str, study: CeilingStudy) -> Table:
    rows: list[tuple[Inline, ...]] = []
    for arm in study.arms:
        a = arm.mean(lambda fit: fit.law.a if fit.law else None)
        b = arm.mean(lambda fit: fit.law.b if fit.law else None)
        start, end = arm.mean(lambda fit: fit.start_entropy), arm.mean(lambda fit: fit.end_entropy)
        fitted = (*map(interval_text, (a, b, arm.ceiling)), possibility(arm.ceiling))
        reached = map(interval_text, (start, end, arm.end_reward))
        rows.append((arm.arm, Mark(len(arm.fits), arm.cells), *fitted, *reached))
    for level in study.levels:
        n = Mark(level.estimate.n, level.cells)
        rows.append((f"{level.arm} (no reinforcement learning)", n, *"––––––", interval_text(level.estimate)))
    return Table(
        label=f"Ceilings of {name}",
        caption=f"Means over seeds with 95% intervals, at {count_text(study.budget)} training FLOPs in all; "
        "entropies in nats per token. Without reinforcement learning the last column holds exact answers, in "
        "distribution.",
        columns=(
            "arm",
            "n",
            "a",
            "b",
            "ceiling, b − a",
            "possible?",
            "entropy at the start",
            "at the end",
            "reward at the end",
        ),
        rows=tuple(rows),
        wrap=("possible?",),
    )


def _errors(name: str, study: CeilingStudy, findings: Sequence[Finding]) -> Table:
    errors = [f for f in findings if f.quantity == "forecast_error" and f.estimate is not None]
    against = {(f.arm, f.baseline): f for f in errors}
    rows: list[tuple[Inline, ...]] = []
    for arm, method in ((arm, method) for arm in study.arms for method in LABELS):
        mean, end = arm.error(method), arm.error(method, lambda e: e.end)
        if mean is not None:
            f = against.get((arm.arm, method))
            verdict = (f"{f.value_text} {f.interval_text}", Badge(f)) if f else ("–", "–")
            cells = (LABELS[method], interval_text(mean), interval_text(end))
            rows.append((Mark(arm.arm, arm.cells), *cells, *verdict))
    return Table(
        label=f"Forecast errors of {name}",
        caption="Absolute errors of the reward forecast, means over seeds: over what came after the fit, and "
        "at its end. Differences are paired by seed; below 0 the law is better.",
        columns=(
            "arm",
            "forecast",
            "mean error",
            "error at the end",
            "the law's mean error less this",
            "verdict",
        ),
        rows=tuple(rows),
    )


def _sensitivity(name: str, study: CeilingStudy) -> Table:
    shares = sorted({*SENSITIVITY, study.share})
    return Table(
        label=f"Sensitivity of {name}",
        caption="Ceiling by the share of reinforcement learning that it is fitted on, means over seeds.",
        columns=("arm", *(f"first {share:.0%}" for share in shares)),
        rows=tuple(
            (Mark(arm.arm, arm.cells), *(interval_text(arm.ceiling_at(share)) for share in shares))
            for arm in study.arms
        ),
    )


def _runs(name: str, study: CeilingStudy) -> Table:
    return Table(
        label=f"Runs of {name}",
        caption="Single runs. The ceiling's interval is a block bootstrap of residuals within the run: it "
        "knows nothing of other seeds.",
        columns=(
            "arm",
            "seed",
            "rows fitted on, of all",
            "a",
            "b",
            "ceiling",
            "entropy, start to end",
            "reward at the end",
            "not fitted",
        ),
        rows=tuple(
            (
                arm.arm,
                Mark(fit.seed, (fit.run.planned.cell,)),
                f"{fit.seen} of {len(fit.trace)}",
                *((fixed(fit.law.a, 3), fixed(fit.law.b, 3)) if fit.law else ("–", "–")),
                interval_text(fit.ceiling),
                f"{fit.start_entropy:.3f} to {fit.end_entropy:.3f}",
                f"{fit.end_reward:.3f}",
                "; ".join(reason for seed, reason in arm.reasons if seed == fit.seed),
            )
            for arm in study.arms
            for fit in arm.fits
        ),
        wrap=("not fitted",),
    )
