"""A plan looked up in the database: rows, times, ways between places, and cost. The concept functions of the checker.

Nothing is read from the plan but ids, days, starts and choices; prices, times and coordinates come from the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import clock, geo
from .plan import Item, in_order
from .query import Query
from .rows import DAY, Leg, Room
from .store import Store

MEAL_MINUTES = 60
MORNING = 7 * 60  # nobody leaves the hotel earlier
_TABLE = {"leg": "leg", "stay": "hotel", "visit": "poi", "meal": "restaurant"}


@dataclass(frozen=True)
class Part:
    """An item with its row. For timed items ``start`` and ``end`` are absolute minutes, for stays the nights' days."""

    item: Item
    row: Any
    start: int
    end: int


@dataclass(frozen=True)
class Move:
    """A way within a city, from a place to ``part`` (or in the evening to the hotel).

    Attributes:
        part: where it goes.
        day: day on which it happens.
        way: minutes, metres and cost; None when the two places lie in different cities.
        leave: the earliest minute it can start.
        due: the latest minute it must be over.
        here: the city it starts in.
        there: the city of ``part``.
        evening: whether it leads to the hotel for the night.
        overlap: ``part`` begins before the part ahead of it is over, so that no way could be short enough.
    """

    part: Part
    day: int
    way: geo.Way | None
    leave: int
    due: int
    here: int
    there: int
    evening: bool = False
    overlap: bool = False

    @property
    def arrive(self) -> int:
        """When it is over."""
        return self.leave + (self.way.minutes if self.way else 0)


@dataclass(frozen=True)
class Trip:
    """All that predicates look at.

    Attributes:
        items: the plan.
        missing: items whose id is no row of their kind.
        untimed: visits and meals without a valid start.
        legs, visits, meals: parts in the order of time.
        stays: hotels in the order of arrival.
        timeline: legs, visits and meals in the order of time.
        moves: ways within cities.
        rooms: the rooms of each stay, night by night; None where there are none of that type.
        weather: forecast by (city, day) of visits.
        noise: noise of each stay's district.
        ends_at: the city in which each day ends.
    """

    items: tuple[Item, ...]
    missing: tuple[Item, ...]
    untimed: tuple[Item, ...]
    legs: tuple[Part, ...]
    visits: tuple[Part, ...]
    meals: tuple[Part, ...]
    stays: tuple[Part, ...]
    timeline: tuple[Part, ...]
    moves: tuple[Move, ...]
    rooms: tuple[tuple[Room | None, ...], ...]
    weather: dict[tuple[int, int], str | None]
    noise: tuple[int, ...]
    ends_at: tuple[int, ...]
    party: int

    def nights(self) -> Iterator[tuple[int, Part, Room | None]]:
        """Every (day, stay, room) of all stays."""
        for part, rooms in zip(self.stays, self.rooms, strict=True):
            for offset, room in enumerate(rooms):
                yield part.item.day + offset, part, room

    def costs(self) -> dict[str, int]:
        """Cents by kind: legs, rooms, visits, meals, local ways."""
        rooms = sum(room.price * part.item.rooms for _, part, room in self.nights() if room)
        return {
            "legs": self.party * sum(part.row.price for part in self.legs),
            "rooms": rooms,
            "visits": self.party * sum(part.row.price for part in self.visits),
            "meals": self.party * sum(part.row.meal_price for part in self.meals),
            "ways": sum(move.way.cost for move in self.moves if move.way),
        }

    def cost(self) -> int:
        """Cents in all."""
        return sum(self.costs().values())

    def walked(self) -> dict[int, int]:
        """Metres on foot by day."""
        metres: dict[int, int] = {}
        for move in self.moves:
            if move.way and move.way.mode == "walk":
                metres[move.day] = metres.get(move.day, 0) + move.way.metres
        return metres


def look_up(items: Sequence[Item], query: Query, store: Store) -> Trip:
    """Resolve a plan against the database."""
    items = in_order(items)
    found = [(item, store.row(_TABLE[item.kind], item.id)) for item in items]
    missing = tuple(item for item, row in found if row is None)
    untimed = tuple(item for item, _ in found if item.kind in ("visit", "meal") and item.minute is None)
    parts = [_part(item, row) for item, row in found if row is not None and item not in untimed]
    stays = tuple(part for part in parts if part.item.kind == "stay")
    timeline = tuple(
        sorted((part for part in parts if part.item.kind != "stay"), key=lambda p: (p.start, p.end, p.item.key))
    )
    moves, ends_at = _moves(timeline, stays, query, store)
    visits = tuple(part for part in timeline if part.item.kind == "visit")
    districts = [store.row("district", part.row.district) for part in stays]
    return Trip(
        items=items,
        missing=missing,
        untimed=untimed,
        legs=tuple(part for part in timeline if part.item.kind == "leg"),
        visits=visits,
        meals=tuple(part for part in timeline if part.item.kind == "meal"),
        stays=stays,
        timeline=timeline,
        moves=moves,
        rooms=tuple(
            tuple(store.room(part.item.id, day, part.item.room) for day in range(part.start, part.end))
            for part in stays
        ),
        weather={(part.row.city, part.item.day): store.weather(part.row.city, part.item.day) for part in visits},
        noise=tuple(district.noise for district in districts),
        ends_at=ends_at,
        party=query.party.size,
    )


def _part(item: Item, row: Any) -> Part:
    if item.kind == "leg":
        return Part(item, row, row.dep, row.arr)
    if item.kind == "stay":
        return Part(item, row, item.day, item.day + item.nights)
    start = clock.at(item.day, item.minute or 0)
    return Part(item, row, start, start + (row.minutes if item.kind == "visit" else MEAL_MINUTES))


def hotel_of(stays: Sequence[Part], night: int) -> Part | None:
    """The hotel of the night that begins on day ``night``."""
    return next((part for part in stays if part.start <= night < part.end), None)


def _moves(
    timeline: Sequence[Part], stays: Sequence[Part], query: Query, store: Store
) -> tuple[tuple[Move, ...], tuple[int, ...]]:
    """Walk through the trip: from the origin's station, in the morning from the hotel, in the evening back to it."""
    here: Any = query.origin
    city, free, busy = query.origin.id, 0, 0
    moves: list[Move] = []
    ends_at = []
    by_day: dict[int, list[Part]] = {}
    for part in timeline:
        by_day.setdefault(clock.day_of(part.start), []).append(part)
    for day in range(1, query.days + 1):
        for part in by_day.get(day, ()):
            leg: Leg | None = part.row if part.item.kind == "leg" else None
            target = store.row("city", leg.origin) if leg else part.row
            there = leg.origin if leg else part.row.city
            due = part.start - leg.board if leg else part.start
            move = _move(part, day, (here, city), (target, there), free, due, query)
            moves.append(replace(move, overlap=part.start < busy))
            busy = max(busy, part.end)
            here, city = (store.row("city", leg.target), leg.target) if leg else (part.row, part.row.city)
            free = max(free, part.end)
        ends_at.append(city)
        hotel = hotel_of(stays, day)
        if hotel is not None and day < query.days:
            moves.append(_move(hotel, day, (here, city), (hotel.row, hotel.row.city), free, day * DAY, query, True))
            here, city = hotel.row, hotel.row.city
        free = max(free, clock.at(day + 1, MORNING))
    return tuple(moves), tuple(ends_at)


def _move(
    part: Part,
    day: int,
    start: tuple[Any, int],
    goal: tuple[Any, int],
    leave: int,
    due: int,
    query: Query,
    evening: bool = False,
) -> Move:
    (here, here_city), (there, there_city) = start, goal
    way = geo.way(part.item.by, geo.metres(here, there), query.party.size) if here_city == there_city else None
    return Move(part, day, way, leave, due, here_city, there_city, evening)
