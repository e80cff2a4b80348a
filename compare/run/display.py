"""What a person sees: the table of a dry run, and progress with the time left."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

from compare.analysis.text import seconds_text
from compare.plan.cost import expected_seconds
from compare.plan.planned import Planned
from compare.run.outcome import Notice, Outcome

PLAIN_EVERY = 10.0
"""Seconds between two lines where the output is no terminal."""


def plan_table(plan: list[Planned], done: set[str], rates: dict[str, float], workers: int) -> Table:
    """The cells of a plan with parameters, FLOPs and expected time; seeds and trials share a row."""
    runs = "trials x seeds" if any(planned.trial for planned in plan) else "seeds"
    numbers = ("parameters", "non-embedding", "FLOPs", runs, "done", "expected")
    table = Table("study", "arm", "size", *(Column(name, justify="right") for name in numbers))
    table.title = f"{len(plan)} cells, {len(done)} done"
    groups: dict[tuple[str, str, str, float], list[Planned]] = {}
    for planned in plan:
        cell = planned.cell
        key = (planned.study, cell.arm.name, cell.size.name, planned.flops)
        groups.setdefault(key, []).append(planned)
    left = 0.0
    for (study, arm, size, flops), members in groups.items():
        ended = sum(p.identity in done for p in members)
        seconds = (len(members) - ended) * expected_seconds(arm, flops, rates)
        left += seconds
        table.add_row(
            study,
            arm,
            size,
            f"{members[0].parameters:,}",
            f"{members[0].non_embedding:,}",
            f"{flops:.2e}",
            str(len(members)),
            str(ended),
            seconds_text(seconds),
        )
    source = "rates of this store's records" if rates else "assumed rates: nothing has run here yet"
    table.caption = f"about {seconds_text(left / workers)} to go on {workers} workers ({source})"
    return table


class Display:
    """One progress line: cells, FLOPs, time left. Off a terminal, a plain line now and then."""

    def __init__(self, console: Console, plan: list[Planned], rates: dict[str, float], workers: int) -> None:
        self.console, self.workers = console, workers
        self.expected = {p.identity: expected_seconds(p.cell.arm.name, p.flops, rates) for p in plan}
        self.flops = {p.identity: p.flops for p in plan}
        self.labels = {p.identity: p.listed.label for p in plan}
        self.share: dict[str, float] = {}
        self.began = self.told = self.newest = time.monotonic()
        self.count = 0
        self.live = console.is_terminal
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[flops]}  {task.fields[left]}"),
            console=console,
        )
        self.task = self.progress.add_task("cells", total=len(plan), flops="", left="")

    def __enter__(self) -> "Display":
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, *trouble: object) -> None:
        if self.live:
            self.progress.stop()

    def tell(self, identity: str, what: float | str) -> None:
        """A running cell has spent so many FLOPs, or has news.

        Its log keeps all news; here a line now and then is enough. What went wrong is never left out.
        """
        if not isinstance(what, str):
            self.share[identity] = min(1.0, what / self.flops[identity])
            self._update(f"{len(self.share) - self.count} cells running")
        elif isinstance(what, Notice) or time.monotonic() - self.newest > PLAIN_EVERY:
            self.newest = time.monotonic()
            self._line(f"{self.labels[identity]}: {what}")

    def ended(self, outcome: Outcome) -> None:
        """A cell has ended."""
        identity = outcome.planned.identity
        self.share[identity] = 1.0
        self.count += 1
        failed = outcome.status == "failed"
        text = f"FAILED {outcome.reason}" if failed else outcome.headline
        line = f"{self.labels[identity]}: {text} ({seconds_text(outcome.seconds)})"
        if failed:
            self._line(line)
        self._update(line, last=self.count == len(self.flops) and not failed)

    def _update(self, line: str, last: bool = False) -> None:
        """Move the bar; where there is none, print the line if it is the last, or one is due."""
        if self.live:
            self.progress.update(self.task, completed=self.count, flops=self._flops(), left=self._left())
        elif last or time.monotonic() - self.told > PLAIN_EVERY:
            self._line(line)

    def _line(self, news: str) -> None:
        """Print a line; where no bar shows the numbers, with them."""
        self.told = time.monotonic()
        numbers = f"[{self.count}/{len(self.flops)}] {self._flops()}  {self._left()} · "
        line = news if self.live else numbers + news
        self.console.print(line, markup=False, highlight=False, soft_wrap=not self.live)

    def _flops(self) -> str:
        spent = sum(self.flops[i] * share for i, share in self.share.items())
        return f"{spent:.2e} of {sum(self.flops.values()):.2e} FLOPs"

    def _left(self) -> str:
        done = sum(self.expected[i] * share for i, share in self.share.items())
        left = sum(self.expected.values()) - done
        elapsed = time.monotonic() - self.began
        # The expectation sets the proportions, what was seen so far the speed.
        speed = done / elapsed if elapsed > 5 and done > 0 else self.workers
        return f"{seconds_text(left / speed)} left"
