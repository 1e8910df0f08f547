"""How different are the responses of a group? Measures of clusters, of pair probabilities and of the surface.

    diversity(texts, labels=None, p_same=None, metrics=(), alpha=0.5) -> DiversityReport(status, metrics)

A group of one is ``degenerate``: its diversity is 0 and nothing is divided by N - 1.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .partition.rewards import cluster_sizes, darling_diversity, uniqueness_weights

MAX_WORDS = 4_000  # surface measures look at this many words of each text
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class DiversityReport:
    """``status`` is ``ok`` or ``degenerate``; ``metrics`` by name, None where a measure lacks its input."""

    status: str
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Input:
    texts: Sequence[str]
    labels: Sequence[int] | None
    p_same: np.ndarray | None
    alpha: float


def diversity(
    texts: Sequence[str],
    labels: Sequence[int | None] | None = None,
    p_same: np.ndarray | None = None,
    metrics: Sequence[str] = (),
    alpha: float = 0.5,
) -> DiversityReport:
    """Measure a group.

    Args:
        texts: the responses.
        labels: cluster of each response, from :mod:`.partition`; None entries are unknown and counted as alone.
        p_same: (N, N) probability that two say the same; nan where unknown.
        metrics: names to compute, default all: see :data:`METRICS`.
        alpha: exponent of ``uniqueness``.

    Returns:
        The report. Cluster measures are None without labels, pair measures None without probabilities.

    Raises:
        ValueError: for an unknown metric or lengths that differ.

    >>> report = diversity(["a", "b", "c"], labels=[0, 0, 1], metrics=["n_distinct", "darling"])
    >>> report.metrics
    {'n_distinct': 2, 'darling': [0.5, 0.5, 1.0]}
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"diversity metric {unknown[0]!r} is unknown; choose from {sorted(METRICS)}")
    if labels is not None and len(labels) != len(texts):
        raise ValueError(f"{len(labels)} labels for {len(texts)} texts")
    if p_same is not None and np.shape(p_same) != (len(texts), len(texts)):
        raise ValueError(f"p_same has shape {np.shape(p_same)} for {len(texts)} texts")
    names = list(metrics) or list(METRICS)
    if len(texts) < 2:
        return DiversityReport("degenerate", {name: _DEGENERATE.get(name, 0.0) for name in names})
    alone = max((label for label in labels or () if label is not None), default=-1)
    filled = None
    if labels is not None:
        filled = [label if label is not None else alone + 1 + k for k, label in enumerate(labels)]
    data = _Input(texts, filled, None if p_same is None else np.asarray(p_same, dtype=float), alpha)
    return DiversityReport("ok", {name: METRICS[name](data) for name in names})


# -- clusters --------------------------------------------------------------------------------------------------------


def _of_clusters(measure: Callable[[np.ndarray], Any]) -> Callable[[_Input], Any]:
    """A measure of the sizes of the clusters, largest first."""

    def compute(data: _Input) -> Any:
        if data.labels is None:
            return None
        return measure(np.array(sorted(Counter(data.labels).values(), reverse=True)))

    return compute


def distinct_at_k(sizes: np.ndarray) -> dict[int, float]:
    """Expected number of distinct clusters among k responses drawn without replacement, for k = 1, 2, 4, ..., N.

    >>> distinct_at_k(np.array([2, 1]))
    {1: 1.0, 2: 1.6667, 3: 2.0}
    """
    n = int(sizes.sum())
    ks = sorted({2**power for power in range(n.bit_length()) if 2**power <= n} | {n})
    return {k: round(sum(1 - math.comb(n - int(s), k) / math.comb(n, k) for s in sizes), 4) for k in ks}


def _shannon(sizes: np.ndarray) -> float:
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def _simpson(sizes: np.ndarray) -> float:
    """Probability that two different responses are in different clusters."""
    n = sizes.sum()
    return float(1 - (sizes * (sizes - 1)).sum() / (n * (n - 1)))


# -- pairs -----------------------------------------------------------------------------------------------------------


def _mean_pairwise(data: _Input) -> float | None:
    """Mean of 1 - p_same over pairs with an answer."""
    if data.p_same is None:
        return None
    values = data.p_same[np.triu_indices(len(data.texts), k=1)]
    values = values[~np.isnan(values)]
    return float(1 - values.mean()) if len(values) else None


def _vendi(data: _Input) -> float | None:
    """Vendi score (arXiv 2210.02410): exponential of the entropy of the eigenvalues of p_same / N; unknown pairs are
    taken as different."""
    if data.p_same is None:
        return None
    kernel = np.nan_to_num((data.p_same + data.p_same.T) / 2)
    np.fill_diagonal(kernel, 1.0)
    values = np.clip(np.linalg.eigvalsh(kernel / len(kernel)), 0, None)
    values = values[values > 0] / values.sum()  # verdicts that contradict each other can give negative eigenvalues
    return float(np.exp(-(values * np.log(values)).sum()))


# -- surface ---------------------------------------------------------------------------------------------------------


def _tokens(text: str) -> list[str]:
    return _WORD.findall(text.casefold())[:MAX_WORDS]


def _ngrams(tokens: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[k:] for k in range(size)), strict=False))


def _distinct_ngrams(size: int) -> Callable[[_Input], float]:
    """Share of different n-grams among all n-grams of the group."""

    def compute(data: _Input) -> float:
        total: Counter[tuple[str, ...]] = Counter()
        for text in data.texts:
            total.update(_ngrams(_tokens(text), size))
        return len(total) / max(sum(total.values()), 1)

    return compute


def _self_bleu(data: _Input) -> float:
    """Mean BLEU-4 of each text against the others (lower is more diverse); empty precisions count 0.1."""
    tokens = [_tokens(text) for text in data.texts]
    grams = [[_ngrams(words, size) for size in range(1, 5)] for words in tokens]
    return float(np.mean([_bleu(k, tokens, grams) for k in range(len(tokens))]))


def _bleu(which: int, tokens: list[list[str]], grams: list[list[Counter[tuple[str, ...]]]]) -> float:
    if not tokens[which]:
        return float(any(not words for k, words in enumerate(tokens) if k != which))
    logs = []
    for size in range(4):
        mine = grams[which][size]
        if not mine:
            break  # shorter than the n-gram
        most: Counter[tuple[str, ...]] = Counter()
        for k, other in enumerate(grams):
            if k != which:
                most |= other[size] & mine
        logs.append(math.log(max(sum(most.values()), 0.1) / sum(mine.values())))
    length = len(tokens[which])
    nearest = min((len(words) for k, words in enumerate(tokens) if k != which), key=lambda n: (abs(n - length), n))
    brevity = min(0.0, 1 - nearest / length)
    return math.exp(brevity + sum(logs) / len(logs))


METRICS: dict[str, Callable[[_Input], Any]] = {
    "n_distinct": _of_clusters(len),
    "cluster_sizes": _of_clusters(lambda sizes: sizes.tolist()),
    "distinct_k": _of_clusters(distinct_at_k),
    "shannon": _of_clusters(_shannon),
    "simpson": _of_clusters(_simpson),
    "darling": lambda d: None if d.labels is None else darling_diversity(cluster_sizes(d.labels), 0.0).tolist(),
    "uniqueness": lambda d: None if d.labels is None else uniqueness_weights(d.labels, d.alpha).tolist(),
    "mean_pairwise": _mean_pairwise,
    "vendi": _vendi,
    "self_bleu": _self_bleu,
    "distinct_1": _distinct_ngrams(1),
    "distinct_2": _distinct_ngrams(2),
}
"""Name -> measure; ``distinct_1`` and ``distinct_2`` are shares of different words and word pairs."""

_DEGENERATE: dict[str, Any] = {"cluster_sizes": [1], "distinct_k": {1: 1.0}, "darling": [0.0], "uniqueness": [1.0]}
