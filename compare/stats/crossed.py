"""Seeds and problems crossed: intervals of what several runs measure on the same held-out problems.

The spread between seeds does not show how other problems would have changed a mean: seeds that share their
problems share what is special about them. There are three forms: a mean, a weighted sum of means over several
sets of problems, and any other function of such means.

Shapes (suffixes): S seeds, P problems, K sets of problems, D quantities measured on the same set, B draws.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from compare.stats.intervals import Array, Estimate, from_normal, over_seeds

DRAWS = 400
"""Of problems, where a variance has no formula."""


def over_seeds_and_problems(differences_SP: Array) -> Estimate:
    """Mean of paired differences, one for each seed and problem, problems shared by the seeds.

    Crossed random effects: the variance of the mean is seeds/S + problems/P - residual/(S P), where
    each term is the variance of row means, of column means, and of what both leave (Owen 2007, "The
    pigeonhole bootstrap", equation 7; the residual is in both of the first two). The subtraction also
    removes the problems' part where seeds were tested on different problems. Degrees of freedom as in
    `over_seeds_and_sets`. With one seed only the problems' part is known, and `single_run` says so.
    """
    if differences_SP.shape[1] < 2:
        return over_seeds(differences_SP.mean(axis=1))
    return over_seeds_and_sets([differences_SP], np.ones(1))


def over_seeds_and_sets(sets_KSP: Sequence[Array], weights_K: Array) -> Estimate:
    """Weighted sum of the means of several sets of problems, each shared by the seeds: a contrast of them.

    The variance is that of `over_seeds_and_problems`: seeds enter through the weighted sum of each, and
    what problems add beyond the residual adds up over the sets, weights squared. Degrees of freedom are
    the seeds' alone. Satterthwaite's, of a problems' part cut at 0, decided 6 to 8 of 100 comparisons of
    an arm with itself at three seeds; seeds without problems 5, but 8 where problems tell arms apart; this
    at most 4 (docs/ood.md).

    Args:
        sets_KSP: one (S, P) array per set; P may differ between sets.
    """
    pairs = list(zip(weights_K, sets_KSP, strict=True))
    rows_S = np.sum([w * each.mean(axis=1) for w, each in pairs], axis=0)
    S, value = len(rows_S), float(rows_S.mean())
    by_problem_K = np.array([w**2 * sampling(each.mean(axis=0)) for w, each in pairs])
    # No two outcomes differ, yet P problems cannot show more than the rule of three: +-3/P.
    unseen = sum(w**2 * (3 / each.shape[1] / 1.96) ** 2 for w, each in pairs)
    of_problems = max(min(each.shape[1] for each in sets_KSP) - 1, 1)
    if S < 2:
        return from_normal(value, float(by_problem_K.sum()) or unseen, of_problems, n=1)
    residual_K = np.array([w**2 * _residual(each) for w, each in pairs])
    variance = sampling(rows_S) + float(np.maximum(by_problem_K - residual_K, 0.0).sum())
    if variance == 0:
        return from_normal(value, unseen, of_problems, n=S)
    return from_normal(value, variance, S - 1, n=S)


def _residual(differences_SP: Array) -> float:
    """The residual's share in the variance of the mean: what rows and columns leave, over S P."""
    S, P = differences_SP.shape
    if P < 2:
        return 0.0
    rows, columns = differences_SP.mean(axis=1), differences_SP.mean(axis=0)
    left = differences_SP - rows[:, None] - columns[None, :] + differences_SP.mean()
    return float((left**2).sum()) / ((S - 1) * (P - 1)) / (S * P)


def over_seeds_of_means(statistic: Callable[[Array], Array], sets_KDSP: Sequence[Array]) -> Estimate:
    """Mean over seeds of a function of means over problems, every set of problems shared by the seeds.

    Problems are redrawn twice. Drawn alike for all seeds, they scatter the mean by problems + residual / S;
    drawn for each seed separately, by (problems + residual) / S. So S / (S - 1) of the difference is what
    problems add. The variance over seeds, to which it is added, already holds the residual (as in
    `over_seeds_and_sets`, where there is a formula). Degrees of freedom are the seeds'. The generator is
    seeded, so the same numbers give the same interval.

    Args:
        statistic: means (K, D, S, B) to values (S, B); not a number where a draw has none.
        sets_KDSP: one (D, S, P) array per set; P may differ between sets.
    """
    values_S = statistic(np.stack([each.mean(axis=-1) for each in sets_KDSP])[..., None])[:, 0]
    S = len(values_S)
    if S < 2:
        return over_seeds(values_S)
    together_KDSB, apart_KDSB = [], []
    for number, each in enumerate(sets_KDSP):
        weights_SBP = _redrawn(S, each.shape[-1], number)
        together_KDSB.append(each @ weights_SBP[0].T)
        apart_KDSB.append(np.einsum("dsp,sbp->dsb", each, weights_SBP, optimize=True))
    together, apart = (_scatter(statistic(np.stack(means))) for means in (together_KDSB, apart_KDSB))
    problems = max(together - apart, 0.0) * S / (S - 1)
    return from_normal(float(values_S.mean()), sampling(values_S) + problems, S - 1, n=S)


@lru_cache(maxsize=32)
def _redrawn(seeds: int, problems: int, number: int) -> Array:
    """Weights (S, B, P) of problems redrawn with replacement; those of one set alike wherever it is read."""
    rng = np.random.default_rng((seeds, problems, number))
    return rng.multinomial(problems, np.full(problems, 1 / problems), size=(seeds, DRAWS)) / problems


def sampling(values_N: Array) -> float:
    """Variance of a mean; 0 of a single value, of which nothing is known."""
    return float(values_N.var(ddof=1)) / len(values_N) if len(values_N) > 1 else 0.0


def _scatter(values_SB: Array) -> float:
    """Variance over the draws of the mean over seeds, of those draws in which every seed has a value."""
    means_B = values_SB.mean(axis=0)
    means_B = means_B[np.isfinite(means_B)]
    return float(means_B.var(ddof=1)) if len(means_B) > 1 else 0.0
