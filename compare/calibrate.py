"""`python -m compare.calibrate`: is the analysis right as often as it says?

Records with a planted truth go through the analysis of every experiment (compare/scaling.py), many
times over. Checked are
* coverage: 95% intervals hold the planted truth in 93 to 97% of the studies, of decay and of gains from
  thinking in at least 93%;
* false alarms: an arm against itself is called ahead or behind in at most 5%;
* power: a planted effect of 10% is found in at least 80% at the seeds that a pilot of three names;
* restraint: where nothing can be resolved, the verdict is `undecided`.

Rates come with the 95% interval that so many studies leave (Clopper and Pearson 1934). A bar is `held`
if the rate lies within it, `missed` if not even the interval reaches it, and `not told apart` in
between: a test that is exact at 5% lands above a bar of 5% every second time, whatever the number of
studies. The exit status asks for the first, so that a bar is not met by doing fewer studies. What is cheap
(differences at one budget need no bootstrap) is done many times over.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from compare.findings import Finding
    from compare.planted import Noise, Truth
    from compare.stats import Estimate

COVERAGE = (0.93, 0.97)
AT_LEAST = (0.93, 1.0)
"""Where seeds and problems are crossed: intervals are wide by choice (compare/crossed.py)."""
ALARMS = (0.0, 0.05)
FOUND = (0.8, 1.0)
EFFECT = 0.10
"""Planted effect of the power check: a tenth less loss, or a compute multiplier of 1.1."""
DRAWS = 500
"""Bootstrap draws of a fit here; a report takes more."""
CHEAP = 20
"""How many times more often a scenario runs that fits nothing."""
WORDS = HELD, MISSED, NOT_TOLD = "held", "missed", "not told apart"
"""A rate within its bar; one whose whole interval lies outside; one outside whose interval reaches it."""
FITTED = ("shared",)
"""The variant of the joint fit that contrasts are read from."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How often something happened, and how often it may."""

    name: str
    hits: int = 0
    of: int = 0
    bar: tuple[float, float]
    """Lowest and highest rate that passes."""

    @property
    def rate(self) -> float:
        """Share of the studies."""
        return self.hits / self.of if self.of else 0.0

    @property
    def word(self) -> str:
        """One of WORDS: does the rate lie within its bar, or may it, given its interval?"""
        if not self.of:
            return NOT_TOLD
        least, most = self.bar
        if least <= self.rate <= most:
            return HELD
        low, high = self.interval
        return NOT_TOLD if high >= least and low <= most else MISSED

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the rate (Clopper and Pearson)."""
        from scipy.stats import binomtest

        found = binomtest(self.hits, self.of).proportion_ci()
        return float(found.low), float(found.high)

    def count(self, hit: bool) -> "Check":
        """With one more study."""
        return replace(self, hits=self.hits + hit, of=self.of + 1)


Outcome = tuple[str, tuple[float, float], bool]
"""Name of a check, its bar, and whether it came true in one study."""

Scenario = Callable[["np.random.Generator", int], Iterator[Outcome]]
"""Plants one study with so many bootstrap draws, analyses it, and yields what came out."""


def covering(seeds: int) -> Scenario:
    """A faster arm against a slower one: does each interval hold what was planted?"""

    def scenario(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
        from compare import planted
        from compare.scaling import analyse

        arm, baseline = planted.Truth(alpha=0.34, ceiling=0.9), planted.Truth()
        truth = {
            "exponent": arm.alpha - baseline.alpha,
            "compute_multiplier": math.exp(planted.log_multiplier(arm, baseline)),
        }
        results = analyse(
            planted.study(arm, baseline, tuple(truth), rng, seeds=seeds), draws=draws, variants=FITTED
        )
        yield from _covered(results.findings, truth, seeds)
        ceiling = results.studies[0].ceilings[planted.ARM]
        yield (
            f"interval of the sigmoid's ceiling, {seeds} seeds",
            COVERAGE,
            ceiling.low <= 0.9 <= ceiling.high,
        )

    return scenario


def covering_differences(seeds: int) -> Scenario:
    """The same two arms at the largest budget: do the intervals of their differences hold the truth?"""

    def scenario(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
        from compare import planted
        from compare.scaling import analyse

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
    findings: "tuple[Finding, ...]",
    truth: dict[str, float],
    seeds: int,
    bar: tuple[float, float] = COVERAGE,
) -> Iterator[Outcome]:
    for finding in findings:
        if finding.primary and finding.quantity in truth:
            held = finding.low <= truth[finding.quantity] <= finding.high
            yield f"interval of {finding.quantity}, {seeds} seeds", bar, held


def against_itself(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
    """One arm under two names: a verdict is a false alarm, for all of a study and for each fit alone."""
    from compare import planted
    from compare.scaling import analyse

    announced = ("exponent", "compute_multiplier", "final_loss", "final_error")
    evidence = planted.study(planted.Truth(), planted.Truth(), announced, rng)
    results = analyse(evidence, draws=draws, variants=FITTED)
    family = [finding for finding in results.findings if finding.primary]
    yield "any false alarm of a study, A/A", ALARMS, any(_decided(f) for f in family)
    for finding in results.findings:
        if finding.quantity in ("exponent", "compute_multiplier", "slope_ratio"):
            yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, _decided_alone(finding)


def differing_from_itself(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
    """One arm under two names at one budget: false alarms of a difference."""
    from compare import planted
    from compare.scaling import analyse

    quantities, top = ("final_loss", "final_error"), planted.BUDGETS[-1:]
    evidence = planted.study(planted.Truth(), planted.Truth(), quantities, rng, budgets=top)
    for finding in analyse(evidence, draws=draws, variants=FITTED).findings:
        if finding.quantity in quantities:
            yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, _decided_alone(finding)


def shifting(seeds: int) -> Scenario:
    """An arm that decays slower, and gains more from thinking the further the shift, against another."""

    def scenario(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
        from compare.planted_shift import CONTRASTS, Shifted, study
        from compare.scaling import analyse

        arm, baseline = Shifted(cheapest=(0.6, 0.55, 0.5, 0.45), gain=(0.05, 0.1, 0.15, 0.2)), Shifted()
        found = analyse(study(arm, baseline, CONTRASTS, rng, seeds=seeds), draws=draws, variants=FITTED)
        truth = {
            "decay_slope": arm.slope - baseline.slope,
            "retained_share": arm.retained - baseline.retained,
            "thinking_gain": arm.gain[0],
        }
        yield from _covered(found.findings, truth, seeds, AT_LEAST)

    return scenario


def shifting_alike(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
    """One arm under two names, whose gain from thinking is the same at every shift; one that has none."""
    from compare.planted_shift import CONTRASTS, Shifted, study
    from compare.scaling import analyse

    for truth, gains in ((Shifted(), False), (Shifted(gain=(0.0,) * 4), True)):
        found = analyse(study(truth, truth, CONTRASTS, rng), draws=draws, variants=FITTED).findings
        for finding in found:
            if finding.primary and (finding.quantity == "thinking_gain") == gains:
                yield f"false alarm of {finding.quantity} alone, A/A", ALARMS, _decided_alone(finding)


def unresolved(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
    """Losses that do not fall, and two budgets only: no fitted quantity may be decided."""
    from compare import planted
    from compare.scaling import analyse

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


def power_of_loss(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
    """A tenth less loss under noise of 5% a run: found at the seeds that a pilot of three names?"""
    from compare import planted

    baseline = planted.Truth(alpha=1e-9)
    arm = replace(baseline, floor=baseline.floor * (1 - EFFECT), scale=baseline.scale * (1 - EFFECT))
    effect = EFFECT * baseline.loss(planted.BUDGETS[-1])
    yield from _power(
        "final_loss", arm, baseline, effect, planted.Noise(loss=0.05), planted.BUDGETS[-1:], rng, draws
    )


def power_of_multiplier(rng: "np.random.Generator", draws: int) -> Iterator[Outcome]:
    """A compute multiplier of 1.1 under noise of 1% a run: found at the seeds that a pilot of three names?"""
    from compare import planted

    baseline = planted.Truth()
    arm, effect = baseline.with_multiplier(1 + EFFECT), math.log(1 + EFFECT)
    yield from _power(
        "compute_multiplier", arm, baseline, effect, planted.Noise(loss=0.01), planted.BUDGETS, rng, draws
    )


def _power(
    quantity: str,
    arm: "Truth",
    baseline: "Truth",
    effect: float,
    noise: "Noise",
    budgets: tuple[float, ...],
    rng: "np.random.Generator",
    draws: int,
) -> Iterator[Outcome]:
    from compare import planted
    from compare.power import seeds_needed
    from compare.scaling import analyse

    def found(seeds: int) -> "Finding":
        evidence = planted.study(arm, baseline, (quantity,), rng, noise=noise, seeds=seeds, budgets=budgets)
        return analyse(evidence, draws=draws, variants=FITTED).findings[0]

    # The spread is the pilot's, the effect the planner's: a pilot's own effect flatters itself.
    needed = seeds_needed(replace(_estimate(found(3)), value=effect), margin=0.0)
    yield (
        f"a planted 10% of {quantity} found at the seeds named",
        FOUND,
        needed is not None and found(needed).verdict == "ahead",
    )


def _estimate(finding: "Finding") -> "Estimate":
    """A finding's numbers on the scale they were judged on."""
    from compare.stats import Estimate

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


def _decided(finding: "Finding") -> bool:
    return finding.verdict in ("ahead", "behind")


def _decided_alone(finding: "Finding") -> bool:
    """Whether it would be decided if it were the only comparison."""
    from compare.stats import verdict

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


def _one(task: tuple[int, int, int, int]) -> list[Outcome]:
    """One study of a scenario."""
    import numpy as np

    scenario, seed, i, draws = task
    return list(SCENARIOS[scenario][0](np.random.default_rng((seed, scenario, i)), draws))


def calibrate(
    studies: int,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Check]:
    """Every scenario `studies` times, cheap ones CHEAP times that.

    The same seed gives the same rates, whatever the workers.

    Args:
        progress: called with the studies done and the studies in all.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    tasks = [(s, seed, i, draws) for s, (_, times) in enumerate(SCENARIOS) for i in range(studies * times)]
    checks: dict[str, Check] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        outcomes_of = map(_one, tasks) if workers == 1 else pool.map(_one, tasks, chunksize=8)
        for done, outcomes in enumerate(outcomes_of, start=1):
            for name, bar, hit in outcomes:
                checks[name] = checks.get(name, Check(name=name, bar=bar)).count(hit)
            if progress is not None:
                progress(done, len(tasks))
    return list(checks.values())


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 1 if a bar is missed, 2 for a number of studies that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.calibrate",
        description="Plant studies with a known truth, analyse them as any experiment is, and count how "
        "often the answer is right: coverage of intervals, false alarms, power, restraint. The last line "
        "is one JSON object; exit status 1 unless every rate lies within its bar.",
    )
    parser.add_argument(
        "--studies",
        type=int,
        default=500,
        metavar="N",
        help=f"studies a scenario (500); {CHEAP} times as many of those that fit nothing",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything planted (0)")
    parser.add_argument("--workers", type=int, default=1, help="studies analysed at once (1)")
    options = parser.parse_args(arguments)
    for name, least in (("studies", 1), ("seed", 0), ("workers", 1)):
        if getattr(options, name) < least:
            print(f"--{name} {getattr(options, name)}: must be at least {least}", file=sys.stderr)
            return 2
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table

    from compare.display import PLAIN_EVERY, clock

    console = Console()
    begun = time.monotonic()
    columns = (TextColumn("planted studies"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task, told = bar.add_task(""), begun

        def progress(done: int, total: int) -> None:
            nonlocal told
            bar.update(task, completed=done, total=total)
            now = time.monotonic()
            if not errors.is_terminal and now - told > PLAIN_EVERY:
                told, left = now, (now - begun) * (total - done) / done
                print(f"[{done}/{total}] planted studies  {clock(left)} left", file=sys.stderr, flush=True)

        checks = calibrate(options.studies, seed=options.seed, workers=options.workers, progress=progress)
    table = Table("check", "rate", "95% interval", "bar", "studies", "verdict")
    for check in checks:
        low, high = check.interval
        table.add_row(
            check.name,
            f"{check.rate:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{check.bar[0]:g} to {check.bar[1]:g}",
            str(check.of),
            check.word,
        )
    console.print(table)
    summary = {
        "name": "calibrate",
        "studies": options.studies,
        "seed": options.seed,
        "draws": DRAWS,
        "seconds": round(time.monotonic() - begun, 1),
        "held": all(check.word == HELD for check in checks),
        "checks": [
            {
                "name": check.name,
                "rate": round(check.rate, 4),
                "interval": [round(end, 4) for end in check.interval],
                "bar": check.bar,
                "of": check.of,
                "word": check.word,
            }
            for check in checks
        ],
    }
    # Plain print: one line, whatever the terminal's width.
    print(json.dumps(summary), flush=True)
    return 0 if summary["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
