"""How different the samples of one prompt are: n-grams, Vendi score, clusters, homogeneity. numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def distinct_n(texts: Sequence[str | Sequence], n: int) -> float:
    """Unique n-grams over all n-grams, pooled over the texts; nan when there are none.

    Texts are split at whitespace; token lists are taken as they are. The value falls with total length, so compare at
    one token budget.
    """
    grams = []
    for text in texts:
        tokens = text.split() if isinstance(text, str) else list(text)
        grams += [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def vendi(similarity_NN: np.ndarray) -> tuple[float, float]:
    """Effective number of distinct items (arXiv 2210.02410), between 1 and N.

    Args:
        similarity_NN: similarities with a unit diagonal; negative eigenvalues (the matrix need not be positive
            semi-definite) are clipped.

    Returns:
        The score and the clipped mass.
    """
    k = np.asarray(similarity_NN, float)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or not len(k):
        raise ValueError(f"vendi needs a square similarity matrix, got shape {k.shape}")
    values = np.linalg.eigvalsh((k + k.T) / 2) / len(k)
    clipped = float(-values[values < 0].sum())
    kept = values[values > 1e-12]
    return float(np.exp(-(kept * np.log(kept)).sum())), clipped


def cosines(vectors_ND: np.ndarray) -> np.ndarray:
    """Cosine similarity matrix; zero vectors are similar to nothing but themselves."""
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    unit = np.divide(vectors_ND, norms, out=np.zeros_like(vectors_ND, dtype=float), where=norms > 0)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, 1.0)
    return similarity


def components(similarity_NN: np.ndarray, threshold: float) -> np.ndarray:
    """Labels of the connected components of the graph similarity >= threshold. Components can chain."""
    n = len(similarity_NN)
    labels = np.full(n, -1)
    for start in range(n):
        if labels[start] < 0:
            stack, label = [start], int(labels.max(initial=-1)) + 1
            labels[start] = label
            while stack:
                near = np.flatnonzero((similarity_NN[stack.pop()] >= threshold) & (labels < 0))
                labels[near] = label
                stack += near.tolist()
    return labels


def leaders(similarity_NN: np.ndarray, threshold: float) -> np.ndarray:
    """Labels of greedy leader clustering, in the order given: the first leader within the threshold takes an item."""
    heads: list[int] = []
    labels = np.empty(len(similarity_NN), int)
    for i in range(len(similarity_NN)):
        close = [k for k, head in enumerate(heads) if similarity_NN[i, head] >= threshold]
        if not close:
            heads.append(i)
        labels[i] = close[0] if close else len(heads) - 1
    return labels


def effective_number(labels: Sequence | np.ndarray) -> dict[str, float]:
    """Number of clusters, their entropy (nats; the semantic entropy), its exponential and the inverse Simpson index."""
    _, sizes = np.unique(np.asarray(labels), return_counts=True)
    if not len(sizes):
        return {"clusters": 0.0, "entropy": float("nan"), "exp_entropy": float("nan"), "inverse_simpson": float("nan")}
    p = sizes / sizes.sum()
    entropy = float(-(p * np.log(p)).sum()) + 0.0
    numbers = {"exp_entropy": float(np.exp(entropy)), "inverse_simpson": float(1 / (p**2).sum())}
    return {"clusters": float(len(sizes)), "entropy": entropy, **numbers}


def intra_homogeneity(vectors_ND: np.ndarray, threshold: float = 0.8) -> dict[str, float]:
    """Mean cosine over pairs of responses to one prompt, and the share of pairs strictly above a threshold.

    One response has no pairs: both are nan.
    """
    n = len(vectors_ND)
    pairs = cosines(np.asarray(vectors_ND, float))[np.triu_indices(n, 1)]
    if not len(pairs):
        return {"mean": float("nan"), "above": float("nan")}
    return {"mean": float(pairs.mean()), "above": float((pairs > threshold + 1e-9).mean())}


def inter_homogeneity(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """Mean cosine between the responses of two models to one prompt."""
    both = cosines(np.vstack([a_ND, b_MD]).astype(float))
    return float(both[: len(a_ND), len(a_ND) :].mean())


def hivemind(
    responses: dict[str, dict[str, np.ndarray]], threshold: float = 0.8, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Homogeneity within and between models on the same prompts (arXiv 2510.22954).

    Args:
        responses: model -> prompt id -> vectors [N, D] of its responses, N >= 2, the same prompts for every model.
        threshold: similarity that counts as alike.
        seed: of the random pairing of the floor.

    Returns:
        For each model ``mean`` (intra), ``pools_above`` (share of prompts whose mean exceeds the threshold),
        ``pairs_above`` and ``floor`` (mean cosine of responses to *different* prompts: what similarity is worth here);
        and for each pair ``a|b`` the ``mean`` between the two.
    """
    rng = np.random.default_rng(seed)
    table: dict[str, dict[str, float]] = {}
    for model, pools in responses.items():
        stats = [intra_homogeneity(vectors, threshold) for vectors in pools.values()]
        means = np.array([s["mean"] for s in stats])
        table[model] = {
            "mean": float(np.nanmean(means)),
            "pools_above": float((means > threshold).mean()),
            "pairs_above": float(np.nanmean([s["above"] for s in stats])),
            "floor": _floor(list(pools.values()), rng),
        }
    models = list(responses)
    for i, a in enumerate(models):
        for b in models[i + 1 :]:
            shared = [q for q in responses[a] if q in responses[b]]
            between = [inter_homogeneity(responses[a][q], responses[b][q]) for q in shared]
            table[f"{a}|{b}"] = {"mean": float(np.mean(between)) if between else float("nan")}
    return table


def _floor(pools: list[np.ndarray], rng: np.random.Generator, draws: int = 500) -> float:
    if len(pools) < 2:
        return float("nan")
    values = []
    for _ in range(draws):
        i, j = rng.choice(len(pools), 2, replace=False)
        pair = np.vstack([pools[i][rng.integers(len(pools[i]))], pools[j][rng.integers(len(pools[j]))]])
        values.append(cosines(pair.astype(float))[0, 1])
    return float(np.mean(values))
