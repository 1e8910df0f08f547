"""Epiplexity (arXiv 2601.03220): how much of a data set is structure that a given learner can pick up. numpy, bits.

Relative to the learner by design: compare data sets at one learner, optimiser and token count only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


def prequential(first_losses: Sequence[float], final_losses: Sequence[float]) -> dict[str, float]:
    """Structure and residual information from one pass over the data, without repeats.

    Args:
        first_losses: loss in bits of each item when it was seen for the first time, before learning from it.
        final_losses: loss in bits of the same items under the final model.

    Returns:
        structure S = sum(first - final) in bits, and residual H = mean final loss in bits an item.
    """
    first, final = np.asarray(first_losses, float), np.asarray(final_losses, float)
    if first.shape != final.shape or not len(first):
        raise ValueError(f"prequential needs one first and one final loss an item, got {len(first)} and {len(final)}")
    return {"structure": float((first - final).sum()), "residual": float(final.mean())}


def requential(divergences: Sequence[float]) -> float:
    """Upper bound on the structure: the sum over steps of KL(teacher || student) in bits."""
    return float(np.sum(divergences))


def kt_epiplexity(bits: Sequence[int], order: int = 0, start: Hashable = 0) -> dict[str, float]:
    """Epiplexity of a bit string for a Krichevsky-Trofimov (add 1/2) coder with contexts of `order` bits.

    Args:
        bits: zeros and ones.
        order: 0, or 1 for one bit of context.
        start: context of the first bit.
    """
    if order not in (0, 1):
        raise ValueError(f"order {order} is not 0 or 1")
    counts: dict[Hashable, list[int]] = defaultdict(lambda: [0, 0])
    contexts = [None] * len(bits) if order == 0 else [start, *bits[:-1]]
    first = []
    for bit, context in zip(bits, contexts, strict=True):
        seen = counts[context]
        first.append(-math.log2((seen[bit] + 0.5) / (sum(seen) + 1)))
        seen[bit] += 1
    final = [-math.log2((counts[c][b] + 0.5) / (sum(counts[c]) + 1)) for b, c in zip(bits, contexts, strict=True)]
    return prequential(first, final)
