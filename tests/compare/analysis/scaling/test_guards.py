"""What an attacker planted: third arms, ranges apart, rising losses, bounds. None may decide."""

from collections.abc import Callable

import numpy as np
import pytest

from compare.analysis.analyse import analyse
from compare.analysis.findings import Finding
from compare.analysis.quantity import BASELINE
from compare.calibrate import builders, planted
from compare.calibrate.planted import Truth
from compare.store.manifest import Contrast

ARM = planted.ARM
BUDGETS = planted.BUDGETS


def found(
    laws: dict[str, Callable[[float], float]],
    budgets: dict[str, tuple[float, ...]] | None = None,
    seeds: int = 5,
) -> dict[str, Finding]:
    """Findings of ARM against BASELINE by quantity, margin .05."""
    rng, runs = np.random.default_rng(2), []
    for arm, law in laws.items():
        for budget in (budgets or {}).get(arm, BUDGETS):
            for seed in range(seeds):
                cell = builders.cell(arm, seed, budget=budget)
                value = law(budget) * float(np.exp(0.005 * rng.standard_normal()))
                runs.append(builders.run(cell, builders.loss(value, sd=0.0)))
    named = ("exponent", "compute_multiplier")
    contrasts = [
        Contrast(study="planted", arm=ARM, baseline=BASELINE, quantity=quantity, margin=0.05)
        for quantity in named
    ]
    return {f.quantity: f for f in analyse(builders.finished(contrasts, runs)).findings if f.primary}


def test_a_third_arm_does_not_move_the_exponents_of_two() -> None:
    two = {BASELINE: Truth().loss, ARM: Truth(alpha=0.34).loss}
    three = found({**two, "third": Truth(floor=0.6, scale=0.5).loss})["exponent"]
    assert three.estimate == pytest.approx(found(two)["exponent"].estimate, abs=1e-4)
    assert three.low <= 0.04 <= three.high


def test_arms_without_a_common_range_have_no_multiplier() -> None:
    apart = {BASELINE: BUDGETS, ARM: tuple(300 * b for b in BUDGETS)}
    finding = found({BASELINE: Truth().loss, ARM: Truth().loss}, apart)["compute_multiplier"]
    assert finding.estimate is None
    assert "no range of compute in common" in finding.claim


def test_a_multiplier_read_below_the_largest_budget_says_so() -> None:
    laws = {BASELINE: Truth().loss, ARM: Truth(alpha=0.34).loss}
    assert not any("read at" in caveat for caveat in found(laws)["compute_multiplier"].caveats)
    (caveat, *_) = found(laws, {ARM: BUDGETS[:3]})["compute_multiplier"].caveats
    assert caveat == "read at 1e+11 FLOPs, the largest that both have; one has 1e+12"


@pytest.mark.parametrize("rising", [(ARM,), (BASELINE,), (ARM, BASELINE)], ids=" ".join)
def test_a_loss_that_rises_has_no_verdict(rising: tuple[str, ...]) -> None:
    laws = {
        name: (lambda c: 3 * (c / BUDGETS[0]) ** 0.07) if name in rising else Truth().loss
        for name in (BASELINE, ARM)
    }
    finding = found(laws)["compute_multiplier"]
    assert finding.verdict == "undecided"
    assert "rises at its largest budget" in finding.withheld


def test_a_bound_is_no_number() -> None:
    finding = found({BASELINE: Truth().loss, ARM: lambda c: 0.4 * Truth().loss(c)})["compute_multiplier"]
    assert finding.verdict == "undecided"
    assert "it is a bound" in finding.claim
