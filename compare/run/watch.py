"""What goes on beside a cell's training: progress, evaluations at the end of each stage, forecasts."""

import dataclasses
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import msgspec
import numpy as np
import torch

from arena import ranks
from arena.contender import Contender
from arena.data import held_out
from compare.run import stop, team
from compare.run.evaluate import evaluate
from compare.run.trajectories import trace, traced
from compare.stats.entropy_law import ceiling_of_one_run, fit_law, surely_impossible
from compare.stats.intervals import Estimate
from compare.stats.rl_history import Unfit, last_tenth, rl_trace
from compare.store.descent import Descent
from compare.store.record import Evaluation

REPORT_EVERY = 0.5
"""Seconds between two reports of progress."""
FORECAST_AT = (0.4, 0.6, 0.8)
"""Shares of the budget after which a run that is trained by reward says where its entropy law leads."""
DRAWS = 500
"""Bootstrap draws of a running cell's entropy law; a glance needs no more."""


@dataclass(frozen=True, kw_only=True)
class LawSoFar:
    """The law fitted on everything that a run has logged."""

    ceiling: Estimate
    """With the interval of the block bootstrap within the run."""
    reward: float
    """Now: the mean over the last tenth of the updates."""
    entropy: float
    """Nats, likewise."""

    @property
    def text(self) -> str:
        """One line, such as `entropy law so far: ceiling 0.71 [0.60, 0.83], now 0.55 at H 0.42`."""
        e = self.ceiling
        mark = " (impossible)" if surely_impossible(e) else ""
        line = f"entropy law so far: ceiling {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]{mark}"
        return f"{line}, now {self.reward:.2f} at H {self.entropy:.2f}"


def law_so_far(history: Mapping[str, Sequence[float | None]]) -> LawSoFar:
    """Fit the law on a history so far; the same history gives the same numbers.

    Raises:
        Unfit: no reinforcement learning yet, or too little of it.
    """
    seen = rl_trace(history)
    ceiling = ceiling_of_one_run(fit_law(seen), seen, DRAWS, np.random.default_rng(0))
    return LawSoFar(ceiling=ceiling, reward=last_tenth(seen.reward_T), entropy=last_tenth(seen.entropy_T))


class Watch(lightning.Callback):
    """Reports progress, and evaluates whenever the contender leaves a stage of its training."""

    def __init__(self, contender: Contender, tell: Callable[[float | str], None]) -> None:
        self.contender, self.tell = contender, tell
        self.forecasts: list[tuple[int, LawSoFar]] = []
        """Optimiser step and the entropy law by then."""
        self.environment: dict[str, Any] = {}
        self.evaluations: list[Evaluation] = []
        self.traces: list[Descent] = []
        self.seconds = 0.0
        self._stage: str | None = None
        self._told = 0.0
        self._due = list(FORECAST_AT)

    def training_state(self) -> dict[str, Any]:
        """For a snapshot."""
        return {
            "stage": self._stage,
            "due": self._due,
            "evaluations": [dataclasses.asdict(e) for e in self.evaluations],
            "traces": [dataclasses.asdict(d) for d in self.traces],
            "forecasts": [[step, dataclasses.asdict(law)] for step, law in self.forecasts],
        }

    def restore_training(self, state: dict[str, Any]) -> None:
        """From a snapshot."""
        self._stage, self._due = state["stage"], state["due"]
        self.evaluations = msgspec.convert(state["evaluations"], list[Evaluation])
        self.traces = msgspec.convert(state["traces"], list[Descent])
        self.forecasts = msgspec.convert(state["forecasts"], list[tuple[int, LawSoFar]])

    def on_train_batch_start(self, *given: Any, **named: Any) -> None:
        before, stage = self._stage, self.contender.stage
        if before is not None and before != stage:
            team.by_the_first(lambda: self.evaluate(before))
        self._stage = stage
        if ranks.own() > 0:
            return
        now = time.monotonic()
        if now - self._told > REPORT_EVERY:
            self._told = now
            self.tell(self.contender.flops_spent)
        if self._due and self.contender.share_spent >= self._due[0]:
            self._due.pop(0)
            self.forecast()

    def forecast(self) -> None:
        """Fit the entropy law on what was logged so far and tell it; silent for arms without rewards."""
        columns = self.contender.history.columns(self.contender.cell.trainer.history)
        if "reward" not in columns:
            return
        try:
            law = law_so_far(columns)
        except Unfit:
            return
        self.forecasts.append((self.contender.steps, law))
        print(f"step {self.contender.steps}: {law.text}", flush=True)
        self.tell(law.text)

    def on_train_end(self, trainer: lightning.Trainer, *given: Any, **named: Any) -> None:
        self.contender.history.flush()
        # Here, not after fit, which takes the module off the device that it was trained on.
        team.by_the_first(lambda: self.evaluate("final"))
        device = self.contender.device.type
        self.environment = {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "lightning": lightning.__version__,
            "system": platform.system(),
            "machine": platform.machine(),
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "devices": ranks.count(),
            "threads": torch.get_num_threads(),
            "precision": trainer.precision,
        }

    def evaluate(self, stage: str) -> None:
        """Append the evaluations of a stage, with the final one's traces; before it, in distribution only."""
        begun = time.perf_counter()
        contender, task, settings = self.contender, self.contender.task, self.contender.cell.trainer
        training = contender.training
        contender.eval()
        done = {(e.axis, e.severity) for e in self.evaluations if e.stage == stage}
        final = stage == "final"
        shifts = task.shifts(settings.severities if final else 1)
        try:
            for axis, severity in shifts:
                if (axis, severity) in done:
                    continue
                with stop.at_once():
                    problems = held_out(task, settings.split, settings.problems, severity, axis)
                    evaluations = evaluate(contender, task, problems, axis, severity, stage)
                    descent = None
                    if final and (axis, severity) in traced(shifts):
                        descent = trace(contender, task, problems, axis, severity, stage)
                # Together, so that a snapshot has both or neither.
                self.evaluations += evaluations
                self.traces += [descent] if descent is not None else []
        finally:
            contender.train(training)
            self.seconds += time.perf_counter() - begun
