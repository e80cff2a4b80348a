"""Ranks without `scipy.stats`, whose import alone takes most of a second."""

import numpy as np

from compare.stats.intervals import Array


def ranks(values_PX: Array) -> Array:
    """Ranks along the first axis, from 1; equal values share their mean."""
    return (np.sign(values_PX[:, None] - values_PX).sum(axis=1) + len(values_PX) + 1) / 2
