"""F3, pairs (OOLONG-Pairs style): the answer lists all pairs of users that a predicate joins: output of size N^2."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

from ..score import score_pairs
from .base import Rng, Spec, Stream, family
from .labels import keyword_baseline, labeller
from .records import RECORD_ROOM, Record, Tally, random_date, write

QUERIES = ("symmetric", "dated", "asymmetric", "exact")
_CUT = "2023-12-31"


@family
def pairs(
    rng: Rng,
    length_chars: int,
    tier: str = "T1",
    ask: str = "symmetric",
    n_users: int = 24,
    density: float = 0.1,
    n_labels: int = 6,
    k: int = 6,
    lenient: bool = False,
    split: str = "train",
    subject: str = "package",
) -> Stream:
    """All pairs of users that satisfy a predicate on the hidden labels of their records.

    Args:
        tier: how visible a label is (`labels.TIERS`).
        ask: one of `QUERIES`.
        n_users: users, lowered when the length has no room.
        density: share of all pairs in the answer, 0 to 0.5. Listing all pairs scores F1 = 2p/(1+p), kept in meta.
        n_labels, k, split, subject: see `labels.labeller`.
        lenient: a pair may be given in either order.
    """
    if ask not in QUERIES or not 0 <= density <= 0.5:
        raise ValueError(f"ask={ask!r}, density={density}: allowed are {'|'.join(QUERIES)}, 0 to 0.5")
    if n_labels < 4:
        raise ValueError(f"n_labels is {n_labels}; the pair queries need at least 4")
    source = labeller(tier, n_labels, k, split, subject)
    guess = keyword_baseline(tier, n_labels, k, split, subject)
    n_users = max(2, min(n_users, length_chars // (6 * RECORD_ROOM)))
    users: list[int] = sorted({10_000 + rng.below(80_000) for _ in range(n_users)})
    a, b, *others = rng.some(source.labels, len(source.labels))
    i, j = (rng.between(1, 2) if length_chars >= 4_000 else 1), 1
    wanted = density * len(users) * (len(users) - 1) / 2
    order = rng.some(users, len(users))
    if ask == "asymmetric":
        n_left = round(math.sqrt(wanted))
        left, right = set(order[:n_left]), set(order[n_left : n_left + (round(wanted / n_left) if n_left else 0)])
    else:
        size = round((1 + math.sqrt(1 + 8 * wanted)) / 2) if wanted else 0
        left = right = set(order[:size])

    planted: list[Record] = []

    def plant(user: int, label: str, n: int, *, after: bool | None = None) -> None:
        for _ in range(n):
            date = random_date(rng)
            if after is not None:
                date = ("2024" if after else "2023") + date[4:]
            planted.append(Record(date, user, label))

    for user in users:
        inside = user in left
        if ask == "symmetric" and inside:
            plant(user, rng.pick([a, b]), rng.between(1, 2))
        elif ask == "dated":
            if inside:
                plant(user, a, rng.between(1, 2), after=True)
            elif rng.random() < 0.5:
                plant(user, a, 1, after=False)
                plant(user, a, 1, after=True)
        elif ask == "exact":
            plant(user, a, i if inside else rng.pick([0, i + 1]))
            plant(user, b, j)
        elif ask == "asymmetric":
            plant(user, a, i if inside else i + 1)
            plant(user, b, j if user in right else 0)

    truth, guessed, records = Tally(), Tally(), 0
    for record in write(rng, length_chars, source, users, dict.fromkeys(others, 1.0), planted):
        truth.add(record)
        guessed.add(record, guess.label(record.text))
        records += 1
        yield record.line

    listed = sorted(user for user in users if user in truth.user_labels)
    joined = joined_pairs(ask, a, b, i, j)
    brute = [(x, y) for x, y in combinations(listed, 2) if joined(truth, x, y)]
    again = _by_user(ask, truth, listed, a, b, i, j)
    if set(brute) != again:
        raise AssertionError(f"pairs: two ways to compute the gold disagree ({ask}); this is a bug of the generator")
    p = len(brute) / max(1, math.comb(len(listed), 2))
    keyword = "\n".join(f"{x}, {y}" for x, y in combinations(listed, 2) if joined(guessed, x, y))
    everything = "\n".join(f"{x}, {y}" for x, y in combinations(listed, 2))
    return Spec(
        _question(ask, source.rubric, a, b, i, j),
        tuple(brute),
        "pairs_lenient" if lenient else "pairs",
        {
            "records": records,
            "label_args": (tier, n_labels, k, split, subject),
            "ask": ask,
            "ask_args": (a, b, i, j),
            "users": len(listed),
            "density": p,
            "baselines": {
                "keyword": score_pairs(brute, keyword).value,
                "everything": score_pairs(brute, everything).value,
                "majority": score_pairs(brute, "").value,
            },
        },
    )


def joined_pairs(ask: str, a: str, b: str, i: int, j: int) -> Callable[[Tally, int, int], bool]:
    """The pair predicate as the question words it."""

    def n(tally: Tally, user: int, label: str) -> int:
        return tally.user_labels[user][label]

    def symmetric(t: Tally, x: int, y: int) -> bool:
        return all(n(t, u, a) + n(t, u, b) >= 1 for u in (x, y))

    def dated(t: Tally, x: int, y: int) -> bool:
        return all(n(t, u, a) >= 1 and t.first[u, a] > _CUT for u in (x, y))

    def exact(t: Tally, x: int, y: int) -> bool:
        return all(n(t, u, a) == i and n(t, u, b) >= j for u in (x, y))

    def asymmetric(t: Tally, x: int, y: int) -> bool:
        return any(n(t, u, a) == i and n(t, v, b) >= j and n(t, v, a) != i for u, v in ((x, y), (y, x)))

    return {"symmetric": symmetric, "dated": dated, "exact": exact, "asymmetric": asymmetric}[ask]


def _by_user(ask: str, tally: Tally, users: list[int], a: str, b: str, i: int, j: int) -> set[tuple[int, int]]:
    """The gold again, from one property of each user instead of all pairs."""
    count = tally.user_labels
    if ask == "asymmetric":
        left = {u for u in users if count[u][a] == i}
        right = {u for u in users if count[u][b] >= j} - left
        return {(min(u, v), max(u, v)) for u in left for v in right}
    if ask == "symmetric":
        inside = [u for u in users if count[u][a] or count[u][b]]
    elif ask == "dated":
        early = {u for (u, month, label), n in tally.user_month.items() if label == a and n and month <= _CUT[:7]}
        inside = [u for u in users if count[u][a] and u not in early]
    else:
        inside = [u for u in users if count[u][a] == i and count[u][b] >= j]
    return set(combinations(sorted(inside), 2))


def _question(ask: str, rubric: str, a: str, b: str, i: int, j: int) -> str:
    times = f"exactly {i} record{'s' if i > 1 else ''} with the label {a}"
    wanted = {
        "symmetric": f"both users have at least one record with the label {a} or {b}",
        "dated": f"both users have records with the label {a}, and all of those are dated after {_CUT}",
        "exact": f"both users have {times} and at least {j} with the label {b}",
        "asymmetric": f"one user has {times}, and the other has at least {j} with the label {b} but not {times}",
    }[ask]
    return (
        f"Every line of the context is a record with a date, a user and an instance. {rubric} List all pairs of users "
        f"such that {wanted}. One pair a line as `low, high` with the smaller user number first, each pair once; "
        "write none if there is no pair."
    )
