"""Swiss tournament in which points, opponents and byes belong to players, never to positions in a list."""

from __future__ import annotations

import math

import numpy as np

from .topologies import Key, Pair, Round, Scorebook, Tournament, win_share


def default_rounds(players: int) -> int:
    """ceil(log2 N), at most N-1."""
    return min(math.ceil(math.log2(players)), players - 1) if players > 1 else 0


def swiss(players: int, rng: np.random.Generator, rounds: int | None = None) -> Tournament:
    """Pair equals with equals for some rounds. Win 1, draw 1/2; a bye is worth a full point.

    The bye of an odd field goes to the lowest placed player without an earlier one: the best of the field then cannot
    lose the title to the draw of the lots.

    Args:
        players: number of players.
        rng: draws the lots among equal points.
        rounds: default ceil(log2 N); never more than N-1 rounds.

    Returns:
        A tournament with the key (points, Buchholz); Buchholz is the sum of the points of the distinct opponents met.
    """
    book = Scorebook(players)
    points = [0.0] * players
    missed = [0] * players  # matches that could not be scored
    paired: list[set[int]] = [set() for _ in range(players)]
    opponents: list[set[int]] = [set() for _ in range(players)]
    had_bye: set[int] = set()
    total_rounds = min(rounds, players - 1) if rounds is not None else default_rounds(players)
    for _ in range(total_rounds):
        lots = rng.permutation(players)
        table = sorted(range(players), key=lambda p, lots=lots: (-points[p], lots[p]))  # type: ignore[misc]
        byes: list[int] = []
        if players % 2:
            byes = [next((p for p in reversed(table) if p not in had_bye), table[-1])]
            had_bye.update(byes)
            points[byes[0]] += 1
            table.remove(byes[0])
        matches = pair_up(table, paired)
        results = yield Round(matches, "swiss", byes)
        for (a, b), result in zip(matches, results, strict=True):
            book.add((a, b), result)
            paired[a].add(b)
            paired[b].add(a)
            if result is None:
                missed[a] += 1
                missed[b] += 1
                continue
            opponents[a].add(b)
            opponents[b].add(a)
            points[a] += win_share(result)
            points[b] += 1 - win_share(result)
    # An outage is neither a loss nor a draw: points count per round that gave any.
    rate = [p * total_rounds / max(total_rounds - m, 1) for p, m in zip(points, missed, strict=True)]
    return book.finish(standings(rate, opponents))


def pair_up(table: list[int], paired: list[set[int]]) -> list[Pair]:
    """Pairs from the top of the table: the next player not met before, or the next one if there is none."""
    waiting = list(table)
    matches: list[Pair] = []
    while len(waiting) > 1:
        top = waiting.pop(0)
        rival = next((p for p in waiting if p not in paired[top]), waiting[0])
        waiting.remove(rival)
        matches.append((top, rival))
    return matches


def standings(points: list[float], opponents: list[set[int]]) -> list[Key | None]:
    """Sort keys (points, Buchholz)."""
    return [(round(mine, 9), round(sum(points[o] for o in opponents[p]), 9)) for p, mine in enumerate(points)]
