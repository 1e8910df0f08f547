"""Soft wishes: text for the policy, hidden points for an oracle ranking, and a rubric for judges.

Points go from 0 to 100 and are computed from the trip alone. Only plans with the same hard result are compared, so
style never beats feasibility.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import clock
from .check import Verdict
from .query import Query
from .trip import Trip


@dataclass(frozen=True)
class Wish:
    """A soft wish.

    Attributes:
        name: its name.
        text: as the traveller says it.
        criterion: what a judge is asked to look at.
        points: 0 to 100 for a trip; more is better.
    """

    name: str
    text: str
    criterion: str
    points: Callable[[Trip], int]


def _less_walking(trip: Trip) -> int:
    days = max(1, len(trip.ends_at))
    return _within(100 - sum(trip.walked().values()) // (60 * days))


def _quiet_evenings(trip: Trip) -> int:
    return 100 - sum(trip.noise) // len(trip.noise) if trip.noise else 0


def _trains(trip: Trip) -> int:
    return 100 * sum(part.row.mode == "train" for part in trip.legs) // max(1, len(trip.legs))


def _little_waiting(trip: Trip) -> int:
    idle = sum(
        max(0, move.due - move.arrive)
        for move in trip.moves
        if not move.evening and move.leave % 1440 != 420 and move.leave > 0
    )
    return _within(100 - idle // (4 * max(1, len(trip.ends_at))))


def _variety(trip: Trip) -> int:
    kinds = {part.row.kind for part in trip.visits}
    return _within(25 * (len(kinds) - 1))


def _good_food(trip: Trip) -> int:
    return 2 * sum(part.row.rating for part in trip.meals) // max(1, len(trip.meals))


def _fine_sights(trip: Trip) -> int:
    return 2 * sum(part.row.rating for part in trip.visits) // max(1, len(trip.visits))


def _thrift(trip: Trip) -> int:
    return _within(100 - trip.cost() // (1000 * max(1, trip.party) * max(1, len(trip.ends_at))))


def _within(points: int) -> int:
    return max(0, min(100, points))


WISHES: dict[str, Wish] = {
    wish.name: wish
    for wish in (
        Wish("less_walking", "We would rather not walk much.", "How little the plan makes them walk.", _less_walking),
        Wish(
            "quiet_evenings", "We like quiet evenings.", "How quiet the districts of the hotels are.", _quiet_evenings
        ),
        Wish("trains", "We prefer trains.", "How many of the legs between cities are trains.", _trains),
        Wish("little_waiting", "We hate waiting about.", "How little idle time lies between things.", _little_waiting),
        Wish("variety", "We like variety.", "How many different kinds of sights are visited.", _variety),
        Wish("good_food", "Good food matters to us.", "How well rated the restaurants are.", _good_food),
        Wish("fine_sights", "Show us the best sights.", "How well rated the sights are.", _fine_sights),
        Wish("thrift", "Money saved is money earned.", "How little the plan costs.", _thrift),
    )
}


def draw(rng: np.random.Generator, count: int, days: int) -> tuple[tuple[str, int], ...]:
    """Names and weights (1 to 3) of some wishes; those about evenings only where there is one."""
    names = [name for name in WISHES if days > 1 or name != "quiet_evenings"]
    chosen = [names[i] for i in rng.permutation(len(names))[:count].tolist()]
    return tuple(zip(chosen, rng.integers(1, 4, count).tolist(), strict=True))


def points(trip: Trip, query: Query) -> dict[str, int]:
    """The points of each wish of a query."""
    return {name: WISHES[name].points(trip) for name, _ in query.wishes}


def utility(trip: Trip, query: Query) -> int:
    """The weighted sum of points."""
    return sum(weight * WISHES[name].points(trip) for name, weight in query.wishes)


def compare(a: tuple[Trip, Sequence[Verdict]], b: tuple[Trip, Sequence[Verdict]], query: Query) -> int | None:
    """1 when ``a`` is liked better, -1 when ``b`` is, 0 for a tie, None when their hard results differ."""
    if _hard(a[1]) != _hard(b[1]):
        return None
    difference = utility(a[0], query) - utility(b[0], query)
    return (difference > 0) - (difference < 0)


def ranking(checked: dict[str, tuple[Trip, Sequence[Verdict]]], query: Query) -> list[list[list[str]]]:
    """The oracle ranking of plans by their ids.

    Returns:
        For each hard result a ranking, best first; plans of the same utility share a place.
    """
    classes: dict[tuple[tuple[str, bool], ...], dict[int, list[str]]] = {}
    for id in sorted(checked):
        trip, found = checked[id]
        classes.setdefault(_hard(found), {}).setdefault(utility(trip, query), []).append(id)
    return [[places[value] for value in sorted(places, reverse=True)] for places in classes.values()]


def _hard(found: Sequence[Verdict]) -> tuple[tuple[str, bool], ...]:
    return tuple((verdict.name, verdict.ok) for verdict in found)


def rubric(query: Query) -> dict[str, Any]:
    """A rubric as plain data, in the shape that judges take: one criterion a wish."""
    criteria = [
        {"name": name, "description": f"{WISHES[name].text} {WISHES[name].criterion}", "weight": float(weight)}
        for name, weight in query.wishes
    ]
    return {
        "id": "travel",
        "criteria": criteria,
        "scale": (0.0, 10.0),
        "instructions": "Both itineraries were checked by a program and have the same result: prices, times and "
        "feasibility are not yours to judge. Judge only how well each meets the traveller's soft wishes, from the "
        "facts listed with it; length, politeness and praise of itself count nothing.",
    }


def describe(trip: Trip) -> str:
    """A trip with its facts as text, for a judge: computed from the database and in no one's words."""
    lines = []
    for part in trip.timeline:
        row, when = part.row, f"Day {part.item.day} {clock.show(part.start)}-{clock.show(part.end)}"
        if part.item.kind == "leg":
            lines.append(f"{when} {row.mode}, {clock.money(row.price)} a person")
        elif part.item.kind == "visit":
            lines.append(f"{when} {row.name} ({row.kind}, rating {row.rating}), by {part.item.by}")
        else:
            lines.append(f"{when} meal at {row.name} (rating {row.rating}), by {part.item.by}")
    for part, noise in zip(trip.stays, trip.noise, strict=True):
        lines.append(f"Nights {part.start}-{part.end - 1} at {part.row.name} ({part.row.stars} stars, noise {noise})")
    walked = sum(trip.walked().values())
    lines.append(f"In all {walked} metres on foot, {clock.money(trip.cost())}.")
    return "\n".join(lines)
