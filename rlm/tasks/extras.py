"""F6, cheap extras: six small families that code alone can solve, for practice of the REPL and for mixed runs."""

from __future__ import annotations

import json
from typing import Any

from .base import Rng, Spec, Stream, family
from .words import ADJECTIVES, NOUNS, filler, person

_CODE = {"code_only_oracle": 1.0}


@family
def anomaly(rng: Rng, length_chars: int) -> Stream:
    """A log in which each line's balance follows from the one before, except for one line."""
    offset, balance, rows, at = 0, 1_000, 0, rng.random() * 0.9 * length_chars
    bad = None
    while True:
        delta = rng.between(-50, 60)
        balance += delta
        if bad is None and offset >= at and rows > 0:
            balance += rng.between(1, 9)
            bad = rows + 1
        line = f"{rows + 1:07d} change={delta:+d} balance={balance}\n"
        if offset + len(line) > length_chars:
            break
        yield line
        offset += len(line)
        rows += 1
    if bad is None or bad > rows:
        return None
    question = (
        "Every line of the log is `number change=… balance=…`; the balance is the previous balance plus the change. "
        "One line breaks this. What is its number, without leading zeros?"
    )
    return Spec(question, str(bad), "exact", {"rows": rows, "baselines": {**_CODE, "majority": 1 / rows}})


@family
def longest_run(rng: Rng, length_chars: int) -> Stream:
    """The longest run of equal states in a log."""
    states = ("idle", "busy", "down", "sync")
    offset, rows, runs, state = 0, 0, [0], rng.pick(states)
    while True:
        if rng.random() < 0.3:
            other = rng.pick(states)
            if other != state:
                state = other
                runs.append(0)
        line = f"step {rows + 1} state={state} load={rng.between(0, 99)}\n"
        if offset + len(line) > length_chars:
            break
        yield line
        offset += len(line)
        rows += 1
        runs[-1] += 1
    question = "How many lines has the longest run of consecutive lines with the same state? Answer with one integer."
    return Spec(question, max(runs), "number", {"rows": rows, "baselines": _CODE})


@family
def interval_join(rng: Rng, length_chars: int, capacity: int = 6) -> Stream:
    """Bookings of rooms over minutes of a day: how many pairs of bookings of one room overlap."""
    rooms = [f"{rng.pick(ADJECTIVES)} {rng.pick(NOUNS)}" for _ in range(capacity)]
    target = rng.below(50)
    offset = rows = overlaps = 0
    taken: dict[str, list[tuple[int, int]]] = {}
    clock = 0
    while True:
        room = rng.pick(rooms)
        start = clock
        end = start + rng.between(5, 90)
        if overlaps < target and rng.random() < 0.2 and taken.get(room):
            start = taken[room][-1][1] - 1
            end = max(end, start + 1)
        hits = sum(a < end and start < b for a, b in taken.get(room, [])[-50:])
        line = f"{room} from {start} to {end}\n"
        if offset + len(line) > length_chars:
            break
        yield line
        offset += len(line)
        overlaps += hits
        taken.setdefault(room, []).append((start, end))
        del taken[room][:-50]
        clock = max(clock, end)
        rows += 1
    question = (
        "Every line is a booking `room from minute to minute` (the end is not included). How many pairs of bookings of "
        "the same room overlap? Answer with one integer."
    )
    return Spec(question, overlaps, "number", {"rows": rows, "baselines": _CODE})


@family
def json_sum(rng: Rng, length_chars: int) -> Stream:
    """JSON lines with nested orders: the total quantity of one item in orders of one status."""
    item, status = rng.pick(NOUNS), rng.pick(("open", "paid", "void"))
    offset = rows = total = 0
    while True:
        order: dict[str, Any] = {
            "order": rows + 1,
            "customer": {"name": person(rng)},
            "status": rng.pick(("open", "paid", "void")),
            "lines": [{"item": rng.pick(NOUNS), "qty": rng.between(1, 9)} for _ in range(rng.between(1, 3))],
        }
        line = json.dumps(order) + "\n"
        if offset + len(line) > length_chars:
            break
        yield line
        offset += len(line)
        rows += 1
        if order["status"] == status:
            total += sum(entry["qty"] for entry in order["lines"] if entry["item"] == item)
    question = (
        f"Every line is an order as JSON. What is the total qty of the item {item} over all orders with status "
        f"{status}? Answer with one integer."
    )
    return Spec(question, total, "number", {"rows": rows, "baselines": _CODE})


@family
def contradiction(rng: Rng, length_chars: int) -> Stream:
    """Statements about who owns what; one thing has two owners."""
    offset = rows = 0
    at = rng.random() * 0.9 * length_chars
    seen: list[tuple[int, str]] = []
    gold = None
    while True:
        rows += 1
        thing, owner = f"{rng.pick(ADJECTIVES)} {rng.pick(NOUNS)} {rows}", person(rng)
        line = f"The {thing} belongs to {owner}.\n"
        again = gold is None and offset >= at and seen
        if again:
            number, text = rng.pick(seen)
            new = person(rng)
            if text.endswith(f"to {new}.\n"):
                continue
            line = text[: text.index(" belongs")] + f" belongs to {new}.\n"
        if offset + len(line) > length_chars:
            break
        yield line
        offset += len(line)
        if again:
            gold = str(number)
        elif len(seen) < 1_000:
            seen.append((rows, line))
        note = filler(rng)
        if offset + len(note) <= length_chars:
            yield note
            offset += len(note)
    if gold is None:
        return None
    question = (
        "Statements of the form `The … N belongs to …` give each numbered thing one owner, except for one thing that "
        "is given two different owners. What is its number N?"
    )
    return Spec(question, gold, "exact", {"rows": rows, "baselines": {**_CODE, "majority": 1 / max(1, rows)}})


@family
def copy_edit(rng: Rng, length_chars: int) -> Stream:
    """One paragraph to be given back word for word after an edit that is stated in the question."""
    offset = rows = 0
    pick = rng.random() * 0.9 * length_chars
    target, label = "", 0
    while True:
        text = filler(rng).rstrip("\n")
        line = f"({rows + 1}) {text}\n"
        if offset + len(line) > length_chars:
            break
        if not target and offset >= pick:
            target, label = text, rows + 1
        yield line
        offset += len(line)
        rows += 1
    if not target:
        return None
    words = target.split()
    old = rng.pick(words[1:-1])
    if words.count(old) != 1:
        return None
    new = rng.pick(NOUNS)
    gold = " ".join(new if w == old else w for w in words)
    question = (
        f"Give back sentence ({label}) without its number, with the word {old!r} replaced by {new!r} and nothing else "
        "changed."
    )
    return Spec(question, gold, "exact", {"rows": rows, "baselines": _CODE})
