"""The section on the ceiling: questions and their answers in words, tables."""

from collections.abc import Sequence

from compare.analysis.blocks import Badge, Block, Callout, Fold, Inline, Listing, Mark, Table, table
from compare.analysis.ceiling.forecast import FROZEN, LABELS
from compare.analysis.ceiling.measure import SENSITIVITY, ArmCeiling, CeilingStudy
from compare.analysis.ceiling.quantities import FORECASTS, QUANTITIES
from compare.analysis.findings import Finding, grounds, word, words
from compare.analysis.text import count_text, fixed, grouped, interval_text, sentence, sentences
from compare.stats.entropy_law import possible, surely_impossible
from compare.stats.intervals import LEVEL, Estimate
from compare.store.manifest import WARM_START

COLLAPSE = 0.5
"""Entropy has collapsed where the whole interval of the share that is left lies below this."""

START = words("rose", "fell", "held")
HELD = words("keeps more", "keeps less", "keeps as much")
MOVED = words("raised it", "lowered it", "left it where it was")
ABOVE = words("above it", "below it", "level with it")
FORECAST = words("better", "worse", "no different")

BEWARE = (
    "The law is no identity: a softmax policy that follows the exact gradient on a one-state bandit fits it "
    "with R² above .9 and can have a ceiling far above the largest reward. A good fit shows nothing; what "
    "counts is the forecast against simpler ones, and a ceiling outside [0, 1] is impossible.",
    "R is the mean reward of an update's rollout at temperature 1 on training problems, verified but for "
    "rl_random_reward, whose reward is a coin and says nothing of answers; H is the "
    "entropy of the same rollout; levels are exact answers on held-out problems, each arm answering in its "
    "default way. At no entropy sampling and greedy answering are the same, so a ceiling compares with a "
    "level as far as training problems are no easier than held-out ones.",
    "Entropy is measured, not set: that it goes with reward does not say that it causes it. Its noise, and "
    "that of reward in the same rollout, would bend a line of least squares; the slope is the trend of "
    "reward over that of exp(H), and time knows no such noise.",
    "Lines are fitted run by run; intervals over runs are Student's t over seeds, which "
    "holds whatever the dependence of neighbouring updates. Those of levels hold for other problems too.",
    "A ceiling has no verdict where its line, told the entropies, misses the rewards at the end, where "
    "rewards end above it, and where a line in H or H² is not ruled out by the end and has another ceiling.",
    "Every forecast knows the first part of a run and the compute of the rest. Those in entropy foretell the "
    "entropy as well, by an exponential decay. What is told the entropies of the rest is no forecast.",
)


def answers(study: CeilingStudy, findings: Sequence[Finding]) -> list[Callout]:
    """Every question, in the order in which a reader asks them."""

    def against(findings: Sequence[Finding], words: dict[str, str]) -> str:
        return sentences((f"Against {f.baseline}", f.arm, word(f, words)) for f in findings)

    by = {quantity: [f for f in findings if f.quantity == quantity] for quantity in QUANTITIES}
    held, moved, above = by["entropy_held"], by["ceiling"], by["above_ceiling"]
    start = [f for f in held if f.baseline == WARM_START]
    kept = [f for f in held if f.baseline != WARM_START]
    better = sorted(by["forecast_error"], key=lambda f: FORECASTS.index(f.baseline))
    ceilings = [(arm.arm, possibility(arm.ceiling)) for arm in study.arms if arm.ceiling is not None]
    ceiling = f"Ceilings: {grouped(ceilings)}" if ceilings else "No ceiling could be fitted."
    foretold = sentences(
        (f"Against {f.baseline.replace('_', ' ')}", f.arm, word(f, FORECAST)) for f in better
    )
    doubted = [(arm.arm, "no verdict on its ceiling") for arm in study.arms if arm.doubt]
    ceiling += f" {sentence(grouped(doubted))}" if doubted else ""
    passed = sentences((f"{f.arm}, against the ceiling of each", f.baseline, word(f, ABOVE)) for f in above)
    unmanaged = "There is nothing to compare: no managed arm and its baseline have finished runs."
    told = (
        ("Did entropy collapse?", sentence(grouped([(f.arm, _fall(f)) for f in start])), start),
        ("Did managing entropy hold it?", against(kept, HELD) or unmanaged, kept),
        (
            "Did managing entropy move the ceiling?",
            against(moved, MOVED) or unmanaged,
            [*moved, *by["final_reward"]],
        ),
        (
            "Is the ceiling possible, and does the law foretell rewards better than others?",
            f"{ceiling} {foretold}",
            # The rest stands in the table of errors.
            [f for f in better if f.primary],
        ),
        (
            "Did the arms without reinforcement learning pass it, at the same total compute?",
            passed or "There is nothing to compare: no such arm has exact answers at this compute.",
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


def tables(name: str, study: CeilingStudy, findings: Sequence[Finding]) -> list[Block]:
    """The tables of a study, and why runs are missing in them."""
    reasons = tuple(
        f"{arm.arm}, seed {seed}: {reason}." for arm in study.arms for seed, reason in arm.reasons
    )
    shares = sorted({*SENSITIVITY, study.share})
    sensitivity = table(
        f"Sensitivity of {name}",
        [
            {"arm": Mark(arm.arm, arm.cells)}
            | {f"first {share:.0%}": interval_text(arm.ceiling_at(share)) for share in shares}
            for arm in study.arms
        ],
        "Ceiling by the share of reinforcement learning that it is fitted on, means over seeds.",
    )
    return [
        *_ceilings(name, study),
        *_errors(name, study, findings),
        *_recipes(name, study),
        Fold(
            summary="How much the ceiling depends on what the fit saw, and each run by itself",
            blocks=(*sensitivity, *_runs(name, study)),
        ),
        *([Listing(items=reasons, soft=True)] if reasons else []),
    ]


def _ceilings(name: str, study: CeilingStudy) -> list[Table]:
    rows: list[dict[str, Inline]] = [
        {
            "arm": arm.arm,
            "n": Mark(len(arm.fits), arm.cells),
            "a": interval_text(arm.mean(lambda fit: fit.law.a if fit.law else None)),
            "b": interval_text(arm.mean(lambda fit: fit.law.b if fit.law else None)),
            "ceiling, b − a": interval_text(arm.ceiling),
            "possible?": possibility(arm.ceiling),
            "why it has no verdict": arm.doubt or "–",
            "entropy at the start": interval_text(arm.mean(lambda fit: fit.start_entropy)),
            "at the end": interval_text(arm.mean(lambda fit: fit.end_entropy)),
            "reward at the end": interval_text(arm.end_reward),
        }
        for arm in study.arms
    ]
    rows += [
        {
            **dict.fromkeys(rows[0], "–"),
            "arm": f"{level.arm} (no reinforcement learning)",
            "n": Mark(level.estimate.n, level.cells),
            "reward at the end": interval_text(level.estimate),
        }
        for level in study.levels
    ]
    caption = (
        f"Means over seeds with 95% intervals, at {count_text(study.budget)} training FLOPs in all; "
        "entropies in nats per token. Without reinforcement learning the last column holds exact answers, "
        "in distribution."
    )
    return table(f"Ceilings of {name}", rows, caption, wrap=("possible?", "why it has no verdict"))


def _errors(name: str, study: CeilingStudy, findings: Sequence[Finding]) -> list[Table]:
    errors = [f for f in findings if f.quantity == "forecast_error" and f.estimate is not None]
    against = {(f.arm, f.baseline): f for f in errors}
    rows = [
        {
            "arm": Mark(arm.arm, arm.cells),
            "forecast": label,
            **{f"frozen at {part:.0%}": interval_text(arm.error(method, part)) for part in FROZEN},
            f"frozen at {study.share:.0%}": interval_text(mean),
            "the law's mean error less this": f"{f.value_text} {f.interval_text}" if f else "–",
            "verdict": Badge(f) if f else "–",
        }
        for arm in study.arms
        for method, label in LABELS.items()
        if (mean := arm.error(method)) is not None
        for f in [against.get((arm.arm, method))]
    ]
    caption = (
        "Mean absolute errors of the reward forecast on the rest of the run, means over seeds, by the share "
        f"of the updates at which it was frozen. Differences are at {study.share:.0%}, paired by seed; below "
        "0 the law is better. What is told the entropy shows how well a relation holds, and has no verdict."
    )
    return table(f"Forecast errors of {name}", rows, caption)


def _recipes(name: str, study: CeilingStudy) -> list[Table]:
    """Each arm's law, judged on recipes that it was not fitted on."""

    def worst(arm: ArmCeiling) -> str:
        found = {
            o.arm: study.elsewhere(arm, lambda fit, own: own.error_by(fit.whole), o.arm) for o in study.arms
        }
        value, other = max((e.value, other) for other, e in found.items() if e is not None)
        return f"{fixed(value, 3)} on {other}"

    rows = [
        {
            "fitted on": Mark(arm.arm, arm.cells),
            "error there": interval_text(
                arm.mean(lambda fit: fit.error_by(fit.whole) if fit.whole else None)
            ),
            "error on the other arms": interval_text(transferred),
            "the largest of them": worst(arm),
            "their own mean reward": interval_text(
                study.elsewhere(arm, lambda _, other: other.error_by(None))
            ),
        }
        for arm in study.arms
        if arm.fits and arm.fits[0].verified
        if (transferred := study.elsewhere(arm, lambda fit, other: other.error_by(fit.whole))) is not None
    ]
    caption = (
        "Mean absolute errors of rewards, told the entropies, in ten stretches of a run, means over seeds: "
        "of the law fitted on all of an arm's run, there and on the runs of the same seed of every other arm "
        "with verified rewards. Last: of taking each of those at its own mean, which knows no entropy."
    )
    return table(f"One law for other recipes, {name}", rows, caption)


def _runs(name: str, study: CeilingStudy) -> list[Table]:
    rows = [
        {
            "arm": arm.arm,
            "seed": Mark(fit.run.planned.seed, (fit.run.planned.cell,)),
            "rows fitted on, of all": f"{fit.seen} of {len(fit.trace)}",
            "a": fixed(fit.law.a, 3) if fit.law else "–",
            "b": fixed(fit.law.b, 3) if fit.law else "–",
            "ceiling": interval_text(fit.ceiling),
            "entropy, start to end": f"{fit.start_entropy:.3f} to {fit.end_entropy:.3f}",
            "reward at the end": f"{fit.end_reward:.3f}",
            "not fitted": "; ".join(reason for seed, reason in arm.reasons if seed == fit.run.planned.seed),
        }
        for arm in study.arms
        for fit in arm.fits
    ]
    caption = (
        "Single runs. The ceiling's interval is a block bootstrap of residuals within the run: it knows "
        "nothing of other seeds."
    )
    return table(f"Runs of {name}", rows, caption, wrap=("not fitted",))
