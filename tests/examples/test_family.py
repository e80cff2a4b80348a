"""The family that docs/extending.md shows: one folder, one line in the list of families; its arm trains."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

import controls
from arena.config import ConfigError
from arena.data import Batch, collate
from arena.effort import vocabulary
from arena.tasks import build_task
from compare.folders import conf_folder
from compare.plan import families
from compare.plan.cells import expand
from compare.plan.config import Logger, Request, Root, register
from compare.plan.planned import Planned
from compare.run.cell import run_cell
from compare.store.claims import Store

FOLDER = Path(__file__).parent / "family"
LINE = "controls.bigram.family:BIGRAM"
SMALL = ("task=addition", "task.batch=16", "size=8xs", "trainer.problems=32", "trainer.accelerator=cpu")


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder beside the other controls, and its one line in the list of families."""
    monkeypatch.setattr(controls, "__path__", [*controls.__path__, str(FOLDER)])
    for kind, family in families.load([LINE]).items():
        monkeypatch.setitem(families.FAMILIES, kind, family)
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def planned(*overrides: str) -> Planned:
    """The cell of `arm=bigram`, whose file stands beside those of conf/arm."""
    search = f"hydra.searchpath=[file://{FOLDER / 'conf'}]"
    root = OmegaConf.to_object(compose("config", overrides=[search, "arm=bigram", *SMALL, *overrides]))
    assert isinstance(root, Root)
    (cell,) = expand(Request(root=root, overrides=()))
    return cell


def test_a_cell_of_it_is_planned_trained_and_recorded(tmp_path: Path) -> None:
    plan = planned("budget.flops=2e8")
    store = Store(tmp_path)
    store.prepare()
    record = run_cell(plan, store, "abc", Logger(name="none"), lambda said: None)
    assert record.status == "done", record.traceback
    assert 0.9 * plan.flops < record.flops <= plan.flops
    assert record.parameters == {"total": plan.parameters, "non_embedding": plan.non_embedding}
    efforts = ("refine_1", "refine_4", "refine_2")
    for metric in ("loss", "exact"):
        for severity in (0, 1):
            found = [e for e in record.evaluations if (e.metric, e.severity) == (metric, severity)]
            assert tuple(e.effort for e in found) == efforts
            costs = {e.effort: e.flops for e in found}
            assert 0 < costs["refine_1"] < costs["refine_2"] < costs["refine_4"]
    losses = [loss for loss in record.history["loss"] if loss is not None]
    assert losses[-1] < losses[0] - 0.3
    # The report explains its efforts, and analyses of thinking read them, without an entry anywhere.
    assert vocabulary(e.effort for e in record.evaluations) == {"refine_K": "K steps of the kind refine."}
    assert families.family(plan.cell).thinks


def test_its_flops_are_those_that_torch_counts() -> None:
    plan = planned()
    task = build_task(plan.cell.task)
    module = families.family(plan.cell).build(plan.cell, task)
    problems = [task.problem("train", 0, i) for i in range(4)]
    with FlopCounterMode(display=False) as counter:
        spent = module.solve(problems, "refine_4").flops
    assert counter.get_total_flops() == spent
    batch: Batch = collate(problems, task.pad)
    with FlopCounterMode(display=False) as counter:
        spent = module.evaluate(batch, "refine_1").flops
    assert counter.get_total_flops() == spent
    total = sum(p.numel() for p in module.parameters())
    assert (total, module.non_embedding_parameters()) == families.family(plan.cell).parameters(
        plan.cell, task
    )


def test_a_ladder_it_cannot_climb_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"think_2 is no effort; write refine_4 for 4 steps"):
        planned("arm.ladder=[think_2]")
    with pytest.raises(ConfigError, match=r"arm\.steps=0: must be at least 1"):
        planned("arm.steps=0")


def test_without_its_line_in_the_list_there_is_no_such_family(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    monkeypatch.delitem(families.FAMILIES, "bigram")
    with pytest.raises(KeyError, match="bigram"):
        families.family(plan.cell)


def test_docs_print_it_whole() -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    files = [*(FOLDER / "bigram").glob("[a-z]*.py"), FOLDER / "conf" / "arm" / "bigram.yaml"]
    assert len(files) == 5
    for file in files:
        assert file.read_text() in page, file.name
    assert f'"{LINE}"' in page
