"""Comparisons about entropy and its ceiling, as drafts of findings; runs are paired by seed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from compare.analysis.ceiling.measure import ArmCeiling, CeilingStudy, RunFit
from compare.analysis.findings import Draft
from compare.stats.crossed import over_seeds_and_problems
from compare.stats.entropy_law import possible
from compare.stats.intervals import from_normal, over_seeds
from compare.store.evidence import Run
from compare.store.manifest import FORECASTS, WARM_START
from compare.store.record import Evaluation

UNMANAGED = "rl_grpo"
"""Nothing done about its entropy: what exploratory comparisons of the others are made against."""

Look = Callable[[RunFit], float | None]

_LOOKS: dict[str, Look] = {
    "entropy_held": lambda fit: fit.log_held,
    "ceiling": lambda fit: fit.law.ceiling if fit.law else None,
    "final_reward": lambda fit: fit.end_reward,
}

PASSED = 0.02
"""Reward above a ceiling that is more than the noise of a tenth of the updates."""


def compare(
    study: str, section: CeilingStudy | None, runs: tuple[Run, ...], arm: str, baseline: str, quantity: str
) -> Draft:
    """One comparison; an estimate of None, with the reason as a caveat, where it cannot be made."""
    blank = Draft(study=study, arm=arm, baseline=baseline, quantity=quantity, estimate=None)
    if section is None:
        return replace(blank, caveats=("no finished run was trained by reward",))
    if quantity == "above_ceiling":
        return _above_ceiling(blank, section, runs)
    names = [arm] if baseline in (WARM_START, *FORECASTS) else [arm, baseline]
    arms = [found for name in names if (found := section.arm(name)) is not None]
    if len(arms) < len(names):
        absent = [name for name in names if section.arm(name) is None]
        return replace(blank, caveats=(f"{', '.join(absent)}: no finished run trained by reward",))
    if quantity == "forecast_error":
        return _paired(blank, arms, [lambda fit: _excess(fit, baseline)])
    look = _LOOKS[quantity]
    draft = _paired(blank, arms, [look] * len(arms))
    said = _impossible(arms) + _passed(arms) if quantity == "ceiling" else ()
    return replace(draft, caveats=draft.caveats + said + _coins(arms))


def _excess(fit: RunFit, method: str) -> float | None:
    """Error of the law's forecast less that of another method, on the same run."""
    if "law" not in fit.errors or method not in fit.errors:
        return None
    return fit.errors["law"].mean - fit.errors[method].mean


def _paired(blank: Draft, arms: list[ArmCeiling], looks: list[Look]) -> Draft:
    """The first arm's numbers, less the second's if there is one, over the seeds that all have."""
    sides = [arm.by_seed(look) for arm, look in zip(arms, looks, strict=True)]
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    lost = _lost(arms, seeds)
    if not seeds:
        return replace(blank, caveats=lost or ("no seed that both were run with",))
    values_S = np.array([sides[0][seed][1] for seed in seeds])
    if len(sides) > 1:
        values_S = values_S - np.array([sides[1][seed][1] for seed in seeds])
    cells = tuple(side[seed][0].planned.cell for side in sides for seed in seeds)
    return replace(blank, estimate=over_seeds(values_S), caveats=lost, records=cells)


def _above_ceiling(blank: Draft, section: CeilingStudy, runs: tuple[Run, ...]) -> Draft:
    """Exact answers of an arm, in distribution, less the fitted ceiling of another, at one total compute.

    Seeds share their held-out problems, so the variance is that of crossed random effects: seeds (with
    everything that the fit adds) and problems.
    """
    rewarded = section.arm(blank.baseline)
    if rewarded is None:
        return replace(blank, caveats=(f"{blank.baseline}: no finished run trained by reward",))
    ceilings = rewarded.by_seed(_LOOKS["ceiling"])
    measured: dict[int, tuple[Run, Evaluation]] = {}
    for run in runs:
        if (run.planned.arm, run.planned.budget) == (blank.arm, section.budget):
            found = run.find("exact")
            if found is not None:
                measured[run.planned.seed] = (run, found)
    seeds = sorted(ceilings.keys() & measured.keys())
    lost = _lost([rewarded], seeds)
    if not seeds:
        missing = () if measured else (f"{blank.arm}: no exact answers at {section.budget:.3g} FLOPs",)
        return replace(blank, caveats=missing + lost or ("no seed that both were run with",))
    exact = [measured[seed][1] for seed in seeds]
    ceilings_S = np.array([ceilings[seed][1] for seed in seeds])
    if len(seeds) == 1:
        (own,) = (fit.ceiling for fit in rewarded.fits if fit.seed == seeds[0])
        assert own is not None
        # One run: what its problems and its own fit leave open, nothing of other seeds.
        variance = exact[0].sd ** 2 / exact[0].n + ((own.high - own.low) / 2 / 1.96) ** 2
        estimate = from_normal(exact[0].value - own.value, variance, exact[0].n - 1, n=1)
    elif len({e.n for e in exact}) > 1:
        estimate = over_seeds(np.array([e.value for e in exact]) - ceilings_S)
    else:
        outcomes_SP = np.array([[float(bit) for bit in e.outcomes] for e in exact])
        estimate = over_seeds_and_problems(outcomes_SP - ceilings_S[:, None])
    cells = tuple(side[seed][0].planned.cell for side in (measured, ceilings) for seed in seeds)
    caveats = lost + _impossible([rewarded]) + _passed([rewarded]) + _coins([rewarded])
    return replace(blank, estimate=estimate, caveats=caveats, records=cells)


def _lost(arms: list[ArmCeiling], seeds: list[int]) -> tuple[str, ...]:
    """Why runs of the arms are missing from a comparison over `seeds`."""
    return tuple(
        f"{arm.arm}, seed {seed}: {reason}"
        for arm in arms
        for seed, reason in arm.reasons
        if seed not in seeds
    )


def _impossible(arms: list[ArmCeiling]) -> tuple[str, ...]:
    return tuple(
        f"{arm.arm}: its fitted ceiling, {arm.ceiling.value:.2f}, lies outside [0, 1], where no reward can be"
        for arm in arms
        if arm.ceiling is not None and not possible(arm.ceiling)
    )


def explore(study: str, section: CeilingStudy | None, runs: tuple[Run, ...]) -> list[Draft]:
    """Every comparison that the section can make, whether or not it was announced."""
    if section is None:
        return []
    asked: list[tuple[str, str, str]] = []
    for arm in section.arms:
        asked.append((arm.arm, WARM_START, "entropy_held"))
        if arm.arm != UNMANAGED and section.arm(UNMANAGED) is not None:
            asked += [(arm.arm, UNMANAGED, q) for q in ("entropy_held", "ceiling", "final_reward")]
        asked += [(level.arm, arm.arm, "above_ceiling") for level in section.levels]
        asked += [(arm.arm, method, "forecast_error") for method in FORECASTS]
    return [compare(study, section, runs, *names) for names in asked]


def _passed(arms: list[ArmCeiling]) -> tuple[str, ...]:
    """Runs whose reward ended above the ceiling that was fitted on their beginning."""
    return tuple(
        f"{arm.arm}, seed {fit.seed}: its reward ended at {fit.end_reward:.2f}, above its own fitted "
        f"ceiling, {fit.ceiling.value:.2f}"
        for arm in arms
        for fit in arm.fits
        if fit.ceiling is not None and fit.end_reward > fit.ceiling.value + PASSED
    )


def _coins(arms: list[ArmCeiling]) -> tuple[str, ...]:
    """Arms whose reward is no verified answer."""
    rewards = {
        arm.arm: arm.fits[0].run.record.config.get("arm", {}).get("reward") for arm in arms if arm.fits
    }
    return tuple(
        f"{arm}: its reward is a coin, which says nothing of answers"
        for arm, reward in rewards.items()
        if reward == "coin"
    )
