"""What a search has chosen is kept in a file, used by everything else, and told by reports."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir

from arena.config import Addition, Budget, Cell, ConfigError
from compare.analysis.analyse import analyse
from compare.analysis.blocks import Table
from compare.analysis.caveats import unequal_tuning
from compare.analysis.search.choice import choices
from compare.analysis.search.section import origins
from compare.folders import conf_folder
from compare.plan import chosen, tuned
from compare.plan.cells import expand
from compare.plan.config import Request, Search, register
from compare.store import manifest as manifests
from compare.store.combine import combine
from compare.store.evidence import Evidence, Run, Trouble, collect
from compare.store.manifest import Contrast, Manifest, Settings
from rl_baseline.config import TransformerArm
from tests import fresh
from tests.compare.plan.test_config import root
from tests.compare.planted import scaling
from tests.compare.planted.search import EBT, PLAIN, evidence, planned_trial, run
from tests.conftest import TINY

RATES = Search(trials=2, seed=0, ranges={"all": {"size.lr": [1e-3, 1e-2]}})

# Files.


def written(
    folder: Path, arm: Cell = PLAIN, command: str = "python -m compare +experiment=tune", best: float = 0.5
) -> Path:
    runs = [run(1, 0, 1.0, arm=arm.arm.name), run(3, 0, best, arm=arm.arm.name)]
    (choice,) = choices(evidence(runs))
    choice = dataclasses.replace(choice, size=TINY.name)
    return chosen.write(folder, choice, arm, RATES, command)


def test_a_file_tells_what_was_chosen_and_on_what_grounds(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert path == tmp_path / "addition" / TINY.name / "transformer.yaml"
    found = tuned.read(path)
    assert found.settings == {"size.lr": pytest.approx(0.003)}
    assert (found.trial, found.trials, found.seeds, found.value, found.hand_set_value) == (
        3,
        2,
        [0],
        0.5,
        1.0,
    )
    assert found.records == ["transformer-3-0"]
    assert str(tmp_path) not in path.read_text()


def test_a_file_names_the_command_that_ran_its_trials(tmp_path: Path) -> None:
    before = written(tmp_path).read_text()
    assert written(tmp_path, command="python -m compare +experiment=tune task=text").read_text() == before
    anew = written(tmp_path, command="python -m compare +experiment=tune arm=transformer", best=0.4)
    assert tuned.read(anew).command.endswith("arm=transformer")
    anew.write_text("no such file")
    assert written(tmp_path).read_text() == before  # what cannot be read is replaced


def test_a_cell_gets_what_was_tuned_for_its_task_size_and_arm(tmp_path: Path) -> None:
    written(tmp_path)
    changed, found = tuned.apply("s", PLAIN, tmp_path, set())
    assert found is not None
    assert changed.size.lr == pytest.approx(0.003)
    assert tuned.apply("s", EBT, tmp_path, set()) == (EBT, None)
    assert tuned.apply("s", PLAIN, None, set()) == (PLAIN, None)
    # A rate tuned at one batch says nothing of another.
    other = dataclasses.replace(PLAIN, task=Addition(name="addition", batch=64))
    assert tuned.apply("s", other, tmp_path, set()) == (other, None)
    larger = dataclasses.replace(PLAIN, size=dataclasses.replace(TINY, name="larger"))
    assert tuned.apply("s", larger, tmp_path, set()) == (larger, None)


def test_a_longer_run_than_the_trials_is_not_tuned_by_them(tmp_path: Path) -> None:
    written(tmp_path)  # at 1e9 FLOPs

    def used(flops: float) -> bool:
        return (
            tuned.apply("s", dataclasses.replace(PLAIN, budget=Budget(flops=flops)), tmp_path, set())[1]
            is not None
        )

    assert used(1e7)
    assert used(3e9)
    assert not used(3.3e9)


def test_what_is_set_elsewhere_stays(tmp_path: Path) -> None:
    written(tmp_path)
    changed, found = tuned.apply("s", PLAIN, tmp_path, {"size.lr"})
    assert found is not None
    assert changed == PLAIN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"size.lr": "fast"}}, "settings"),
        ({"settings": {"size.lr": -1.0}}, "settings"),
        ({"settings": {"size.width": 3.0}}, "size.width: no number of arm"),
        ({"settings": {"arm.__class__": 3.0}}, "no number of arm"),
        ({"surprise": 1}, "surprise"),
        ({"trials": "6"}, "trials"),
        ({"task": 3}, "task"),
        ({"seeds": "0"}, "seeds"),
        ({"trials": 0}, "trials=0: Expected `int` >= 1"),
        ({"value": "good"}, "value"),
        ({"value": float("nan")}, "value"),
        ({"hand_set_value": True}, "hand_set_value"),
        ({"budget": float("inf")}, "budget"),
        ({"ranges": {"size.lr": [1e-3]}}, "ranges"),
        ({"records": [1]}, "records"),
    ],
)
def test_a_doctored_file_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = written(tmp_path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(ConfigError, match=said) as error:
        tuned.apply("s", PLAIN, tmp_path, set())
    assert "settings=none" in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text("!!python/object/apply:os.system ['touch owned']")
    with pytest.raises(ConfigError, match="no tuned settings"):
        tuned.apply("s", PLAIN, tmp_path, set())
    assert not os.path.exists("owned")


def test_a_name_leads_to_no_other_folder(tmp_path: Path) -> None:
    strange = dataclasses.replace(PLAIN, arm=TransformerArm(name="../../transformer"))
    assert tuned.apply("s", strange, tmp_path, set()) == (strange, None)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "addition").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match=r"transformer.yaml: cannot be written .*settings=FOLDER") as error:
        written(tmp_path)
    assert str(tmp_path) not in str(error.value)


# Plans.


@pytest.fixture
def hydra():
    register()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield


def test_what_a_search_leaves_beside_the_configuration_takes_no_option_away(tmp_path: Path) -> None:
    # A folder in conf is a group of choices to Hydra, and an option of its name could not be set any more.
    shutil.copytree(conf_folder(), tmp_path / "conf")
    written(tmp_path / "conf" / "tuned")
    register()
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        assert root("settings=none").settings == "none"
        assert root().settings == tuned.BESIDE
        assert root("+experiment=scaling", "experiment.tuned=false").experiment.tuned is False
    assert tuned.folder_of(tuned.BESIDE, tmp_path / "conf") == tmp_path / "conf" / "tuned"


def test_tuned_settings_enter_a_plan_below_what_is_set_by_hand(hydra: None, tmp_path: Path) -> None:
    base = root("size=6xs", f"settings={tmp_path}")
    tiny = dataclasses.replace(PLAIN, task=base.task, size=base.size)
    (choice,) = choices(evidence([run(1, 0, 1.0, arm="transformer"), run(5, 0, 0.5, arm="transformer")]))
    choice = dataclasses.replace(choice, budget=1e12)
    chosen.write(tmp_path, choice, tiny, RATES, "c")

    def planned_of(*overrides: str):
        return expand(Request(root=root(*overrides), overrides=overrides))

    (plain,) = planned_of("size=6xs", "settings=none")
    (used,) = planned_of("size=6xs", f"settings={tmp_path}")
    (mine,) = planned_of("size=6xs", f"settings={tmp_path}", "size.lr=0.001")
    assert (plain.cell.size.lr, used.cell.size.lr, mine.cell.size.lr) == (0.003, pytest.approx(0.005), 0.001)
    assert plain.settings is None
    assert used.settings is not None
    assert used.settings.trials == 2
    # An arm without a file keeps the size's own rate, and every cell its name.
    grid = planned_of("+experiment=scaling", f"settings={tmp_path}")
    untouched = {p.identity for p in planned_of("+experiment=scaling", "settings=none")}
    for p in grid:
        of_addition = p.cell.arm.name == "transformer" and p.cell.task.name == "addition"
        assert p.cell.size.lr == pytest.approx(0.005 if of_addition else 0.003)
        assert (p.identity in untouched) != of_addition
    assert all(p.settings is None for p in planned_of("+experiment=smoke", f"settings={tmp_path}"))
    # A size of another shape keeps its name, and is not the one that was tuned.
    (wide,) = planned_of("size=6xs", f"settings={tmp_path}", "size.width=128")
    assert (wide.cell.size.lr, wide.settings) == (0.003, None)


def test_a_search_ignores_what_was_tuned_before_and_sees_validation_alone(
    hydra: None, tmp_path: Path
) -> None:
    overrides = ("+experiment=tune", f"settings={tmp_path}")
    grid = expand(Request(root=root(*overrides), overrides=overrides))
    counts: dict[tuple[str, str], set[int]] = {}
    for p in grid:
        counts.setdefault((p.study, p.cell.arm.name), set()).add(p.trial)
        assert p.cell.trainer.split == "val"
    assert all(each == {1, 2, 3, 4, 5, 6} for each in counts.values())
    first = [p for p in grid if p.trial == 1]
    assert all(p.cell.size.lr == 0.003 for p in first)
    with pytest.raises(ConfigError, match="split=test"):
        expand(
            Request(root=root(*overrides, "trainer.split=test"), overrides=(*overrides, "trainer.split=test"))
        )


# Reports.


def test_unequal_numbers_of_trials_are_a_caveat() -> None:
    cells = (planned_trial(0, 0, "a"), planned_trial(0, 0, "b"))
    old = Manifest(name="e", title="t", question="q", command="c", commit="c", contrasts=(), cells=cells)
    both = dataclasses.replace(old, tuned=())

    def settings(arm: str, trials: int) -> Settings:
        return Settings(
            study="s", arm=arm, size="6xs", trials=trials, runs=1, budget=1e9, commit="c", chosen="lr=1"
        )

    def caveats(manifest: Manifest) -> tuple[str, ...]:
        contrast = Contrast(study="s", arm="a", baseline="b", quantity="final_loss", margin=0.0)
        return unequal_tuning(contrast, Evidence(manifest=manifest, runs=(), troubles=()))

    def said(*found: Settings) -> tuple[str, ...]:
        return caveats(dataclasses.replace(both, tuned=found))

    assert said() == ()
    assert said(settings("a", 6), settings("b", 6)) == ()
    assert said(settings("a", 6)) == ("tuning is unequal at size 6xs, trials: a 6, b no",)
    assert said(settings("a", 6), settings("b", 4)) == ("tuning is unequal at size 6xs, trials: a 6, b 4",)
    _, table = origins(dataclasses.replace(both, tuned=(settings("a", 6),)))
    assert isinstance(table, Table)
    ((arm, *_, words), (_, *_, others)) = table.rows
    assert (arm, "best of 6 trials" in str(words), others) == ("a", True, "set by hand")
    assert "set by hand" in str(origins(both))
    # A manifest from before any search says nothing, and its arms are equal.
    assert origins(old) == []
    assert caveats(old) == ()


def test_a_comparison_that_nobody_named_has_the_caveat_too(tmp_path: Path) -> None:
    store = scaling.store(tmp_path)
    tuned_alone = Settings(
        study="text", arm="ebt_s1", size="4xs", trials=6, runs=2, budget=1e9, commit="c", chosen="size.lr=1"
    )
    before = manifests.load(store, "scaling")
    assert before.tuned is None
    manifests.dump(store, dataclasses.replace(before, tuned=(tuned_alone,)))
    plan = manifests.load(store, "scaling")
    assert plan.tuned == (tuned_alone,)
    findings = analyse(collect(store, plan), draws=20).findings
    assert {f.primary for f in findings} == {True, False}
    for finding in findings:
        concerned = (finding.study, finding.arm, finding.baseline) == ("text", "ebt_s1", "transformer")
        said = [line for line in finding.caveats if "tuning is unequal" in line]
        assert bool(said) == concerned, finding
    assert sum(not f.primary and any("tuning is" in c for c in f.caveats) for f in findings) > 0


def test_what_was_gained_is_counted_from_the_arms_own_file() -> None:
    def gain(*runs: Run, troubles: tuple[Trouble, ...] = ()) -> float | None:
        (choice,) = choices(evidence(list(runs), troubles))
        return choice.gain

    assert gain(run(1, 0, 1.0), run(2, 0, 0.7)) == pytest.approx(0.3)
    assert gain(run(1, 0, 1.0, exact=0.2), run(2, 0, 2.0, exact=0.6)) == pytest.approx(0.4)
    assert gain(run(1, 0, 0.5), run(2, 0, 0.7)) == 0
    failed = Trouble(planned=planned_trial(1, 0), kind="failed", reason="diverged")
    assert gain(run(2, 0, 0.7), troubles=(failed,)) is None


def test_stores_with_other_settings_of_an_arm_are_not_combined(tmp_path: Path) -> None:
    one, two = (scaling.store(tmp_path / name, trouble=False) for name in ("one", "two"))
    plan = manifests.load(one, "scaling")
    changed = Settings(
        study="text",
        arm="ebt_s1",
        size="4xs",
        trials=6,
        runs=2,
        budget=1e9,
        commit="c",
        chosen="size.lr=0.005",
    )
    manifests.dump(two, dataclasses.replace(plan, tuned=(changed,)))
    with pytest.raises(manifests.ManifestError, match=r"ebt_s1.*its own file's.*size.lr=0.005.*apart"):
        combine([one, two], "scaling", tmp_path / "both")
    # Tuned, and its own file was best: the same settings.
    kept = dataclasses.replace(changed, chosen=manifests.HAND_SET)
    manifests.dump(two, dataclasses.replace(plan, tuned=(kept,)))
    assert combine([one, two], "scaling", tmp_path / "both").tuned == (kept,)
    manifests.dump(two, plan)
    assert combine([one, two], "scaling", tmp_path / "both").tuned is None


def test_a_search_is_run_kept_and_used(tmp_path: Path) -> None:
    """The command, a search of two trials on tiny cells; then a cell that uses what it found."""
    store, folder = tmp_path / "runs", tmp_path / "tuned"
    common = [f"runs={store}", f"settings={folder}", "workers=1", "trainer.accelerator=cpu"]
    search = [
        "+experiment=tune",
        "experiment.search.trials=2",
        "experiment.seeds=[1]",
        "~experiment.studies.addition_rl",
        "~experiment.studies.text",
        "experiment.studies.addition.rungs=[{flops: 5.0e+8, size: 8xs}]",
        "trainer.problems=8",
    ]
    said = command(search + common)
    assert "addition 8xs transformer: trial" in said
    report = (store / "reports" / "tune" / "report.md").read_text()
    assert "## Trials" in report
    assert report.count("**chosen**") == 2
    assert "What the search gained" in report
    found = tuned.read(folder / "addition" / "8xs" / "ebt_s1.yaml")
    assert found.trials == 2
    assert str(tmp_path) not in (folder / "addition" / "8xs" / "ebt_s1.yaml").read_text()
    # A later experiment has them, and says so.
    later = [
        "+experiment=scaling",
        "~experiment.studies.text",
        "experiment.contrasts=[]",
        "experiment.studies.addition.arms=[transformer, ebt_s1, ebt_one_step]",
        "experiment.studies.addition.rungs=[{flops: 5.0e+8, size: 8xs}]",
        "experiment.contrasts=[{study: addition, arm: ebt_s1, baseline: ebt_one_step, quantity: final_loss, "
        "margin: 0.1}]",
        "experiment.seeds=[2]",
        "trainer.problems=8",
    ]
    command(later + common)
    report = (store / "reports" / "scaling" / "report.md").read_text()
    assert report.count("best of 2 trials") == 2
    assert "tuning is unequal at size 8xs, trials: ebt\\_s1 2, ebt\\_one\\_step no" in report


def command(arguments: list[str]) -> str:
    done = fresh.run("compare", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_curve_over_sizes_is_tuned_at_all_of_them_or_at_none(hydra: None, tmp_path: Path) -> None:
    task = root("task=text", "task.batch=4", "settings=none").task
    (choice,) = choices(evidence([run(1, 0, 1.0, arm="transformer"), run(5, 0, 0.5, arm="transformer")]))

    def grid() -> dict[str, set[float]]:
        overrides = ("+experiment=isoflop", f"settings={tmp_path}")
        rates: dict[str, set[float]] = {}
        for p in expand(Request(root=root(*overrides), overrides=overrides)):
            if p.cell.arm.name == "transformer":
                rates.setdefault(p.cell.size.name, set()).add(p.cell.size.lr)
        return rates

    before = grid()
    for i, size in enumerate(before):
        of_size = dataclasses.replace(choice, task="text", size=size, budget=1e12)
        chosen.write(tmp_path, of_size, dataclasses.replace(PLAIN, task=task), RATES, "c")
        if i < len(before) - 1:
            assert grid() == before
    assert all(rates == {0.005} for rates in grid().values())
