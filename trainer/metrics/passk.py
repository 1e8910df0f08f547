"""Success metrics over repeated samples of a problem: pass@k, pass^k, their area, and majority voting. Pure Python.

Rollouts that could not be judged are no samples: they are in neither n nor c, and their number is reported beside the
metric. Failed and timed-out attempts are samples and count in n.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from itertools import combinations

import numpy as np


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that at least one of k samples is correct, from n samples of which c are.

    Raises:
        ValueError: if k is larger than n, or c is not between 0 and n.
    """
    _check(n, c, k)
    return 1.0 - math.prod((n - c - i) / (n - i) for i in range(k))


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Unbiased probability that all of k samples are correct (pass^k)."""
    _check(n, c, k)
    return math.comb(c, k) / math.comb(n, k)


def plug_in_pass_at_k(n: int, c: int, k: int) -> float:
    """1 - (1 - c/n)^k: biased low; here to be compared with."""
    _check(n, c, k)
    return 1 - (1 - c / n) ** k


def _check(n: int, c: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples of every problem, found {n}; sample more or lower k")
    if not 0 <= c <= n:
        raise ValueError(f"{c} correct samples of {n} is impossible")


def auc_at_k(values: Sequence[float]) -> dict[str, float]:
    """Area under pass@1 .. pass@K in both normalisations that are in use: the mean, and the trapezoid over K-1."""
    if not len(values):
        raise ValueError("auc_at_k needs pass@1 .. pass@K, got nothing")
    array = np.asarray(values, float)
    steps = max(len(array) - 1, 1)
    trapezoid = float(((array[1:] + array[:-1]) / 2).sum() / steps) if len(array) > 1 else float(array[0])
    return {"mean": float(array.mean()), "trapezoid": trapezoid}


def maj_at_k(
    answers: Sequence[Hashable | None], correct: Collection[Hashable], k: int, draws: int = 2000, seed: int = 0
) -> float:
    """Expected accuracy of the plurality answer among k of the samples.

    Args:
        answers: canonical answers; None is an answer that could not be parsed and forms no cluster.
        correct: the right canonical answers; most tasks have one.
        k: votes. All subsets are enumerated when there are at most `draws`, else `draws` random ones are taken.
        draws: number of random subsets.
        seed: of the random subsets.

    Returns:
        Accuracy; tied answers share the vote, and subsets without any parsed answer are wrong.
    """
    n = len(answers)
    if not 1 <= k <= n:
        raise ValueError(f"maj@{k} needs at least {k} samples, found {n}")
    if len(set(answers)) == 1:
        return vote(answers, correct)
    if math.comb(n, k) <= draws:
        subsets: Sequence[Sequence[int]] = list(combinations(range(n), k))
    else:
        rng = np.random.default_rng(seed)
        subsets = [rng.choice(n, k, replace=False).tolist() for _ in range(draws)]
    return float(np.mean([vote([answers[i] for i in subset], correct) for subset in subsets]))


def vote(answers: Sequence[Hashable | None], correct: Collection[Hashable]) -> float:
    """Share of a plurality vote that falls on correct answers: 1, 0, or what part of the tied ones is correct."""
    counts = Counter(a for a in answers if a is not None)
    top = max(counts.values(), default=0)
    winners = [answer for answer, count in counts.items() if count == top]
    return sum(answer in correct for answer in winners) / len(winners) if winners else 0.0


def maj_at_k_law(probabilities: Sequence[float], k: int) -> float:
    """Exact maj@k when answer 0 is the right one and answers are drawn independently with these probabilities."""
    total = 0.0

    def visit(place: int, left: int, counts: list[int]) -> None:
        nonlocal total
        if place == len(probabilities) - 1:
            full = [*counts, left]
            ways = float(math.factorial(k))
            for count, p in zip(full, probabilities, strict=True):
                ways = ways / math.factorial(count) * p**count
            top = max(full)
            total += ways * (full[0] == top) / full.count(top)
            return
        for count in range(left + 1):
            visit(place + 1, left - count, [*counts, count])

    visit(0, k, [])
    return total


def discovery_at_k(first_success: Sequence[int | None], k: int) -> float:
    """Share of questions whose first success came within k generations; None = never."""
    return float(np.mean([f is not None and f <= k for f in first_success])) if len(first_success) else float("nan")
