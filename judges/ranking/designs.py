"""Which pairs to ask in one parallel round, and who is shown first.

Balanced cycles: write the responses on a circle in random order and compare everybody with the one ``d`` places on.
Each such cycle shows every response first once and second once, so a constant position bias cancels, and one call per
pair buys twice as many opponents as asking both orders.
"""

from __future__ import annotations

import math

import numpy as np

from .topologies import Pair

ALL_PAIRS_UP_TO = 8
DEFAULT_DEGREE = 6


def default_budget(items: int, degree: int | None) -> int:
    """Calls of a one-order design: degree * N / 2, all pairs for small groups, both orders for a group of two."""
    if items == 2:
        return 2 if degree is None else degree
    if degree is None and items <= ALL_PAIRS_UP_TO:
        return items * (items - 1) // 2
    return (DEFAULT_DEGREE if degree is None else degree) * items // 2


def balanced_cycles(items: int, budget: int, rng: np.random.Generator) -> list[Pair]:
    """Calls (first, second) of circulant cycles with random offsets, cut at ``budget``.

    The first offset shares no divisor with N, so that one cycle alone connects everybody; the second pass over the
    offsets swaps the roles, so a pair comes back only in the opposite order.
    """
    if items < 2 or budget <= 0:
        return []
    if items == 2:
        pair = (0, 1) if rng.random() < 0.5 else (1, 0)
        return [pair if turn % 2 == 0 else pair[::-1] for turn in range(budget)]
    place = rng.permutation(items)
    offsets = [int(d) + 1 for d in rng.permutation((items - 1) // 2)]
    linking = next(k for k, d in enumerate(offsets) if math.gcd(d, items) == 1)
    offsets[0], offsets[linking] = offsets[linking], offsets[0]
    calls: list[Pair] = []
    cycle = 0
    while len(calls) < budget:
        passes, index = divmod(cycle, len(offsets))
        ahead = np.roll(place, -offsets[index])
        first, second = (place, ahead) if passes % 2 == 0 else (ahead, place)
        calls += zip(first.tolist(), second.tolist(), strict=True)
        cycle += 1
    return calls[:budget]


def all_pairs(items: int, rng: np.random.Generator) -> list[Pair]:
    """Every pair once: the full cycles and, for even N, the matching of opposite places with random orientation."""
    calls = balanced_cycles(items, items * ((items - 1) // 2), rng)
    if items % 2 == 0:
        met = {frozenset(call) for call in calls}
        rest = [(a, b) for a in range(items) for b in range(a + 1, items) if frozenset((a, b)) not in met]
        calls += [pair if rng.random() < 0.5 else pair[::-1] for pair in rest]
    return calls


def balanced(items: int, budget: int, rng: np.random.Generator) -> list[Pair]:
    """The one-round design of method ``balanced``: all pairs when they are few and affordable, else cycles."""
    pairs = items * (items - 1) // 2
    if 2 < items <= ALL_PAIRS_UP_TO and budget == pairs:
        return all_pairs(items, rng)
    return balanced_cycles(items, budget, rng)


def random_pairs(items: int, budget: int, rng: np.random.Generator) -> list[Pair]:
    """Uniformly random distinct pairs, reshuffled when they are used up, each in a random order."""
    pairs = [(a, b) for a in range(items) for b in range(a + 1, items)]
    calls: list[Pair] = []
    while pairs and len(calls) < budget:
        calls += [pairs[k] for k in rng.permutation(len(pairs))[: budget - len(calls)]]
    return [pair if rng.random() < 0.5 else pair[::-1] for pair in calls]


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
