"""From pairwise verdicts to clusters, on matrices: (N, N), symmetric, nan where nothing is known."""

from __future__ import annotations

import numpy as np

RESTARTS, SWEEPS, MIN_GAIN = 6, 50, 1e-9


def weights(p_NN: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Evidence for "same": p minus threshold, 0 for unknown pairs and on the diagonal."""
    w = np.nan_to_num(p_NN - threshold)
    np.fill_diagonal(w, 0)
    return w


def canonical(labels: np.ndarray | list[int]) -> np.ndarray:
    """The same partition with clusters numbered in order of first appearance.

    >>> canonical([7, 2, 7]).tolist()
    [0, 1, 0]
    """
    number: dict[int, int] = {}
    return np.array([number.setdefault(int(label), len(number)) for label in labels], dtype=int)


def union_find(p_NN: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Connected components of the "same" graph (DARLING, arXiv 2509.02534).

    One false "same" merges two clusters, and the chance of one grows with N squared; kept for comparison.
    """
    n = len(p_NN)
    same = weights(p_NN, threshold) > 0
    labels = np.full(n, -1)
    for start in range(n):
        if labels[start] < 0:
            stack = [start]
            labels[start] = start
            while stack:
                reached = np.flatnonzero(same[stack.pop()] & (labels < 0))
                labels[reached] = start
                stack += reached.tolist()
    return canonical(labels)


def average_linkage(p_NN: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Merge the two clusters with the highest mean probability while it exceeds the threshold."""
    n = len(p_NN)
    known = ~np.isnan(p_NN)
    total = np.where(known, p_NN, 0.0).astype(float)
    count = known.astype(float)
    labels = np.arange(n)
    alive = list(range(n))
    while len(alive) > 1:
        block = np.ix_(alive, alive)
        mean = np.divide(total[block], count[block], out=np.zeros((len(alive),) * 2), where=count[block] > 0)
        np.fill_diagonal(mean, -1)
        best = int(mean.argmax())
        if mean.flat[best] <= threshold:
            break
        a, b = alive[best // len(alive)], alive[best % len(alive)]
        for matrix in (total, count):
            matrix[a] += matrix[b]
            matrix[:, a] += matrix[:, b]
        labels[labels == b] = a
        alive.remove(b)
    return canonical(labels)


def corr_cluster(w_NN: np.ndarray, rng: np.random.Generator, restarts: int = RESTARTS) -> np.ndarray:
    """Correlation clustering: random pivots, then local moves, best of some restarts.

    Args:
        w_NN: evidence for "same", negative for "different", 0 for unknown (see :func:`weights`).
        rng: draws the visiting orders.
        restarts: independent starts.

    Returns:
        Labels that maximise the sum of w over pairs within clusters, as far as local search finds them.
    """
    n = len(w_NN)
    best, best_value = np.arange(n), -np.inf
    for _ in range(restarts):
        labels = _pivot(w_NN, rng.permutation(n))
        for _ in range(SWEEPS):
            if not _sweep(w_NN, labels, rng.permutation(n)):
                break
        value = objective(w_NN, labels)
        if value > best_value + MIN_GAIN:
            best, best_value = labels.copy(), value
    return canonical(best)


def objective(w_NN: np.ndarray, labels: np.ndarray) -> float:
    """Sum of w over pairs within one cluster."""
    return float((w_NN * (labels[:, None] == labels[None, :])).sum() / 2)


def _pivot(w_NN: np.ndarray, order: np.ndarray) -> np.ndarray:
    labels = np.full(len(order), -1)
    for i in order:
        if labels[i] < 0:
            members = (labels < 0) & (w_NN[i] > 0)
            members[i] = True
            labels[members] = i
    return labels


def _sweep(w_NN: np.ndarray, labels: np.ndarray, order: np.ndarray) -> bool:
    """Move every item to its best cluster; labels are item numbers, so a free one is always at hand."""
    moved = False
    n = len(labels)
    for i in order:
        sums = np.bincount(labels, weights=w_NN[i], minlength=n)
        own = sums[labels[i]]
        free = int(np.flatnonzero(np.bincount(labels, minlength=n) == 0)[0]) if len(set(labels.tolist())) < n else -1
        target, gain = int(sums.argmax()), sums.max()
        if gain < 0 and free >= 0:
            target, gain = free, 0.0
        if gain > own + MIN_GAIN:
            labels[i] = target
            moved = True
    return moved


def open_triangles(p_NN: np.ndarray, threshold: float = 0.5) -> tuple[int, np.ndarray]:
    """Contradictions i~j, j~k, i!~k.

    Returns:
        Their number, and (N, N) how many of them each pair is part of.
    """
    w = weights(p_NN, threshold)
    same, different = (w > 0).astype(float), (w < 0).astype(float)
    middle = same @ same  # paths of two "same" edges between i and k
    total = round(float((middle * different).sum()) / 2)
    broken = different * middle + same * (same @ different + different @ same)
    return total, broken


def hubs(p_NN: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """(N,) bool: items with at least three matches, most of which differ from each other (a vague response)."""
    w = weights(p_NN, threshold)
    same, different = (w > 0).astype(float), (w < 0).astype(float)
    degree = same.sum(axis=1)
    clash = ((same @ different) * same).sum(axis=1)  # ordered pairs of matches that differ from each other
    return (degree >= 3) & (clash > 0.5 * degree * np.maximum(degree - 1, 1))


def adjusted_rand(found: np.ndarray, true: np.ndarray) -> float:
    """Adjusted Rand index of two labellings; 1 when they agree or when there is nothing to tell apart."""
    found, true = canonical(found), canonical(true)
    table = np.zeros((found.max() + 1, true.max() + 1))
    np.add.at(table, (found, true), 1)

    def pairs(x: np.ndarray) -> float:
        return float((x * (x - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = rows * columns / max(len(found) * (len(found) - 1) / 2, 1)
    spread = (rows + columns) / 2 - expected
    return 1.0 if spread == 0 else (together - expected) / spread


def reconcile(partitions: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One partition from several of the same items: correlation clustering on how often two are together."""
    together = np.mean([labels[:, None] == labels[None, :] for labels in partitions], axis=0)
    return corr_cluster(weights(together), rng)
