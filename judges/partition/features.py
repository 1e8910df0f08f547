"""A pair of texts as numbers: symmetric, hashed, no vocabulary to store."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from zlib import crc32

import numpy as np

from .. import equivalence_text as text_tier

SHARED, ONLY_ONE, DENSE = 2048, 2048, 10
WIDTH = DENSE + SHARED + ONLY_ONE


def pair_features(first: str, second: str) -> np.ndarray:
    """(WIDTH,) features of a pair, the same in either order.

    Ten similarity measures, then hashed bags: words (and word pairs) that both texts have, and those that only one of
    them has. The second bag is where "not", "fell" or "6" shows up.
    """
    first, second = sorted((first[: text_tier.MAX_TEXT], second[: text_tier.MAX_TEXT]))
    words = [text_tier.words(text) for text in (first, second)]
    bags = [Counter(w) for w in words]
    content = [text_tier.content_words(text) for text in (first, second)]
    numbers = [text_tier.numbers(text) for text in (first, second)]
    bigrams = [Counter(pairwise(w)) for w in words]
    lengths = [max(len(text), 1) for text in (first, second)]
    features = np.zeros(WIDTH)
    features[:DENSE] = (
        text_tier.cosine(first, second),
        _jaccard(*bags),
        _jaccard(*content),
        _jaccard(*bigrams),
        float(numbers[0] == numbers[1]),
        float(bool(numbers[0] or numbers[1]) and numbers[0] != numbers[1]),
        min(abs(text_tier.negations(first) - text_tier.negations(second)), 3),
        min(lengths) / max(lengths),
        float(text_tier.short_answer(first) == text_tier.short_answer(second)),
        float(words[0][-1:] == words[1][-1:]),
    )
    for start, size, bag in (
        (DENSE, SHARED, bags[0] & bags[1]),
        (DENSE + SHARED, ONLY_ONE, (bags[0] - bags[1]) + (bags[1] - bags[0])),
    ):
        norm = max(sum(bag.values()), 1) ** 0.5
        for word, count in bag.items():
            code = crc32(word.encode("utf-8", "surrogatepass"))
            features[start + code % size] += (1 if code >> 31 else -1) * count / norm
    return features


def _jaccard(first: Counter, second: Counter) -> float:  # type: ignore[type-arg]
    union = sum((first | second).values())
    return sum((first & second).values()) / union if union else 1.0
