"""Cells are mirrored elsewhere: one run a cell, with configuration, history, figures and record, offline."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from arena.config import Addition, ConfigError
from compare.plan.config import Logger
from compare.plan.planned import Planned
from compare.run import mirror as module
from compare.run.cell import run_cell
from compare.run.mirror import Mirror, check, draw
from compare.store.claims import Store
from compare.store.record import Record
from ebt.config import EBTArm
from rl_baseline.config import TransformerArm
from tests.compare.planted.cells import alone


@pytest.fixture
def planned(tiny_cell) -> Callable[..., Planned]:
    def build(arm: object = None, **settings: object) -> Planned:
        cell = tiny_cell(
            arm or TransformerArm(name="transformer"),
            Addition(name="addition", min_digits=2, batch=16),
            **{"flops": 2e8, **settings},
        )
        return alone(cell, "sums")

    return build


def run(one: Planned, folder: Path, logger: Logger) -> Record:
    store = Store(folder)
    store.prepare()
    return run_cell(one, store, "abc", logger, lambda flops: None)


class Run:
    """Stands in for a run of Weights & Biases and keeps what it was told."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.rows, self.artifacts, self.summary = settings, [], [], {}
        self.exit_code: int | None = None


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Every run that was begun, with Lightning's logger and the module itself replaced."""
    begun: list[Run] = []

    class Backend:
        def __init__(self, **settings: Any) -> None:
            assert not begun or begun[-1].exit_code is not None, "the run before is still open"
            begun.append(Run(**settings))
            self.experiment = SimpleNamespace(
                log=begun[-1].rows.append,
                summary=begun[-1].summary,
                log_artifact=begun[-1].artifacts.append,
            )

        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            begun[-1].rows.append(metrics)

        def save(self) -> None: ...
        def finalize(self, status: str) -> None: ...

    class Artifact(SimpleNamespace):
        def add_file(self, path: str, name: str) -> None:
            self.files = {name: Path(path).read_text()}

    def finish(exit_code: int) -> None:
        begun[-1].exit_code = exit_code

    fake = ModuleType("wandb")
    fake.Image = lambda figure: ("image", figure)  # type: ignore[attr-defined]
    fake.Artifact = lambda name, **more: Artifact(name=name, **more)  # type: ignore[attr-defined]
    fake.finish = finish  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    from lightning.pytorch import loggers

    # Training itself is not what is tested: the backend is no Lightning logger.
    monkeypatch.setattr(loggers, "WandbLogger", Backend)
    return begun


def kept(one: Planned, record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("the record")
    with Mirror(one, Logger(name="wandb", group="scaling"), tmp_path) as mirror:
        mirror.open()
        mirror.keep(record, path, [])
        mirror.close(failed=record.status == "failed")


@pytest.fixture
def record(planned, tmp_path: Path) -> Record:
    return run(planned(), tmp_path / "plain", Logger(name="none"))


def test_a_run_holds_group_type_configuration_history_figures_and_record(
    planned, runs: list[Run], record: Record, tmp_path: Path
) -> None:
    one = planned()
    kept(one, record, tmp_path)
    (only,) = runs
    assert only.settings["group"] == "scaling"
    assert only.settings["job_type"] == "transformer"
    assert only.settings["id"] == one.identity
    assert only.settings["resume"] == "allow"
    config = only.settings["config"]
    assert config["arm"]["name"] == "transformer"
    assert config["task"]["min_digits"] == 2
    assert {"size", "trainer", "budget", "seed", "study", "cell"} <= config.keys()
    losses = [row["loss"] for row in only.rows if "loss" in row]
    assert losses == [x for x in record.history["loss"] if x is not None]
    assert any("final/loss/likelihood/digits_0" in row for row in only.rows)
    (head,) = [row for row in only.rows if "headline/loss" in row]
    loss, exact = record.find("loss"), record.find("exact", effort="greedy")
    assert loss is not None
    assert exact is not None
    assert head["headline/loss"] == loss.value
    assert head["headline/answer_error"] == 1 - exact.value
    (images,) = [row for row in only.rows if "figures/loss" in row]
    assert images["figures/loss"][0] == "image"
    (artifact,) = only.artifacts
    assert (artifact.type, artifact.files) == ("record", {"record.json": "the record"})
    assert only.exit_code == 0


def test_cells_of_one_process_are_runs_of_their_own(
    planned, runs: list[Run], record: Record, tmp_path: Path
) -> None:
    for seed in range(3):
        kept(planned(seed=seed), record, tmp_path)
    assert len({one.settings["id"] for one in runs}) == 3
    assert [one.exit_code for one in runs] == [0, 0, 0]


def test_a_failed_cell_is_a_failed_run(planned, runs: list[Run], tmp_path: Path) -> None:
    record = run(planned(EBTArm(name="ebt_s1", alpha=1e38)), tmp_path / "plain", Logger(name="none"))
    assert record.status == "failed"
    kept(planned(), record, tmp_path)
    assert (runs[0].exit_code, runs[0].summary["status"]) == (1, "failed")


def test_a_cell_that_is_stopped_leaves_no_run_open(planned, runs: list[Run], tmp_path: Path) -> None:
    def stopped() -> None:
        with Mirror(planned(), Logger(name="wandb"), tmp_path) as mirror:
            mirror.open()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert runs[0].exit_code == 1


def test_a_mirror_that_breaks_costs_no_record(planned, tmp_path: Path, monkeypatch) -> None:
    def broken(*arguments: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(Mirror, "keep", broken)
    told: list[float | str] = []
    store = Store(tmp_path)
    store.prepare()
    one = planned()
    record = run_cell(one, store, "c", Logger(name="csv"), told.append)
    assert record.status == "done"
    assert store.record(one.identity) == record
    assert [line for line in told if isinstance(line, str)] == ["not mirrored (ConnectionError: no route)"]


def test_csv_works_out_of_the_box(planned, tmp_path: Path) -> None:
    one = planned()
    record = run(one, tmp_path, Logger(name="csv"))
    assert record.status == "done", record.traceback
    with (tmp_path / "cells" / one.identity / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row.get("loss")]
    assert losses == pytest.approx([x for x in record.history["loss"] if x is not None])
    loss = record.find("loss")
    assert loss is not None
    assert [float(row["headline/loss"]) for row in rows if row.get("headline/loss")] == [loss.value]


def test_tensorboard_holds_the_history_and_figures(planned, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    one = planned()
    record = run(one, tmp_path, Logger(name="tensorboard"))
    assert record.status == "done", record.traceback
    events = EventAccumulator(str(tmp_path / "cells" / one.identity / "tensorboard"))
    events.Reload()
    assert "headline/loss" in events.Tags()["scalars"]
    assert "loss" in events.Tags()["images"]
    assert len(events.Scalars("loss")) == sum(x is not None for x in record.history["loss"])


def test_what_is_missing_is_named_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"logger=tensorboard: .* pip install 'ebt-arena\[tensorboard\]'"):
        check(Logger(name="tensorboard"))
    fake = ModuleType("wandb")
    fake.api = SimpleNamespace(api_key=None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(ConfigError, match="run wandb login"):
        check(Logger(name="wandb", mode="online"))
    for fine in (Logger(name="wandb"), Logger(name="csv"), Logger(name="none")):
        check(fine)


def test_a_history_without_a_column_has_no_figure_of_it() -> None:
    columns: dict[str, list[float | None]] = {
        "flops": [1.0, 2.0, 3.0],
        "loss": [3.0, None, 2.0],
        "reward": [None, None, 0.5],
    }
    assert list(draw(columns)) == ["loss"]
    assert draw({}) == {}


def test_weights_and_biases_offline_for_two_cells_of_one_process(
    planned, tmp_path: Path, monkeypatch
) -> None:
    """The real thing, with every folder in a temporary place."""
    monkeypatch.chdir(tmp_path)
    for key in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(key, str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    cells = [planned(seed=seed) for seed in range(2)]
    for one in cells:
        record = run(one, tmp_path, Logger(name="wandb", group="scaling"))
        assert record.status == "done", record.traceback
        log = (tmp_path / "cells" / one.identity / "log.txt").read_text()
        assert "not mirrored" not in log
        (folder,) = tmp_path.glob(f"cells/{one.identity}/wandb/offline-run-*-{one.identity}")
        assert list(folder.glob("files/media/images/figures/loss*.png"))
    import wandb

    assert wandb.run is None
