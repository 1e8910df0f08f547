"""Bootstrap intervals over problems (or seeds): the unit that was drawn independently. numpy, seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A value with a percentile bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[np.ndarray], float] = lambda a: float(np.mean(a)),
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of independent values; nan values are left out."""
    kept = np.asarray(values, float)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    stats = [statistic(kept[rng.integers(0, len(kept), len(kept))]) for _ in range(draws)]
    low, high = np.quantile(stats, [(1 - level) / 2, (1 + level) / 2])
    return Interval(statistic(kept), float(low), float(high))


def paired_difference(a: Sequence[float], b: Sequence[float], **options) -> Interval:
    """Interval of mean(b - a) over the same problems in the same order; pairs with a nan are left out."""
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape:
        raise ValueError(f"paired_difference needs the same problems on both sides, got {len(first)} and {len(second)}")
    return bootstrap(second - first, **options)


def over_seeds(
    table_SP: Sequence[Sequence[float]] | np.ndarray, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean over seeds and problems, resampling seeds first and problems inside them.

    Args:
        table_SP: one row a training seed, one value a problem; all rows over the same problems.
    """
    table = np.asarray(table_SP, float)
    rng = np.random.default_rng(seed)
    seeds, problems = table.shape
    known, values = np.isfinite(table), np.nan_to_num(table)
    stats = []
    for _ in range(draws):
        picked = np.ix_(rng.integers(0, seeds, size=seeds), rng.integers(0, problems, size=problems))
        count = known[picked].sum()
        if count:  # a draw of nothing but missing values says nothing
            stats.append(values[picked].sum() / count)
    low, high = np.quantile(stats, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.nanmean(table)), float(low), float(high))
