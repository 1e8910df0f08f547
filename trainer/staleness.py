"""How old the trained tokens are, in optimiser versions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .rows import Row


def staleness(rows: Sequence[Row], version: int) -> dict[str, float]:
    """Mean and largest lag of the sampled tokens behind the weights that are about to be trained.

    Args:
        rows: what goes to the learner.
        version: version of the learner's weights.

    Returns:
        ``staleness_mean`` and ``staleness_max``; nothing without tokens.
    """
    versions = [row.sample.version_T[row.sample.mask_T] for row in rows]
    lags = version - np.concatenate(versions) if versions else np.zeros(0)
    return {"staleness_mean": float(lags.mean()), "staleness_max": float(lags.max())} if len(lags) else {}
