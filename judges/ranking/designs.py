"""Which pairs to ask in one parallel round, and who is shown first.

Balanced cycles: write the responses on a circle in random order and compare everybody with the one ``d`` places on.
Each such cycle shows every response first once and second once, so a constant position bias cancels, and one call per
pair buys twice as many opponents as asking both orders.
"""

from __future__ import annotations

import math

import numpy as np

from .topologies import Pair
from .types import ALL_PAIRS_UP_TO

DEFAULT_DEGREE = 6


def default_budget(items: int, degree: int | None) -> int:
    """Calls of a one-order design: degree * N / 2, all pairs for small groups, both orders for a group of two."""
    if items == 2:
        return 2 if degree is None else degree
    if degree is None and items <= ALL_PAIRS_UP_TO:
        return items * (items - 1) // 2
    return (DEFAULT_DEGREE if degree is None else degree) * items // 2


def balanced_cycles(items: int, budget: int, rng: np.random.Generator) -> list[Pair]:
    """Calls (first, second) of the one-round design, cut at ``budget``.

    Cycles with offsets 1..(N-1)//2 in random order; then, for even N, the pairs of opposite places, each in a random
    order: by now every pair has been asked once. The next pass asks all of them in the opposite order. The first
    offset shares no divisor with N, so that one cycle alone connects everybody.
    """
    if items < 2 or budget <= 0:
        return []
    place = rng.permutation(items)
    offsets = [int(d) + 1 for d in rng.permutation((items - 1) // 2)]
    linking = next((k for k, d in enumerate(offsets) if math.gcd(d, items) == 1), None)
    if linking is not None:
        offsets[0], offsets[linking] = offsets[linking], offsets[0]
    once: list[Pair] = []
    for offset in offsets:
        once += zip(place.tolist(), np.roll(place, -offset).tolist(), strict=True)
    if items % 2 == 0:
        half = items // 2
        opposite = zip(place[:half].tolist(), place[half:].tolist(), strict=True)
        once += [pair if rng.random() < 0.5 else pair[::-1] for pair in opposite]
    calls: list[Pair] = []
    while len(calls) < budget:
        calls += once
        once = [pair[::-1] for pair in once]
    return calls[:budget]


def random_pairs(items: int, budget: int, rng: np.random.Generator) -> list[Pair]:
    """Uniformly random distinct pairs, reshuffled when they are used up, each in a random order."""
    pairs = [(a, b) for a in range(items) for b in range(a + 1, items)]
    calls: list[Pair] = []
    while pairs and len(calls) < budget:
        calls += [pairs[k] for k in rng.permutation(len(pairs))[: budget - len(calls)]]
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in calls]


def note(first: int, second: int, met_NN: np.ndarray, lead_N: np.ndarray) -> None:
    """Count a call: the pair has met once more, and who was shown first leads by one."""
    met_NN[first, second] += 1
    met_NN[second, first] += 1
    lead_N[first] += 1
    lead_N[second] -= 1


def adaptive_round(
    theta_N: np.ndarray,
    cov_NN: np.ndarray,
    noise: float,
    met_NN: np.ndarray,
    lead_N: np.ndarray,
    limit: int,
    rng: np.random.Generator,
) -> list[Pair]:
    """The next pairs worth asking: order uncertain, and one more call would shrink the uncertainty.

    Args:
        theta_N: ratings so far.
        cov_NN: their posterior covariance.
        noise: variance of one call in the units of theta.
        met_NN: calls already spent on each pair.
        lead_N: times shown first minus times shown second.
        limit: most calls to return; each item is used at most once.
        rng: breaks ties.
    """
    items = len(theta_N)
    a_P, b_P = np.triu_indices(items, k=1)
    diagonal = np.diag(cov_NN)
    variance = np.maximum(diagonal[a_P] + diagonal[b_P] - 2 * cov_NN[a_P, b_P], 1e-12)
    z = np.abs(theta_N[a_P] - theta_N[b_P]) / np.sqrt(2 * variance)
    wrong = np.array([math.erfc(value) for value in z]) / 2
    utility = wrong * variance / (variance + noise) / (1 + 4 * met_NN[a_P, b_P])
    lots = rng.permutation(len(a_P))
    order = lots[np.argsort(-np.round(utility[lots], 12), kind="stable")]
    used: set[int] = set()
    calls: list[Pair] = []
    for k in order:
        a, b = int(a_P[k]), int(b_P[k])
        if len(calls) >= limit:
            break
        if a in used or b in used:
            continue
        used |= {a, b}
        if lead_N[b] < lead_N[a] or (lead_N[a] == lead_N[b] and rng.random() < 0.5):
            a, b = b, a
        calls.append((a, b))
    return calls
