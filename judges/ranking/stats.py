"""Diagnostics of a ranked group: connectivity, cycles, position bias, and whether there is any evidence at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from .types import Record


def largest_component(items: int, records: Sequence[Record]) -> list[int]:
    """Items of the largest part that valid calls connect; ties go to the part with more calls, then by number."""
    parent = list(range(items))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    valid = [r for r in records if r.outcome.valid]
    for r in valid:
        parent[root(r.first)] = root(r.second)
    members: dict[int, list[int]] = defaultdict(list)
    calls: dict[int, int] = defaultdict(int)
    for i in range(items):
        members[root(i)].append(i)
    for r in valid:
        calls[root(r.first)] += 1
    return max(members.values(), key=lambda part: (len(part), calls[root(part[0])], -part[0]), default=[])


def net_wins(items: int, records: Sequence[Record]) -> np.ndarray:
    """(N, N) wins minus losses of row against column over all valid calls; nan for pairs never compared."""
    net = np.full((items, items), np.nan)
    for r in records:
        if r.outcome.valid:
            edge = 2 * r.outcome.first_share - 1
            net[r.first, r.second] = np.nan_to_num(net[r.first, r.second]) + edge
            net[r.second, r.first] = -net[r.first, r.second]
    return net


def cyclic_triads(items: int, records: Sequence[Record]) -> float | None:
    """Share of triples, all three pairs decided, that form a cycle; None when there is no such triple."""
    beats = (np.nan_to_num(net_wins(items, records)) > 0).astype(float)
    met = beats + beats.T
    decided = round(np.trace(met @ met @ met) / 6)  # closed walks of length 3 count each triangle 6 times,
    cycles = round(np.trace(beats @ beats @ beats) / 3)  # and each directed cycle 3 times
    return cycles / decided if decided else None


def first_slot(records: Sequence[Record]) -> tuple[float | None, float | None]:
    """(share of decisive calls won by the first slot, share of ties); None without such calls."""
    shares = [r.outcome.first_share for r in records if r.outcome.valid]
    decisive = [share for share in shares if share != 0.5]
    p_first = sum(decisive) / len(decisive) if decisive else None
    return p_first, (1 - len(decisive) / len(shares) if shares else None)


def inconsistent_rate(records: Sequence[Record]) -> float | None:
    """Share of pairs asked in both orders whose two verdicts differ; None when no pair was asked in both."""
    seen: dict[tuple[int, int], list[float]] = defaultdict(list)
    for r in records:
        if r.outcome.valid:
            seen[(r.first, r.second)].append(r.outcome.first_share)
    both = [(share, 1 - seen[(b, a)][0]) for (a, b), (share, *_) in seen.items() if a < b and (b, a) in seen]
    return sum(one != other for one, other in both) / len(both) if both else None


def no_evidence(records: Sequence[Record]) -> bool:
    """True when the calls cannot order anybody: every pair drawn, or every margin the same.

    A margin that never changes is a function of the slot alone (a judge that always prefers the first response), so
    whatever order a fit would make of it comes from the design.
    """
    valid = [r for r in records if r.outcome.valid]
    if not valid:
        return True
    use_scores = all(r.outcome.graded for r in valid)
    margins = []
    pairs: dict[tuple[int, int], float] = defaultdict(float)
    for r in valid:
        first, second = r.outcome.scores if use_scores else (r.outcome.first_share, 1 - r.outcome.first_share)
        margins.append(first - second)
        low_first = r.first < r.second
        pairs[(r.first, r.second) if low_first else (r.second, r.first)] += margins[-1] if low_first else -margins[-1]
    constant = len(margins) > 1 and max(margins) - min(margins) < 1e-12
    return constant or all(abs(net) < 1e-12 for net in pairs.values())
