"""What all tournaments share: the protocol between a tournament and whoever plays its matches.

A tournament is a generator over player numbers 0..N-1. It yields a round (a list of matches), is sent one result per
match (the two totals, or None when the match could not be scored) and finally returns one sort key per player: equal
keys are equal places, and None is a player without a place. Arrange the same players in another way and the keys
belong to the same players: nothing here looks at the position of a player in a list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable

import numpy as np

Pair = tuple[int, int]
Totals = tuple[float, float]
Key = tuple[float, ...]
Tournament = Generator[list[Pair], list[Totals | None], list[Key | None]]


class Round(list[Pair]):
    """The matches of one parallel round, with what a reader needs to draw it.

    Attributes:
        stage: part of the tournament.
        byes: players without an opponent in this round.
    """

    def __init__(self, pairs: Iterable[Pair], stage: str, byes: Iterable[int] = ()) -> None:
        super().__init__(pairs)
        self.stage = stage
        self.byes = tuple(byes)


class Scorebook:
    """Totals of every player, kept by player number."""

    def __init__(self, players: int) -> None:
        self.totals: list[list[float]] = [[] for _ in range(players)]
        self.decided = 0

    def add(self, pair: Pair, result: Totals | None) -> None:
        """Note the totals of one match; a match that could not be scored leaves no trace."""
        if result is None:
            return
        self.decided += result[0] != result[1]
        for player, total in zip(pair, result, strict=True):
            self.totals[player].append(total)

    def mean(self, player: int) -> float:
        """Mean total of a player, minus infinity before its first scored match.

        Rounded, because equal totals summed in another order must stay equal.
        """
        totals = self.totals[player]
        return round(sum(totals) / len(totals), 9) if totals else -math.inf

    def finish(self, keys: list[Key | None]) -> list[Key | None]:
        """The keys, with two rules no topology may break: who never met anybody has no place, and advancing through
        draws alone is no evidence, so a tournament in which every match was drawn leaves everybody equal."""
        if not self.decided:
            keys = [(0.0,) for _ in keys]
        return [key if self.totals[player] else None for player, key in enumerate(keys)]


def round_robin(players: int, rng: np.random.Generator) -> Tournament:
    """Everybody plays everybody once. Win 1, draw 1/2; the key is the share of points won in scored matches."""
    book = Scorebook(players)
    points = np.zeros(players)
    pairs = [(a, b) for a in range(players) for b in range(a + 1, players)]
    results = yield pairs
    for (a, b), result in zip(pairs, results, strict=True):
        book.add((a, b), result)
        if result is not None:
            points[a] += win_share(result)
            points[b] += 1 - win_share(result)
    return book.finish([(points[p] / max(len(book.totals[p]), 1),) for p in range(players)])


def anchor(players: int, rng: np.random.Generator, anchor_player: int) -> Tournament:
    """Everybody plays the anchor once; the key is the own total, for the anchor the mean of its totals."""
    book = Scorebook(players)
    pairs = [(anchor_player, int(p)) for p in rng.permutation(players) if p != anchor_player]
    results = yield pairs
    for pair, result in zip(pairs, results, strict=True):
        book.add(pair, result)
    return book.finish([(book.mean(p),) for p in range(players)])


def win_share(result: Totals) -> float:
    """Share of the first player's win: 1, 1/2 or 0."""
    return 0.5 if result[0] == result[1] else float(result[0] > result[1])


def both_orders(pair: Pair) -> list[Pair]:
    """Two calls, each player shown first once."""
    return [pair, pair[::-1]]


def random_order(rng: np.random.Generator) -> Callable[[Pair], list[Pair]]:
    """One call per match with a random player first."""
    return lambda pair: [pair if rng.random() < 0.5 else pair[::-1]]


def balanced_order(players: int, rng: np.random.Generator) -> Callable[[Pair], list[Pair]]:
    """One call per match; first is who has been first less often than second so far, by lot when equal."""
    lead = [0] * players

    def orient(pair: Pair) -> list[Pair]:
        a, b = pair
        if lead[b] < lead[a] or (lead[a] == lead[b] and rng.random() < 0.5):
            a, b = b, a
        lead[a] += 1
        lead[b] -= 1
        return [(a, b)]

    return orient
