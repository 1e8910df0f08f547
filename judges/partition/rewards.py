"""Diversity factors and weights from cluster sizes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

DARLING_FLOOR = 0.1


def cluster_sizes(labels: Sequence[Hashable]) -> np.ndarray:
    """Size of each item's cluster."""
    counts: dict[Hashable, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return np.array([counts[label] for label in labels], dtype=float)


def darling_diversity(sizes: Sequence[float] | np.ndarray, floor: float = DARLING_FLOOR) -> np.ndarray:
    """DARLING's factor (N - |C_i|) / (N - 1), at least ``floor``; 1 for a group of one (arXiv 2509.02534).

    >>> darling_diversity([2, 2, 1]).tolist()
    [0.5, 0.5, 1.0]
    """
    sizes_N = np.asarray(sizes, dtype=float)
    if len(sizes_N) < 2:
        return np.ones(len(sizes_N))
    return np.maximum((len(sizes_N) - sizes_N) / (len(sizes_N) - 1), floor)


def pairwise_diversity(p_NN: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Share of the other responses that differ, without transitive closure; unknown pairs are left out (1 if all)."""
    known = ~np.isnan(p_NN)
    np.fill_diagonal(known, False)
    different = (known & (p_NN <= threshold)).sum(axis=1)
    asked = known.sum(axis=1)
    return np.where(asked > 0, different / np.maximum(asked, 1), 1.0)


def darling_reward(
    quality: Sequence[float],
    diversity: Sequence[float] | np.ndarray,
    combine: Literal["multiply", "add"] = "multiply",
    negative: Literal["error", "shift", "allow"] = "error",
) -> np.ndarray:
    """Quality times (or plus) diversity.

    Args:
        quality: one number per response, not negative: a product with a negative quality would pay for being common.
        diversity: factors in [0, 1].
        combine: the method multiplies; ``add`` is its ablation.
        negative: what to do with negative quality: ``error``, ``shift`` the group by its minimum, or ``allow``.

    Raises:
        ValueError: for negative quality with ``negative="error"``.
    """
    quality_N, diversity_N = np.asarray(quality, dtype=float), np.asarray(diversity, dtype=float)
    if combine == "add":
        return quality_N + diversity_N
    if len(quality_N) and quality_N.min() < 0:
        if negative == "error":
            raise ValueError(
                f"quality {quality_N.min()} is negative; pass negative='shift', or squash it to [0, 1] before"
            )
        if negative == "shift":
            quality_N = quality_N - quality_N.min()
    return quality_N * diversity_N


def uniqueness_weights(
    clusters: Sequence[Hashable],
    alpha: float = 0.5,
    correct: Sequence[bool] | None = None,
    apply_to: Literal["all", "correct_only"] = "all",
    count_over: Literal["all", "correct"] = "all",
) -> np.ndarray:
    """Weights 1 / |cluster|^alpha on the advantages of a group (arXiv 2601.08763).

    Args:
        clusters: cluster of each response.
        alpha: 0 changes nothing, 1 divides by the cluster size.
        correct: which responses are correct; needed for the two options below.
        apply_to: ``correct_only`` leaves incorrect responses at weight 1.
        count_over: ``correct`` counts only correct members of a cluster.

    Raises:
        ValueError: when an option needs ``correct`` and it is missing.
    """
    if correct is None and (apply_to, count_over) != ("all", "all"):
        raise ValueError(f"apply_to={apply_to!r}, count_over={count_over!r} need the list `correct`")
    good = np.ones(len(clusters), dtype=bool) if correct is None else np.asarray(correct, dtype=bool)
    if count_over == "all":
        sizes = cluster_sizes(clusters)
    else:
        sizes = np.array([sum(g for c, g in zip(clusters, good, strict=True) if c == mine) for mine in clusters], float)
    weight = np.maximum(sizes, 1.0) ** -alpha
    return np.where(good, weight, 1.0) if apply_to == "correct_only" else weight
