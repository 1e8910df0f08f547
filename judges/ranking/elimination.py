"""Single and double elimination (ArenaRL, arXiv 2601.06487), with real byes and rules for draws and outages.

A draw in a bracket has to send somebody on: the better seed (single elimination), or the better mean total and then
the lot (double elimination). A match that could not be scored sends on the same player without credit for the round,
and the other one leaves without a place, because nothing has shown that it is worse.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .topologies import Key, Pair, Round, Scorebook, Totals, Tournament


def bracket_order(players: int, compat: Literal["qqr"] | None = None) -> list[int]:
    """Seeds in slot order; neighbours meet. Seeds >= ``players`` are byes, so the top seeds get them.

    ``compat="qqr"`` deletes the absent seeds instead, which makes top seeds meet early.

    >>> bracket_order(8)
    [0, 7, 3, 4, 1, 6, 2, 5]
    >>> bracket_order(6, compat="qqr")
    [0, 3, 4, 1, 2, 5]
    """
    slots = [0]
    while len(slots) < players:
        size = len(slots)
        slots = [seed for slot in slots for seed in (slot, 2 * size - 1 - slot)]
    return [seed for seed in slots if seed < players] if compat == "qqr" else slots


def single_elimination(
    players: int, rng: np.random.Generator, anchor_player: int, compat: Literal["qqr"] | None = None
) -> Tournament:
    """Seeded single elimination: N-1 matches against the anchor for the seeding, then a bracket of N-1 matches.

    The key is (round reached, mean total over all matches).
    """
    lots = list(range(players)) if compat else [int(p) for p in rng.permutation(players)]
    book = Scorebook(players)
    pairs = [(anchor_player, p) for p in sorted(lots) if p != anchor_player]
    results = yield Round(pairs, "seeding")
    for pair, result in zip(pairs, results, strict=True):
        book.add(pair, result)
    if book.totals[anchor_player]:  # its own record starts with one entry, however many matches it played
        book.totals[anchor_player] = [book.mean(anchor_player)]
    seeded = sorted(lots, key=lambda p: -book.mean(p))
    seed_of = {player: seed for seed, player in enumerate(seeded)}

    slots: list[int | None] = [seeded[s] if s < players else None for s in bracket_order(players, compat)]
    level: dict[int, float] = {}
    unearned = [0] * players  # rounds survived only because a match could not be scored
    out_order: dict[int, int] = {}
    stage = 0
    while len(slots) > 1:
        odd = [slots.pop()] if len(slots) % 2 else []  # only without byes in the bracket (compat)
        met = list(zip(slots[::2], slots[1::2], strict=True))
        matches: list[Pair] = [(a, b) for a, b in met if a is not None and b is not None]
        byes = [a if b is None else b for a, b in met if a is None or b is None] + odd
        results = yield Round(matches, "bracket", [p for p in byes if p is not None])
        result_of = dict(zip(matches, results, strict=True))
        advancing: list[int | None] = list(odd)
        for a, b in met:
            if a is None or b is None:
                advancing.append(a if b is None else b)
                continue
            result = result_of[(a, b)]
            book.add((a, b), result)
            winner, loser = _advance(a, b, result, prefer_first=compat is not None or seed_of[a] < seed_of[b])
            if result is not None or compat:
                level[loser] = float(stage - unearned[loser])
            else:
                unearned[winner] += 1
            out_order[loser] = len(out_order)
            advancing.append(winner)
        slots = advancing
        stage += 1
    champion = slots[0]
    if champion is not None:
        level[champion] = float(stage - unearned[champion])
        out_order[champion] = players
    if compat:  # strict places: equal means stay in the order of elimination
        return [(level[p], book.mean(p), -float(out_order[p])) for p in range(players)]
    return book.finish([(level[p], book.mean(p)) if p in level else None for p in range(players)])


def double_elimination(players: int, rng: np.random.Generator) -> Tournament:
    """Double elimination without seeding or bracket reset: winners bracket, losers bracket, one final.

    The key is (level reached, mean total per match).
    """
    book = Scorebook(players)
    lots = {int(p): place for place, p in enumerate(rng.permutation(players))}
    level: dict[int, float] = {}

    def settle(pair: Pair, result: Totals | None) -> tuple[int, int]:
        book.add(pair, result)
        a, b = pair
        return _advance(a, b, result, prefer_first=(book.mean(a), lots[a]) > (book.mean(b), lots[b]))

    alive = [int(p) for p in rng.permutation(players)]
    drops: list[list[int]] = []
    unplaced: set[int] = set()
    while len(alive) > 1:
        matches, alive = _draw_round(alive, rng)
        results = yield Round(matches, "winners", alive)
        drops.append([])
        for pair, result in zip(matches, results, strict=True):
            winner, loser = settle(pair, result)
            alive.append(winner)
            drops[-1].append(loser)

    pool: list[int] = []
    stage = 0
    while drops or len(pool) > 1:
        if drops:
            pool += drops.pop(0)
        if len(pool) < 2:
            continue
        stage += 1
        matches, pool = _draw_round(pool, rng)
        results = yield Round(matches, "losers", pool)
        for pair, result in zip(matches, results, strict=True):
            winner, loser = settle(pair, result)
            pool.append(winner)
            level[loser] = float(stage)
            if result is None:
                unplaced.add(loser)

    final = (alive[0], pool[0])
    results = yield Round([final], "final")
    winner, loser = settle(final, results[0])
    level[winner], level[loser] = stage + 2.0, stage + 1.0
    if results[0] is None:  # nobody has shown who is first: the two share the place
        level[winner] = level[loser]
    keys: list[Key | None] = [None if p in unplaced else (level[p], book.mean(p)) for p in range(players)]
    return book.finish(keys)


def _draw_round(pool: list[int], rng: np.random.Generator) -> tuple[list[Pair], list[int]]:
    """Random pairs, and the odd one out, who gets a bye."""
    shuffled = [pool[i] for i in rng.permutation(len(pool))]
    half = len(shuffled) // 2
    return list(zip(shuffled[:half], shuffled[half : 2 * half], strict=True)), shuffled[2 * half :]


def _advance(a: int, b: int, result: Totals | None, prefer_first: bool) -> tuple[int, int]:
    """(who goes on, who is out)."""
    if result is None or result[0] == result[1]:
        return (a, b) if prefer_first else (b, a)
    return (a, b) if result[0] > result[1] else (b, a)
