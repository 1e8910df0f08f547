"""F2, linear aggregation (OOLONG style): every record counts, and its label must be read, not looked up."""

from __future__ import annotations

from typing import Any

from ..score import best_constant, score
from .base import Rng, Spec, Stream, family
from .labels import keyword_baseline, labeller
from .records import RECORD_ROOM, Record, Tally, random_date, write

QUESTIONS = ("count", "extreme", "compare", "user", "month", "conditional")
_PROBE = 20_000  # records read by the keyword baseline; longer contexts are extrapolated


@family
def linear(
    rng: Rng,
    length_chars: int,
    tier: str = "T1",
    ask: str = "count",
    n_labels: int = 6,
    n_users: int = 12,
    k: int = 6,
    r: int = 50,
    tight: bool = False,
    split: str = "train",
    subject: str = "package",
) -> Stream:
    """Count, compare or rank the hidden labels of dated records.

    Args:
        tier: how visible a label is (`labels.TIERS`).
        ask: one of `QUESTIONS`.
        n_labels, k, split, subject: see `labels.labeller`.
        n_users: distinct users.
        r: gold of count questions is uniform on [0, r); lowered when the length has no room, and stated in meta.
        tight: allow compare questions whose counts differ by one.
    """
    if ask not in QUESTIONS:
        raise ValueError(f"ask is {ask!r}; choose one of {', '.join(QUESTIONS)}")
    source = labeller(tier, n_labels, k, split, subject)
    guess = keyword_baseline(tier, n_labels, k, split, subject)
    users = [10_000 + rng.below(80_000) for _ in range(n_users)]
    first, second = rng.some(source.labels, 2)
    chosen = sorted(rng.some(sorted(set(users)), max(1, len(set(users)) // 3)))
    low, high = sorted((random_date(rng)[:7], random_date(rng)[:7]))
    window = (low, high)
    weights = {name: 0.4 + rng.random() for name in source.labels}
    planted: list[Record] = []
    if ask in ("count", "conditional"):
        r = max(1, min(r, length_chars // (2 * RECORD_ROOM)))
        weights.pop(first)
        for _ in range(rng.below(r)):
            if ask == "count":
                planted.append(Record(random_date(rng), rng.pick(users), first))
            else:
                year_month = rng.pick([m for m in _months() if low <= m <= high])
                planted.append(Record(f"{year_month}-{rng.between(1, 28):02d}", rng.pick(chosen), first))
        if ask == "conditional":  # the same label outside the condition, so that the condition matters
            outside = [u for u in users if u not in chosen]
            planted += [Record(random_date(rng), rng.pick(outside), first) for _ in range(r // 2)]

    truth, guessed, probed = Tally(), Tally(), 0
    for record in write(rng, length_chars, source, users, weights, planted):
        truth.add(record)
        if probed < _PROBE:
            guessed.add(record, guess.label(record.text))
            probed += 1
        yield record.line

    args = (first, second, chosen, window)
    gold = answer(ask, truth, *args)
    if gold is None or (ask == "compare" and not tight and abs(truth.labels[first] - truth.labels[second]) == 1):
        return None
    kind = "number" if ask in ("count", "conditional") else "exact"
    share = truth.total / max(1, probed)
    keyword = answer(ask, guessed, *args)
    if isinstance(keyword, int):
        keyword = round(keyword * share)
    choices = {"extreme": len(source.labels), "compare": 3, "user": len(set(users)), "month": 24}
    majority = best_constant(r) if kind == "number" else 1 / choices[ask]
    return Spec(
        _question(ask, source.rubric, *args),
        gold,
        kind,
        {
            "records": truth.total,
            "label_args": (tier, n_labels, k, split, subject),
            "r": r,
            "ask": ask,
            "ask_args": args,
            "solution": f"submit(context.count('[{first}]'))" if (tier, ask) == ("T0", "count") else None,
            "baselines": {
                "keyword": score(kind, gold, "" if keyword is None else str(keyword)).value,
                "keyword_records": probed,
                "majority": majority,
            },
        },
    )


def _months() -> list[str]:
    return [f"{year}-{month:02d}" for year in (2023, 2024) for month in range(1, 13)]


def _top(counts: dict[Any, int]) -> Any | None:
    """The key with the strictly highest count; None on a tie."""
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def answer(
    ask: str, tally: Tally, first: str, second: str, users: list[int], window: tuple[str, str]
) -> int | str | None:
    """The answer that a tally implies; None when it is not unique."""
    if ask == "count":
        return tally.labels[first]
    if ask == "extreme":
        return _top(dict(tally.labels))
    if ask == "compare":
        a, b = tally.labels[first], tally.labels[second]
        return "more common than" if a > b else "less common than" if a < b else "same frequency as"
    if ask == "user":
        top = _top({user: counts[first] for user, counts in tally.user_labels.items()})
        return None if top is None else str(top)
    if ask == "month":
        ordered = sorted(tally.month_labels.items())
        return next((month for month, counts in ordered if counts[first] > counts[second]), None)
    low, high = window
    wanted = set(users)
    return sum(
        n
        for (user, month, label), n in tally.user_month.items()
        if label == first and user in wanted and low <= month <= high
    )


def _question(ask: str, rubric: str, first: str, second: str, users: list[int], window: tuple[str, str]) -> str:
    listed = ", ".join(map(str, users))
    asked = {
        "count": f"How many records have the label {first}? Answer with one integer.",
        "extreme": "Which label is the most common one? Answer with the label only.",
        "compare": f"Is the label {first} more common than, less common than, or of the same frequency as the label "
        f"{second}? Answer with exactly one of: more common than, less common than, same frequency as.",
        "user": f"Which user has the most records with the label {first}? Answer with the user number only.",
        "month": f"Which is the first month in which the label {first} has more records than the label {second}? "
        "Answer as YYYY-MM.",
        "conditional": f"How many records with the label {first} belong to one of the users {listed} and are dated in "
        f"a month from {window[0]} to {window[1]}, both included? Answer with one integer.",
    }[ask]
    return f"Every line of the context is a record with a date, a user and an instance. {rubric} {asked}"
