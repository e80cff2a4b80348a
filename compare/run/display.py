"""What a person sees: the table of a dry run, and progress with the time left."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from compare.analysis.text import seconds_text
from compare.plan.cost import expected_seconds
from compare.plan.planned import Planned
from compare.run.outcome import Notice, Outcome

PLAIN_EVERY = 10.0
"""Seconds between two lines where the output is no terminal."""


def plan_table(plan: list[Planned], done: set[str], rates: dict[str, float], workers: int) -> Table:
    """The cells of a plan with parameters, FLOPs and expected time; seeds and trials share a row."""
    table = Table(title=f"{len(plan)} cells, {len(done)} done")
    for column in ("study", "arm", "size"):
        table.add_column(column)
    runs = "trials x seeds" if any(planned.trial for planned in plan) else "seeds"
    for column in ("parameters", "non-embedding", "FLOPs", runs, "done", "expected"):
        table.add_column(column, justify="right")
    groups: dict[tuple[str, str, str, float], list[Planned]] = {}
    for planned in plan:
        cell = planned.cell
        key = (planned.study, cell.arm.name, cell.size.name, planned.flops)
        groups.setdefault(key, []).append(planned)
    left = 0.0
    for (study, arm, size, flops), members in groups.items():
        open_cells = [p for p in members if p.identity not in done]
        seconds = sum(expected_seconds(arm, flops, rates) for _ in open_cells)
        left += seconds
        table.add_row(
            study,
            arm,
            size,
            f"{members[0].parameters:,}",
            f"{members[0].non_embedding:,}",
            f"{flops:.2e}",
            str(len(members)),
            str(len(members) - len(open_cells)),
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.progress.stop()

    def tell(self, identity: str, what: float | str) -> None:
        """A running cell has spent so many FLOPs, or has news."""
        if isinstance(what, str):
            self.said(identity, what)
        else:
            self.spent(identity, what)

    def spent(self, identity: str, flops: float) -> None:
        """A cell has spent so much of its budget."""
        self.share[identity] = min(1.0, flops / self.flops[identity])
        if self.live:
            self.progress.update(self.task, flops=self._flops(), left=self._left())
        elif self._due:
            self._line(f"{len(self.share) - self.count} cells running")

    def said(self, identity: str, news: str) -> None:
        """A running cell has news. Its log keeps all of it; here a line now and then is enough.

        What went wrong is never left out.
        """
        if not isinstance(news, Notice) and time.monotonic() - self.newest <= PLAIN_EVERY:
            return
        self.newest = time.monotonic()
        self._line(f"{self.labels[identity]}: {news}")

    def ended(self, outcome: Outcome) -> None:
        """A cell has ended."""
        identity = outcome.planned.identity
        self.share[identity] = 1.0
        self.count += 1
        failed = outcome.status == "failed"
        text = outcome.reason if failed else outcome.headline
        took = seconds_text(outcome.seconds)
        line = f"{self.labels[identity]}: {'FAILED ' if failed else ''}{text} ({took})"
        if self.live:
            self.progress.update(self.task, advance=1, flops=self._flops(), left=self._left())
        shown = not self.live and (self.count == len(self.flops) or self._due)
        if failed or shown:
            self._line(line)

    @property
    def _due(self) -> bool:
        """Whether the last plain line is old enough for another."""
        return time.monotonic() - self.told > PLAIN_EVERY

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
