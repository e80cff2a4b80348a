"""Studies with a planted truth, and what is asked of the analysis of each; __main__.py counts the answers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from compare.analysis.analyse import analyse
from compare.analysis.findings import Finding
from compare.calibrate import planted, planted_shift
from compare.calibrate.planted import Noise, Truth
from compare.stats.intervals import Estimate, verdict
from compare.stats.power import seeds_needed

COVERAGE = (0.93, 0.97)
AT_LEAST = (0.93, 1.0)
"""Where seeds and problems are crossed: intervals are wide by choice (compare/stats/crossed.py)."""
ALARMS = (0.0, 0.05)
FOUND = (0.8, 1.0)
EFFECT = 0.10
"""Planted effect of the power check: a tenth less loss, or a compute multiplier of 1.1."""
CHEAP = 20
"""How many times more often a scenario runs that fits nothing."""
FITTED = ("shared",)
"""The variant of the joint fit that contrasts are read from."""

Outcome = tuple[str, tuple[float, float], bool]
"""Name of a check, its bar, and whether it came true in one study."""

Scenario = Callable[[np.random.Generator, int], Iterator[Outcome]]
"""Plants one study with so many bootstrap draws, analyses it, and yields what came out."""


def covering(seeds: int) -> Scenario:
    """A faster arm against a slower one: does each interval hold what was planted?"""

    def scenario(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
        arm, baseline = planted.Truth(alpha=0.34, ceiling=0.9), planted.Truth()
        truth = {
            "exponent": arm.alpha - baseline.alpha,
            "compute_multiplier": math.exp(planted.log_multiplier(arm, baseline)),
        }
        results = analyse(
            planted.study(arm, baseline, tuple(truth), rng, seeds=seeds), draws=draws, variants=FITTED
        )
        yield from _covered(results.findings, truth, seeds)
        ceiling = results.studies[0].measured["scaling"].accuracy[planted.ARM].ceiling
        yield (
            f"interval of the sigmoid's ceiling, {seeds} seeds",
            COVERAGE,
            ceiling.low <= 0.9 <= ceiling.high,
        )

    return scenario


def covering_differences(seeds: int) -> Scenario:
    """The same two arms at the largest budget: do the intervals of their differences hold the truth?"""

    def scenario(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
        arm, baseline = planted.Truth(alpha=0.34, ceiling=0.9), planted.Truth()
        top = planted.BUDGETS[-1]
        # The mean of log-normal noise is not its median.
        mean = math.exp(planted.Noise().loss ** 2 / 2)
        truth = {
            "final_loss": mean * (arm.loss(top) - baseline.loss(top)),
            "final_error": baseline.exact(top) - arm.exact(top),
        }
        evidence = planted.study(arm, baseline, tuple(truth), rng, seeds=seeds, budgets=(top,))
        yield from _covered(analyse(evidence, draws=draws, variants=FITTED).findings, truth, seeds)

    return scenario


def _covered(
    findings: tuple[Finding, ...],
    truth: dict[str, float],
    seeds: int,
    bar: tuple[float, float] = COVERAGE,
) -> Iterator[Outcome]:
    for finding in findings:
        if finding.primary and finding.quantity in truth:
            held = finding.low <= truth[finding.quantity] <= finding.high
            yield f"interval of {finding.quantity}, {seeds} seeds", bar, held


def against_itself(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """One arm under two names: a verdict is a false alarm, for all of a study and for each fit alone."""
    announced = ("exponent", "compute_multiplier", "final_loss", "final_error")
    evidence = planted.study(planted.Truth(), planted.Truth(), announced, rng)
    results = analyse(evidence, draws=draws, variants=FITTED)
    family = [finding for finding in results.findings if finding.primary]
    yield "any false alarm of a study, A/A", ALARMS, any(_decided(f) for f in family)
    for finding in results.findings:
        if finding.quantity in ("exponent", "compute_multiplier", "slope_ratio"):
            yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, _decided_alone(finding)


def differing_from_itself(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """One arm under two names at one budget: false alarms of a difference."""
    quantities, top = ("final_loss", "final_error"), planted.BUDGETS[-1:]
    evidence = planted.study(planted.Truth(), planted.Truth(), quantities, rng, budgets=top)
    for finding in analyse(evidence, draws=draws, variants=FITTED).findings:
        if finding.quantity in quantities:
            yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, _decided_alone(finding)


def shifting(seeds: int) -> Scenario:
    """An arm that decays slower, and gains more from thinking the further the shift, against another."""

    def scenario(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
        arm, baseline = (
            planted_shift.Shifted(cheapest=(0.6, 0.55, 0.5, 0.45), gain=(0.05, 0.1, 0.15, 0.2)),
            planted_shift.Shifted(),
        )
        found = analyse(
            planted_shift.study(arm, baseline, planted_shift.CONTRASTS, rng, seeds=seeds),
            draws=draws,
            variants=FITTED,
        )
        truth = {
            "decay_slope": arm.slope - baseline.slope,
            "retained_share": arm.retained - baseline.retained,
            "thinking_gain": arm.gain[0],
        }
        yield from _covered(found.findings, truth, seeds, AT_LEAST)

    return scenario


def shifting_alike(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """One arm under two names, whose gain from thinking is the same at every shift; one that has none."""
    for truth, gains in ((planted_shift.Shifted(), False), (planted_shift.Shifted(gain=(0.0,) * 4), True)):
        found = analyse(
            planted_shift.study(truth, truth, planted_shift.CONTRASTS, rng), draws=draws, variants=FITTED
        ).findings
        for finding in found:
            if finding.primary and (finding.quantity == "thinking_gain") == gains:
                yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, _decided_alone(finding)


def unresolved(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """Losses that do not fall, and two budgets only: no fitted quantity may be decided."""
    quantities = ("exponent", "compute_multiplier")
    flat, falling, faster = planted.Truth(scale=0.0), planted.Truth(), planted.Truth(alpha=0.34)
    few = planted.BUDGETS[:2]
    for name, evidence in (
        ("flat curves", planted.study(flat, flat, quantities, rng)),
        ("two budgets", planted.study(faster, falling, quantities, rng, budgets=few)),
        ("a single seed", planted.study(faster, falling, quantities, rng, seeds=1)),
    ):
        found = [f for f in analyse(evidence, draws=draws, variants=FITTED).findings if f.primary]
        yield f"a verdict on {name}", ALARMS, any(_decided(f) for f in found)


def power_of_loss(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """A tenth less loss under noise of 5% a run: found at the seeds that a pilot of three names?"""
    baseline = planted.Truth(alpha=1e-9)
    arm = replace(baseline, floor=baseline.floor * (1 - EFFECT), scale=baseline.scale * (1 - EFFECT))
    effect = EFFECT * baseline.loss(planted.BUDGETS[-1])
    yield from _power(
        "final_loss", arm, baseline, effect, planted.Noise(loss=0.05), planted.BUDGETS[-1:], rng, draws
    )


def power_of_multiplier(rng: np.random.Generator, draws: int) -> Iterator[Outcome]:
    """A compute multiplier of 1.1 under noise of 1% a run: found at the seeds that a pilot of three names?"""
    baseline = planted.Truth()
    arm, effect = baseline.with_multiplier(1 + EFFECT), math.log(1 + EFFECT)
    yield from _power(
        "compute_multiplier", arm, baseline, effect, planted.Noise(loss=0.01), planted.BUDGETS, rng, draws
    )


def _power(
    quantity: str,
    arm: Truth,
    baseline: Truth,
    effect: float,
    noise: Noise,
    budgets: tuple[float, ...],
    rng: np.random.Generator,
    draws: int,
) -> Iterator[Outcome]:
    def found(seeds: int) -> Finding:
        evidence = planted.study(arm, baseline, (quantity,), rng, noise=noise, seeds=seeds, budgets=budgets)
        return analyse(evidence, draws=draws, variants=FITTED).findings[0]

    # The spread is the pilot's, the effect the planner's: a pilot's own effect flatters itself.
    needed = seeds_needed(replace(_estimate(found(3)), value=effect), margin=0.0)
    yield (
        f"a planted 10% of {quantity} found at the seeds named",
        FOUND,
        needed is not None and found(needed).verdict == "ahead",
    )


def _estimate(finding: Finding) -> Estimate:
    """A finding's numbers on the scale they were judged on."""
    scale = math.log if finding.ratio else float
    if finding.estimate is None:
        return Estimate(value=0.0, low=-math.inf, high=math.inf, p=1.0, n=0, single_run=False)
    return Estimate(
        value=scale(finding.estimate),
        low=scale(finding.low),
        high=scale(finding.high),
        p=finding.p,
        n=finding.n,
        single_run=finding.single_run,
        degrees=finding.degrees,
    )


def _decided(finding: Finding) -> bool:
    return finding.verdict in ("ahead", "behind")


def _decided_alone(finding: Finding) -> bool:
    """Whether it would be decided if it were the only comparison."""
    e = _estimate(finding)
    return verdict(e.value, e.low, e.high, 0.0, e.p, higher_is_better=True) in ("ahead", "behind")


SCENARIOS: tuple[tuple[Scenario, int], ...] = (
    (covering(3), 1),
    (covering(5), 1),
    (against_itself, 1),
    (unresolved, 1),
    (power_of_loss, CHEAP),
    (power_of_multiplier, 1),
    (covering_differences(3), CHEAP),
    (covering_differences(5), CHEAP),
    (differing_from_itself, CHEAP),
    (shifting(3), 1),
    (shifting(5), 1),
    (shifting_alike, 1),
)
"""Each with how many times as many studies as were asked for."""
