"""From final scores to rewards: ranks that share ties, quantiles and group z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

TIE_GAP = 1e-9  # ratings closer than this are the same rating computed in another order
EPSILON = 1e-6


def dense_levels(values: Sequence[float] | np.ndarray, gap: float = TIE_GAP) -> np.ndarray:
    """Integers that order ``values`` (0 = lowest) and are equal where neighbours differ by at most ``gap``."""
    values_N = np.asarray(values, dtype=float)
    order = np.argsort(values_N, kind="stable")
    steps = np.diff(values_N[order]) > gap
    levels = np.empty(len(values_N), dtype=int)
    levels[order] = np.concatenate([[0], np.cumsum(steps)]) if len(values_N) else []
    return levels


def average_ranks(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Ranks from 0 (lowest); equal values share the mean of their places.

    >>> average_ranks([3.0, 1.0, 1.0]).tolist()
    [2.0, 0.5, 0.5]
    """
    levels = dense_levels(values)
    counts = np.bincount(levels) if len(levels) else np.zeros(0, dtype=int)
    first_place = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
    return (first_place + (counts - 1) / 2)[levels]


def quantiles(values: Sequence[float] | np.ndarray, ties: Literal["average", "competition"] = "average") -> np.ndarray:
    """Reward in [0, 1] from final scores, the best gets 1.

    Args:
        values: final scores, higher is better.
        ties: ``average``: equal scores share the mean of their places. ``competition``: equal scores share the best
            place, and the lowest distinct score gets 0 (the map of ArenaRL for round robin and anchor).

    Returns:
        One reward per score; all zero when the scores are all equal.
    """
    count = len(values)
    levels = dense_levels(values)
    if count < 2 or levels.max() == 0:
        return np.zeros(count)
    if ties == "average":
        return average_ranks(values) / (count - 1)
    better = np.array([(levels > level).sum() for level in levels])
    return (better.max() - better) / better.max()


def z_scores(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """(x - mean) / (sd + 1e-6) with the sample standard deviation; zeros when all are equal or there is only one."""
    values_N = np.asarray(values, dtype=float)
    if len(values_N) < 2 or dense_levels(values_N).max() == 0:
        return np.zeros(len(values_N))
    return (values_N - values_N.mean()) / (values_N.std(ddof=1) + EPSILON)


def swiss_rewards(points: Sequence[float], buchholz: Sequence[float]) -> np.ndarray:
    """Quantiles of a Swiss table: points first, then Buchholz; equal in both share the mean of their places.

    >>> swiss_rewards([2, 1, 1, 0], [3, 3, 3, 3]).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    keys = list(zip(points, buchholz, strict=True))
    place_of = {key: float(place) for place, key in enumerate(sorted(set(keys)))}
    return quantiles([place_of[key] for key in keys])
