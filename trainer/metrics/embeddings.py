"""Text vectors without a model: hashed character n-grams weighted by TF-IDF, the same on every machine."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np


def hashed_tfidf(
    texts: Sequence[str], n: tuple[int, int] = (3, 5), dimensions: int = 2048, words: bool = False
) -> np.ndarray:
    """L2-normalised TF-IDF vectors [N, dimensions] of character (or word) n-grams.

    Args:
        texts: the texts; empty ones become zero vectors.
        n: shortest and longest n-gram.
        dimensions: buckets of the hash (CRC-32, so no seed and no process-dependent hash).
        words: n-grams of whitespace words.
    """
    counts = np.zeros((len(texts), dimensions))
    for row, text in enumerate(texts):
        units: Sequence[str] = text.split() if words else text
        glue = " " if words else ""
        grams = Counter(
            glue.join(units[i : i + size]) for size in range(n[0], n[1] + 1) for i in range(len(units) - size + 1)
        )
        for gram, count in grams.items():
            counts[row, zlib.crc32(gram.encode("utf-8", "replace")) % dimensions] += count
    present = (counts > 0).sum(0)
    weighted = counts * (np.log((1 + len(texts)) / (1 + present)) + 1)
    norms = np.linalg.norm(weighted, axis=1, keepdims=True)
    return np.divide(weighted, norms, out=np.zeros_like(weighted), where=norms > 0)
