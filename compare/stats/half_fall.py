"""When a falling curve has made half its fall, and how the answer changes when labels are dealt out anew.

Shapes (suffixes): T rows of history over reinforcement learning, P places of the chain, R labellings.
"""

import math
from itertools import combinations

import numpy as np

from compare.stats.intervals import Array

FIRST, LAST = 0.05, 0.1
"""Shares of the rows whose means are where a curve starts and where it ends."""

SMOOTHED = 0.1
"""Share of the rows in the running mean that is looked at for the crossing of the middle."""

LEAST_SHARE, LEAST = 0.2, 0.005
"""A curve has fallen if it lost this share of its start, and at least this much (nats, or error)."""

LEAST_ROWS = 20
"""Minimum rows: with fewer, too few fall into the 10% window of the running mean."""


def half_falls(levels_RT: Array, share_T: Array) -> Array:
    """Share of the compute at which each curve is first half-way from its start to its end: (R,).

    nan for a curve that does not fall, and for fewer than LEAST_ROWS rows.

    Args:
        levels_RT: entropies, or errors.
        share_T: share of reinforcement learning's compute at each row, rising.
    """
    rows = len(share_T)
    if rows < LEAST_ROWS:
        return np.full(len(levels_RT), math.nan)
    start_R = levels_RT[:, : max(1, math.ceil(FIRST * rows))].mean(axis=1)
    end_R = levels_RT[:, -max(1, math.ceil(LAST * rows)) :].mean(axis=1)
    middle_R = (start_R + end_R) / 2
    smooth_RT = running_mean(levels_RT, 2 * round(SMOOTHED * rows / 2) + 1)
    below_RT = smooth_RT <= middle_R[:, None]
    at_R = below_RT.argmax(axis=1)
    before_R = np.maximum(at_R - 1, 0)
    each = np.arange(len(levels_RT))
    over_R, under_R = smooth_RT[each, before_R], smooth_RT[each, at_R]
    # Where the first row is below already, both rows are that one and any part of the way will do.
    part_R = (over_R - middle_R) / np.where(at_R > 0, over_R - under_R, 1.0)
    times_R = share_T[before_R] + part_R * (share_T[at_R] - share_T[before_R])
    fell_R = (start_R - end_R >= LEAST_SHARE * start_R) & (start_R - end_R >= LEAST)
    return np.where(fell_R & below_RT.any(axis=1), times_R, math.nan)


def running_mean(levels_RT: Array, width: int) -> Array:
    """Mean over `width` (odd) rows around each; at the ends over those that there are."""
    half, rows = width // 2, levels_RT.shape[1]
    total_RT = np.concatenate([np.zeros((len(levels_RT), 1)), levels_RT.cumsum(axis=1)], axis=1)
    first_T = np.maximum(np.arange(rows) - half, 0)
    last_T = np.minimum(np.arange(rows) + half + 1, rows)
    return (total_RT[:, last_T] - total_RT[:, first_T]) / (last_T - first_T)


def lags(places_PT: Array, share_T: Array, plan_RP: Array) -> Array:
    """Half-fall of the mean over the plan places less that over the others, for each labelling: (R,).

    nan where one of the two does not fall.

    Args:
        plan_RP: 1 where a labelling calls the place plan, else 0; neither none nor all.
    """
    plan_R1 = plan_RP.sum(axis=1, keepdims=True)
    plan_RT = plan_RP @ places_PT / plan_R1
    other_RT = (1 - plan_RP) @ places_PT / (plan_RP.shape[1] - plan_R1)
    return half_falls(plan_RT, share_T) - half_falls(other_RT, share_T)


def labellings(plan_P: Array, draws: int, rng: np.random.Generator) -> Array:
    """The true labelling in the first row, then others with as many plan places: (R, P).

    Every other one if there are no more than `draws`, else `draws` random ones.
    """
    places, count = len(plan_P), int(plan_P.sum())
    if math.comb(places, count) - 1 <= draws:
        rows = [np.isin(np.arange(places), chosen) for chosen in combinations(range(places), count)]
        others = [row for row in rows if not np.array_equal(row, plan_P.astype(bool))]
    else:
        others = [rng.permutation(plan_P) for _ in range(draws)]
    return np.array([plan_P, *others], dtype=float)


def relabelling_p(lags_R: Array) -> float:
    """Share of labellings whose lag is at least as far from zero as the first one's, that one included.

    Those without a lag are left out; 1 if the first has none. Exact where the labellings are all there
    are, and valid where they are random ones (Phipson & Smyth 2010).
    """
    if np.isnan(lags_R[0]):
        return 1.0
    known_R = np.abs(lags_R[~np.isnan(lags_R)])
    return float((known_R >= known_R[0] - 1e-12).mean())
