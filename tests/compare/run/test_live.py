"""A run that is still training says where its entropy law leads, or why it cannot."""

import io
import re
import time
from collections.abc import Callable
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from arena.config import Addition
from arena.policy import Policy
from arena.rollout import Rollout
from arena.seeding import generator
from arena.tasks.base import Problem
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import watch
from compare.run.cell import run_cell
from compare.run.display import Display
from compare.run.mirror import log_history
from compare.run.watch import law_so_far
from compare.stats.rl_history import Unfit
from compare.store.claims import Store
from ebt.config import EBTArm
from rl_baseline.config import RLArm
from rl_baseline.module import RLModule
from rl_baseline.probe import Probe
from tests.compare.planted import ceiling as planted
from tests.compare.planted.cells import alone


def test_the_line_holds_ceiling_interval_and_where_the_run_stands() -> None:
    entropy = planted.falling(0.5)
    rewards = planted.lawful(entropy) + planted.noise(np.random.default_rng(0), 0.03)
    history = planted.history(entropy, rewards)
    found = re.fullmatch(
        r"entropy law so far: ceiling (\S+) \[(\S+), (\S+)\], now (\S+) at H (\S+)", law_so_far(history).text
    )
    assert found
    ceiling, low, high, reward, left = (float(x) for x in found.groups())
    assert low <= 0.7 <= high
    assert low < high
    assert ceiling == pytest.approx(0.7, abs=0.05)
    assert reward == pytest.approx(planted.lawful(entropy)[-20:].mean(), abs=0.02)
    assert left == pytest.approx(entropy[-20:].mean(), abs=0.006)
    assert law_so_far(history) == law_so_far(history)


def test_a_history_that_is_too_short_gives_the_reason() -> None:
    entropy = planted.falling(0.5, rows=3)
    with pytest.raises(Unfit, match="3 rows to fit on, 5 are needed"):
        law_so_far(planted.history(entropy, entropy))
    with pytest.raises(Unfit, match="its history has no column"):
        law_so_far({})


def test_a_ceiling_that_cannot_be_is_marked() -> None:
    entropy = planted.falling(0.7)
    history = planted.history(entropy, planted.lawful(entropy, 0.9, 2.2))
    assert "(impossible)" in law_so_far(history).text


@pytest.fixture
def lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rewards by chance: what so small a policy earns is always nothing, and a constant has no law."""

    def rewards(self: RLModule, problems: list[Problem], rollout: Rollout) -> Tensor:
        self.reward_queries += len(problems)
        return (torch.rand(len(problems), generator=generator("cpu", "luck", self.problems)) < 0.5).float()

    monkeypatch.setattr(RLModule, "rewards", rewards)


@pytest.fixture
def planned(tiny_cell: Callable) -> Callable[..., Planned]:
    def build(arm: object, **settings: object) -> Planned:
        cell = tiny_cell(arm, Addition(name="addition", min_digits=2, batch=16), **settings)
        return alone(cell)

    return build


def test_a_running_cell_tells_it_a_few_times_and_only_if_trained_by_reward(planned, tmp_path, lucky) -> None:
    store = Store(tmp_path)
    store.prepare()
    told: list[float | str] = []
    one = planned(RLArm(name="rl_grpo", prompts=4, group=4), flops=5e8)
    run_cell(one, store, "c", Logger(name="none"), told.append)
    news = [line for line in told if isinstance(line, str)]
    assert 1 <= len(news) <= len(watch.FORECAST_AT)
    assert all(line.startswith("entropy law so far: ceiling") for line in news)
    log = (store.folder(one.identity) / "log.txt").read_text()
    assert all(line in log for line in news)
    other: list[float | str] = []
    run_cell(
        planned(EBTArm(name="ebt_s1"), flops=4e8),
        store,
        "c",
        Logger(name="none"),
        other.append,
    )
    assert not any(isinstance(line, str) for line in other)


def test_telling_it_changes_nothing_of_the_record(planned, tmp_path, lucky, monkeypatch) -> None:
    one = planned(RLArm(name="rl_grpo", prompts=4, group=4), flops=3e8)
    histories = []
    for name, shares in (("with", watch.FORECAST_AT), ("without", ())):
        monkeypatch.setattr(watch, "FORECAST_AT", shares)
        store = Store(tmp_path / name)
        store.prepare()
        record = run_cell(one, store, "c", Logger(name="none"), lambda flops: None)
        histories.append((record.history, record.evaluations))
    assert histories[0] == histories[1]


def test_the_time_of_the_probe_is_no_training_time(planned, tmp_path, lucky, monkeypatch) -> None:
    take = Probe.take

    def slow(self: Probe, policy: Policy) -> dict[str, float]:
        time.sleep(0.5)
        return take(self, policy)

    monkeypatch.setattr(Probe, "take", slow)
    inside: list[float] = []
    fit = lightning.Trainer.fit

    def timed(*arguments: Any, **settings: Any) -> None:
        begun = time.perf_counter()
        fit(*arguments, **settings)
        inside.append(time.perf_counter() - begun)

    monkeypatch.setattr(lightning.Trainer, "fit", timed)
    store = Store(tmp_path)
    store.prepare()
    one = planned(RLArm(name="rl_grpo", prompts=4, group=4, probe=2), flops=2e8)
    record = run_cell(one, store, "c", Logger(name="none"), lambda flops: None)
    probes = sum(x is not None for x in record.history["pass_at_1"])
    assert probes >= 2
    assert record.seconds["evaluate"] > 0.5 * probes
    # What fit took is training and evaluation, each second once.
    assert record.seconds["train"] + record.seconds["evaluate"] == pytest.approx(inside[0], abs=0.2)


def test_the_mirror_gets_forecasts_in_rising_order_of_steps() -> None:
    entropy = planted.falling(0.5)
    history = planted.history(entropy, planted.lawful(entropy))
    rows: list[tuple[int | None, dict[str, float]]] = []

    class Mirror:
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            rows.append((step, metrics))

    log_history(Mirror(), history, (), [(100, law_so_far(history))])  # type: ignore[arg-type]
    assert [step for step, _ in rows[:-1]] == sorted(int(s or 0) for s in history["step"])
    (found,) = [(step, row) for step, row in rows if "entropy_law/ceiling" in row]
    assert found[0] == 100
    assert found[1]["entropy_law/ceiling"] == pytest.approx(0.7)
    assert found[1]["entropy_law/low"] <= found[1]["entropy_law/high"]


def test_the_display_shows_news_now_and_then(planned, monkeypatch) -> None:
    one = planned(RLArm(name="rl_grpo"))
    out = io.StringIO()
    clock = [0.0]
    monkeypatch.setattr("compare.run.display.time.monotonic", lambda: clock[0])
    display = Display(Console(file=out, width=200), [one], {}, 1)
    for moment in (3.0, 11.0, 12.0, 25.0):
        clock[0] = moment
        display.tell(one.identity, f"news at {moment:.0f}")
    shown = out.getvalue()
    assert "rl_grpo" in shown
    assert [moment in shown for moment in ("at 3", "at 11", "at 12", "at 25")] == [False, True, False, True]
