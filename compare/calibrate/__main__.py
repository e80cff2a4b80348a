"""`python -m compare.calibrate`: is the analysis right as often as it says?

Records with a planted truth go through the analysis of every experiment, many times over. Checked are
* coverage: 95% intervals hold the planted truth in 93 to 97% of the studies, of decay and of gains from
  thinking in at least 93%;
* false alarms: an arm against itself is called ahead or behind in at most 5%;
* power: a planted effect of 10% is found in at least 80% at the seeds that a pilot of three names;
* restraint: where nothing can be resolved, the verdict is `undecided`.

Rates come with the 95% interval that so many studies leave (Clopper and Pearson 1934). A bar is `held`
if the rate lies within it, `missed` if not even the interval reaches it, and `not told apart` in
between: a test that is exact at 5% lands above a bar of 5% every second time, whatever the number of
studies. The exit status asks for the first, so that a bar is not met by doing fewer studies. What is cheap
(differences at one budget) is done many times over.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from compare.calibrate.scenarios import CHEAP, SCENARIOS, one

DRAWS = 500
"""Bootstrap draws within one run, where one is all there is; a report takes more."""
PLAIN_EVERY = 10.0
"""Seconds between two lines of progress where the output is no terminal."""
HELD, MISSED, NOT_TOLD = "held", "missed", "not told apart"
"""A rate within its bar; one whose whole interval lies outside; one outside whose interval reaches it."""


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
        """HELD, MISSED or NOT_TOLD: does the rate lie within its bar, or may it, given its interval?"""
        (least, most), (low, high) = self.bar, self.interval
        if self.of and least <= self.rate <= most:
            return HELD
        return NOT_TOLD if high >= least and low <= most else MISSED

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the rate (Clopper and Pearson)."""
        from scipy.stats import binomtest

        if not self.of:
            return 0.0, 1.0
        ends = binomtest(self.hits, self.of).proportion_ci()
        return float(ends.low), float(ends.high)

    def count(self, hit: bool) -> "Check":
        """With one more study."""
        return replace(self, hits=self.hits + hit, of=self.of + 1)


def calibrate(
    studies: int,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Check]:
    """Every scenario `studies` times, cheap ones CHEAP times that.

    The same seed gives the same rates, whatever the workers.

    Args:
        progress: called with the studies done and the studies in all.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    tasks = [(s, seed, i, draws) for s, (_, times) in enumerate(SCENARIOS) for i in range(studies * times)]
    # Scenarios differ in cost: mixed evenly, what is done tells how long the rest takes.
    tasks.sort(key=lambda task: (task[2] / (studies * SCENARIOS[task[0]][1]), task))
    checks: dict[str, Check] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        outcomes_of = map(one, tasks) if workers == 1 else pool.map(one, tasks, chunksize=8)
        for done, outcomes in enumerate(outcomes_of, start=1):
            for name, bar, hit in outcomes:
                checks[name] = checks.get(name, Check(name=name, bar=bar)).count(hit)
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
    studies = f"studies per scenario (500); {CHEAP} times as many of those that fit nothing"
    parser.add_argument("--studies", type=int, default=500, metavar="N", help=studies)
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

    from compare.analysis.text import seconds_text

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
                line = f"[{done}/{total}] planted studies  {seconds_text(left)} left"
                print(line, file=sys.stderr, flush=True)

        checks = calibrate(options.studies, seed=options.seed, workers=options.workers, progress=progress)
    table = Table("check", "rate", "95% interval", "bar", "studies", "verdict")
    rows = []
    for check in checks:
        rate, (low, high), (least, most) = check.rate, check.interval, check.bar
        interval, bar_text = f"{low:.3f} to {high:.3f}", f"{least:g} to {most:g}"
        table.add_row(check.name, f"{rate:.3f}", interval, bar_text, str(check.of), check.word)
        numbers = {"rate": round(rate, 4), "interval": [round(low, 4), round(high, 4)], "bar": check.bar}
        rows.append({"name": check.name, **numbers, "of": check.of, "word": check.word})
    Console().print(table)
    held = all(check.word == HELD for check in checks)
    plan = {"name": "calibrate", "studies": options.studies, "seed": options.seed, "draws": DRAWS}
    summary = {**plan, "seconds": round(time.monotonic() - begun, 1), "held": held, "checks": rows}
    # Plain print: one line, whatever the terminal's width.
    print(json.dumps(summary), flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
