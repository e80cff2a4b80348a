"""Scaling over axes other than FLOPs, and the best size at equal FLOPs: what is planted is read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare.analysis.analyse import analyse
from compare.analysis.blocks import Heading
from compare.analysis.drawing import colours
from compare.analysis.scaling.figures import isoflop_figure, loss_figure
from compare.analysis.scaling.isoflop import parabolas
from compare.calibrate import builders
from compare.folders import conf_folder
from compare.store import manifest as manifests
from compare.store.evidence import Evidence, Run
from compare.store.manifest import AXES, Contrast, Manifest, ManifestError, PlannedCell
from tests.compare.conftest import Plant
from tests.compare.planted import energy, scaling
from tests.compare.reading import of_kind, section_of
from tests.compare.test_cli import compare

SLOPES = {"transformer": -0.20, "ebt_s1": -0.25}
"""Planted slopes of log loss on the log of the axis: the ratio less 1 is 0.25."""
DEPTHS = (1, 2, 4, 8)


def planned(arm: str, rung: int, seed: int, budget: float = 1e13) -> PlannedCell:
    cell = f"{arm}-{rung}-{seed}"
    return PlannedCell(
        cell=cell, study="text", arm=arm, task="text", size="6xs", budget=budget, seed=seed, rung=rung
    )


def by_depth(noise: float, **changes: object) -> Evidence:
    rng = np.random.default_rng(3)
    runs = []
    for arm, slope in SLOPES.items():
        for rung, layers in enumerate(DEPTHS, start=1):
            for seed in range(3):
                loss = 3 * layers**slope * float(np.exp(noise * rng.standard_normal()))
                cell = planned(arm, rung, seed)
                entry = builders.record(cell, (builders.loss(loss),))
                runs.append(Run(planned=cell, record=replace(entry, config={"size": {"layers": layers}})))
    contrast = Contrast(
        study="text", arm="ebt_s1", baseline="transformer", quantity="slope_ratio", margin=0.1
    )
    plan = Manifest(
        name="depth",
        title="Depth",
        question="Depth?",
        command="python -m compare",
        commit="abc",
        contrasts=(contrast,),
        cells=tuple(run.planned for run in runs),
        axis="depth",
    )
    return Evidence(manifest=replace(plan, **changes), runs=tuple(runs), troubles=())  # type: ignore[arg-type]


def test_the_ratio_of_slopes_is_read_against_the_axis_of_the_experiment() -> None:
    results = analyse(by_depth(0.0003), draws=200)
    (finding,) = [f for f in results.findings if f.primary]
    assert finding.estimate == pytest.approx(0.25, abs=0.01)
    assert finding.low <= 0.25 <= finding.high
    assert finding.verdict == "ahead"
    assert len(finding.records) == 24
    assert "compute_multiplier" not in {f.quantity for f in results.findings}
    # The joint fit guards it: with more noise an E for each arm would explain the slopes as well.
    (noisier,) = [f for f in analyse(by_depth(0.001), draws=200).findings if f.primary]
    assert noisier.low > 0
    assert noisier.verdict == "undecided"
    assert "it hangs on the form of the fit: with an E for each arm it is" in noisier.claim
    study = results.studies[0].measured["scaling"]
    assert [m.compute for m in study.loss if m.arm == "ebt_s1"] == list(DEPTHS)
    figure = loss_figure(study, colours(study.cohort.arms))
    assert figure is not None
    assert "text: loss against layers" in figure.svg


def test_on_another_axis_findings_speak_of_rungs_and_on_flops_of_budgets() -> None:
    other = analyse(by_depth(0.001), draws=50).findings
    (loss,) = [f for f in other if f.quantity == "final_loss"]
    assert loss.label == "loss difference at the largest rung"
    assert "at the largest rung" in loss.claim
    assert len(loss.records) == 6
    runs = by_depth(0.001).runs
    in_flops = tuple(replace(r, planned=replace(r.planned, rung=0)) for r in runs if r.planned.rung == 4)
    found = analyse(builders.finished((), in_flops), draws=20).findings
    (usual,) = [f for f in found if f.quantity == "final_loss"]
    assert usual.label == "loss difference at the largest budget"


def test_the_table_of_shift_rests_on_the_largest_rung_alone() -> None:
    """All rungs have one budget here, so that the budget would not tell them apart."""
    evidence = by_depth(0.0)
    shifted = tuple(
        replace(run, record=replace(run.record, evaluations=(*e, replace(e[0], severity=1, value=4.0))))
        for run in evidence.runs
        if (e := run.record.evaluations)
    )
    (study,) = analyse(replace(evidence, runs=shifted), draws=20).studies
    assert {
        (arm.arm, tuple(run.planned.cell for run in arm.runs)) for arm in study.measured["shift"].arms
    } == {(arm, tuple(f"{arm}-{len(DEPTHS)}-{seed}" for seed in range(3))) for arm in SLOPES}


def test_a_ratio_to_a_slope_that_is_not_told_from_zero_is_undecided() -> None:
    (finding,) = [f for f in analyse(by_depth(1.0), draws=200).findings if f.primary]
    assert finding.verdict == "undecided"
    assert finding.estimate is None
    assert "not told from 0" in finding.claim


def test_a_record_that_does_not_name_its_place_is_left_out() -> None:
    evidence = by_depth(0.001)
    runs = tuple(replace(run, record=replace(run.record, config={})) for run in evidence.runs)
    (finding,) = [f for f in analyse(replace(evidence, runs=runs), draws=50).findings if f.primary]
    assert finding.verdict == "undecided"


def test_rungs_of_one_budget_are_told_apart_and_an_old_manifest_still_loads(tmp_path: Path) -> None:
    plan = by_depth(0.0).manifest
    manifests.dump(tmp_path, plan)
    assert manifests.load(tmp_path, "depth") == plan
    with pytest.raises(ManifestError, match="axis 'height'"):
        manifests.dump(tmp_path, replace(plan, axis="height"))
    with pytest.raises(ManifestError, match="two cells"):
        manifests.dump(tmp_path, replace(plan, cells=(*plan.cells, replace(plan.cells[0], cell="again"))))
    old = scaling.manifest(scaling.plan(1))
    path = manifests.dump(tmp_path, old)
    text = path.read_text()
    for line in (',\n   "rung": 0', ',\n "axis": "flops"'):
        assert line in text
        text = text.replace(line, "")
    path.write_text(text)
    assert manifests.load(tmp_path, old.name) == old


def sizes(best: float, noise: float, seeds: int = 3, bend: float = 0.05) -> tuple[Run, ...]:
    rng = np.random.default_rng(5)
    runs = []
    for rung, parameters in enumerate((6e3, 2e4, 6e4, 2e5, 6e5), start=1):
        for seed in range(seeds):
            loss = 2 * np.exp(bend * np.log(parameters / best) ** 2 + noise * rng.standard_normal())
            cell = planned("ebt_s1", rung, seed, 1e11)
            entry = builders.record(cell, (builders.loss(float(loss)),))
            entry = replace(entry, parameters={"total": int(parameters), "non_embedding": int(parameters)})
            runs.append(Run(planned=cell, record=entry))
    return tuple(runs)


def test_a_planted_optimum_is_recovered_exactly_without_noise_and_covered_with_it() -> None:
    (clean,), notes = parabolas(sizes(7e4, 0.0))
    assert clean.optimum is not None
    assert clean.optimum.value == pytest.approx(7e4, rel=1e-3)
    assert not clean.caveats
    assert not notes
    (noisy,), _ = parabolas(sizes(7e4, 0.01))
    assert noisy.optimum is not None
    assert noisy.optimum.low <= 7e4 <= noisy.optimum.high < 2 * noisy.optimum.low


@pytest.mark.parametrize(
    ("best", "bend", "said"),
    [
        (9e3, 0.05, "at the edge of the measured range"),
        (5e6, 0.05, "beyond the measured range"),
        (7e4, -0.05, "no minimum"),
    ],
)
def test_an_optimum_that_was_not_measured_is_marked(best: float, bend: float, said: str) -> None:
    (curve,), _ = parabolas(sizes(best, 0.0, bend=bend))
    assert any(said in caveat for caveat in curve.caveats)
    assert (curve.optimum is None) == (bend < 0)


def test_single_runs_and_few_sizes_are_named() -> None:
    (curve,), _ = parabolas(sizes(7e4, 0.01, seeds=1))
    assert "single runs, no interval" in curve.caveats
    few = tuple(run for run in sizes(7e4, 0.01) if run.planned.rung <= 3)
    curves, notes = parabolas(few)
    assert not curves
    assert notes == ["ebt_s1 at 1e+11 FLOPs: 3 sizes, a parabola needs 4"]


def sizes_evidence() -> Evidence:
    """A planted study of sizes at equal FLOPs."""
    runs = sizes(7e4, 0.002)
    plan = replace(by_depth(0.0).manifest, axis="isoflop", contrasts=(), cells=tuple(r.planned for r in runs))
    return Evidence(manifest=plan, runs=runs, troubles=())


def test_the_figures_say_in_words_what_they_show() -> None:
    results = analyse(sizes_evidence(), draws=100)
    study = results.studies[0].measured["scaling"]
    assert not results.findings
    figure = isoflop_figure(study, colours(study.cohort.arms))
    assert figure is not None
    assert "ebt_s1 at 1e+11 FLOPs: optimum" in figure.svg


def test_each_axis_of_the_paper_has_a_plan_of_its_own(tmp_path: Path) -> None:
    plans = {path.stem for path in (conf_folder() / "experiment").glob("scaling_*.yaml")}
    assert {f"scaling_{axis}" for axis in AXES if axis not in ("flops", "isoflop")} <= plans
    depth = compare("+experiment=scaling_depth", "dry=true", f"runs={tmp_path}/runs", cwd=tmp_path)
    assert depth.returncode == 0, depth.stderr
    assert "6xs-layers8" in depth.stdout


def test_studies_with_nothing_to_draw_or_to_fit_are_not_named(planted_study: Plant) -> None:
    assert section_of(planted_study(energy).results, "scaling") == []
    evidence = planted_study(scaling).results.evidence
    results = analyse(replace(evidence, runs=evidence.study("text")), draws=20)
    headings = [heading.text for heading in of_kind(Heading, section_of(results, "scaling"))]
    assert headings == ["Figures", "text", "How much the fit matters", "text"]
