"""Studies with a planted truth, and what is asked of the analysis of each; __main__.py counts the answers."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from compare.analysis.analyse import analyse
from compare.analysis.findings import Finding
from compare.calibrate import planted, planted_ceiling, planted_shift
from compare.calibrate.attacks import ATTACKS
from compare.calibrate.planted import Truth
from compare.calibrate.planted_ceiling import Course
from compare.calibrate.planted_shift import Shifted
from compare.stats.intervals import LEVEL, Estimate
from compare.stats.power import seeds_needed
from compare.store.evidence import Evidence

COVERAGE = (0.93, 0.97)
AT_LEAST = (0.93, 1.0)
"""Where seeds and problems are crossed: intervals are wide by choice (compare/stats/crossed.py)."""
ALARMS = (0.0, 0.05)
FOUND = (0.8, 1.0)
GIVEN = (0.7, 1.0)
"""A right ceiling is withheld in a fifth of the studies, by choice (compare/analysis/ceiling/measure.py)."""
EFFECT = 0.10
"""Planted effect of the power check: a tenth less loss, or a compute multiplier of 1.1."""
CHEAP = 20
"""How many times more often a scenario runs that fits nothing."""

Outcome = tuple[str, tuple[float, float], bool]
"""Name of a check, its bar, and whether it came true in one study."""

Scenario = Callable[[np.random.Generator, int], Iterator[Outcome]]
"""Plants one study, analyses it with so many bootstrap draws, and yields what came out."""

FASTER, PLAIN = Truth(alpha=0.34, ceiling=0.9), Truth()
"""The arm of most scenarios, and its baseline."""


def _findings(evidence: Evidence, draws: int) -> tuple[Finding, ...]:
    return analyse(evidence, draws=draws).findings


def covering(rng: np.random.Generator, draws: int, *, seeds: int) -> Iterator[Outcome]:
    """A faster arm against a slower one: does each interval hold what was planted?"""
    truth = {
        "exponent": FASTER.alpha - PLAIN.alpha,
        "compute_multiplier": math.exp(planted.log_multiplier(FASTER, PLAIN)),
    }
    evidence = planted.study(FASTER, PLAIN, tuple(truth), rng, seeds=seeds)
    results = analyse(evidence, draws=draws)
    yield from _covered(results.findings, truth, seeds)
    ceiling = results.studies[0].measured["scaling"].accuracy[planted.ARM].ceiling
    held = ceiling.low <= FASTER.ceiling <= ceiling.high
    yield f"interval of the sigmoid's ceiling, {seeds} seeds", COVERAGE, held


def covering_differences(rng: np.random.Generator, draws: int, *, seeds: int) -> Iterator[Outcome]:
    """The same two arms at the largest budget: do the intervals of their differences hold the truth?"""
    top = planted.BUDGETS[-1]
    # The mean of log-normal noise is not its median.
    mean = math.exp(planted.NOISE**2 / 2)
    truth = {
        "final_loss": mean * (FASTER.loss(top) - PLAIN.loss(top)),
        "final_error": PLAIN.exact(top) - FASTER.exact(top),
    }
    evidence = planted.study(FASTER, PLAIN, tuple(truth), rng, seeds=seeds, budgets=(top,))
    yield from _covered(_findings(evidence, draws), truth, seeds)


def _covered(
    findings: Iterable[Finding], truth: dict[str, float], seeds: int, bar: tuple[float, float] = COVERAGE
) -> Iterator[Outcome]:
    for finding in findings:
        if finding.primary and finding.quantity in truth:
            held = finding.low <= truth[finding.quantity] <= finding.high
            yield f"interval of {finding.quantity}, {seeds} seeds", bar, held


def against_itself(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """One arm under two names: a verdict is a false alarm, for all of a study and for each fit alone."""
    announced = ("exponent", "compute_multiplier", "final_loss", "final_error")
    findings = _findings(planted.study(PLAIN, PLAIN, announced, rng), draws)
    yield "any false alarm of a study, A/A", ALARMS, _decided(findings)
    yield from _alarms(findings, ("exponent", "compute_multiplier", "slope_ratio"))


def differing_from_itself(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """One arm under two names at one budget: false alarms of a difference."""
    quantities = ("final_loss", "final_error")
    evidence = planted.study(PLAIN, PLAIN, quantities, rng, budgets=planted.BUDGETS[-1:])
    yield from _alarms(_findings(evidence, draws), quantities)


def _alarms(findings: Iterable[Finding], quantities: tuple[str, ...]) -> Iterator[Outcome]:
    """Would each of these be decided if it were the only comparison?"""
    for finding in findings:
        if finding.quantity in quantities:
            null = 1.0 if finding.ratio else 0.0
            alarm = (finding.low > null or finding.high < null) and finding.p < 1 - LEVEL
            yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, alarm


def shifting(rng: np.random.Generator, draws: int, *, seeds: int) -> Iterator[Outcome]:
    """An arm that decays slower, and gains more from thinking the further the shift, against another."""
    arm = Shifted(cheapest=(0.6, 0.55, 0.5, 0.45), gain=(0.05, 0.1, 0.15, 0.2))
    evidence = planted_shift.study(arm, Shifted(), rng, seeds=seeds)
    truth = {
        "decay_slope": arm.slope - Shifted().slope,
        "retained_share": arm.retained - Shifted().retained,
        "thinking_gain": arm.gain[0],
    }
    yield from _covered(_findings(evidence, draws), truth, seeds, AT_LEAST)


def shifting_alike(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """One arm under two names, whose gain from thinking is the same at every shift; one that has none."""
    others = tuple(c.quantity for c in planted_shift.CONTRASTS if c.quantity != "thinking_gain")
    for truth, quantities in ((Shifted(), others), (Shifted(gain=(0.0,) * 4), ("thinking_gain",))):
        findings = _findings(planted_shift.study(truth, truth, rng), draws)
        yield from _alarms((finding for finding in findings if finding.primary), quantities)


def unresolved(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """Losses that do not fall, and two budgets only: no fitted quantity may be decided."""
    quantities = ("exponent", "compute_multiplier")
    flat, faster = Truth(scale=0.0), Truth(alpha=0.34)
    for name, evidence in (
        ("flat curves", planted.study(flat, flat, quantities, rng)),
        ("two budgets", planted.study(faster, PLAIN, quantities, rng, budgets=planted.BUDGETS[:2])),
        ("a single seed", planted.study(faster, PLAIN, quantities, rng, seeds=1)),
    ):
        yield f"a verdict on {name}", ALARMS, _decided(_findings(evidence, draws))


def power_of_loss(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """A tenth less loss under noise of 5% per run: found at the seeds that a pilot of three names?"""
    baseline, top = Truth(alpha=1e-9), planted.BUDGETS[-1:]
    arm = replace(baseline, floor=baseline.floor * (1 - EFFECT), scale=baseline.scale * (1 - EFFECT))
    study = partial(planted.study, arm, baseline, ("final_loss",), rng, noise=0.05, budgets=top)
    yield _power(study, EFFECT * baseline.loss(top[0]), draws)


def power_of_multiplier(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """A compute multiplier of 1.1 under noise of 1% per run: found likewise?"""
    arm = PLAIN.with_multiplier(1 + EFFECT)
    study = partial(planted.study, arm, PLAIN, ("compute_multiplier",), rng, noise=0.01)
    yield _power(study, math.log(1 + EFFECT), draws)


def _power(study: Callable[..., Evidence], effect: float, draws: int) -> Outcome:
    """Is an effect found at the seeds that a pilot of three names? `study` plants as many as `seeds`."""
    pilot = _findings(study(seeds=3), draws)[0]
    name = f"a planted 10% of {pilot.quantity} found at the seeds named"
    if pilot.estimate is None:
        return name, FOUND, False
    scale = math.log if pilot.ratio else float
    # The spread is the pilot's, the effect the planner's: a pilot's own effect flatters itself.
    spread = {"low": scale(pilot.low), "high": scale(pilot.high), "degrees": pilot.degrees}
    planned = Estimate(value=effect, **spread, p=pilot.p, n=pilot.n, single_run=pilot.single_run)
    needed = seeds_needed(planned, margin=0.0)
    found = needed is not None and _findings(study(seeds=needed), draws)[0].verdict == "ahead"
    return name, FOUND, found


def ceiling(rng: np.random.Generator, draws: int, *, course: Course, what: str) -> Iterator[Outcome]:
    """Is a fitted ceiling right, or else its verdict withheld?"""
    evidence = planted_ceiling.study(course, rng)
    results = analyse(evidence, draws=draws)
    truth = {
        "ceiling": planted_ceiling.LIFT,
        "above_ceiling": planted_ceiling.LEVEL - planted_ceiling.CEILING,
    }
    named = {f.quantity: f for f in results.findings if f.primary}
    held = {name: named[name].low <= value <= named[name].high for name, value in truth.items()}
    if course.relation == "law":
        fitted = results.studies[0].measured["ceiling"].arm(planted_ceiling.UNMANAGED).ceiling
        yield (
            f"interval of a fitted ceiling, {what}",
            AT_LEAST,
            fitted.low <= planted_ceiling.CEILING <= fitted.high,
        )
        for name, right in held.items():
            yield f"interval of {name}, {what}", AT_LEAST, right
    for name, right in held.items():
        yield f"{name} wrong and not withheld, {what}", ALARMS, not right and not named[name].withheld
    if course == Course():
        yield "a verdict on a ceiling where the law holds", GIVEN, not named["above_ceiling"].withheld


def foretelling(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """Reward and entropy that merely trend, each on its own: is the law called the best forecast?"""
    for relation in ("exponential", "power"):
        findings = _findings(planted_ceiling.study(Course(relation=relation), rng), draws)
        better = [f.verdict == "ahead" for f in findings if f.primary and f.quantity == "forecast_error"]
        yield "the law called better than every forecast, both merely trending", ALARMS, all(better)


def _decided(findings: Iterable[Finding]) -> bool:
    return any(f.primary and f.verdict in ("ahead", "behind") for f in findings)


SCENARIOS: tuple[tuple[Scenario, int], ...] = (
    (partial(covering, seeds=3), 1),
    (partial(covering, seeds=5), 1),
    (against_itself, 1),
    (unresolved, 1),
    (power_of_loss, CHEAP),
    (power_of_multiplier, 1),
    (partial(covering_differences, seeds=3), CHEAP),
    (partial(covering_differences, seeds=5), CHEAP),
    (differing_from_itself, CHEAP),
    (partial(shifting, seeds=3), 1),
    (partial(shifting, seeds=5), 1),
    (shifting_alike, 1),
    (partial(ceiling, course=Course(), what="the law holds"), 1),
    (partial(ceiling, course=Course(entropy_noise=0.1), what="10% noise in entropy"), 1),
    (partial(ceiling, course=Course(relation="linear"), what="reward linear in entropy"), 1),
    (partial(ceiling, course=Course(relation="saturating"), what="reward saturates in time"), 1),
    (foretelling, 1),
    *((attack, 1) for attack in ATTACKS),
)
"""Each with how many times as many studies as were asked for."""


def one(task: tuple[int, int, int, int]) -> list[Outcome]:
    """One study: number of its scenario, seed, its own number, bootstrap draws; called by other processes."""
    scenario, seed, i, draws = task
    return list(SCENARIOS[scenario][0](np.random.default_rng((seed, scenario, i)), draws))
