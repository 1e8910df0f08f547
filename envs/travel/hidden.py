"""Draws itineraries that obey every rule: the hidden one that certifies a task, and others to compare.

It works day by day: a morning leg where the city changes, a visit, a meal, perhaps another visit, then the hotel or the
leg home. What does not fit is drawn again; the checker has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import clock, geo
from .check import verdicts
from .gen import World
from .plan import Item
from .query import Query
from .rows import MODES, ROOM_CAPACITY, ROOMS, WET, City, Hotel, Leg
from .store import Store
from .trip import MEAL_MINUTES, MORNING, Trip, look_up

MAX_TRIES = 400
_ARRIVE_BY, _LEAVE_FROM, _BED_BY = 13 * 60, 15 * 60, 22 * 60
_LUNCH = 11 * 60 + 30
_WALKABLE = 1600


class NoItinerary(RuntimeError):
    """No itinerary was found in this world; draw another world."""


@dataclass(frozen=True)
class Taste:
    """What a drawn itinerary keeps to, so that constraints can be derived from it."""

    modes: tuple[str, ...] = MODES
    dry: bool = False
    pets: bool = False
    stars: int = 1
    pace: int = 1


@dataclass
class _Draft:
    """An itinerary in the making."""

    items: list[Item] = field(default_factory=list)
    here: Any = None
    free: int = 0
    used: set[int] = field(default_factory=set)


class Sampler:
    """Draws itineraries for the places, days and party of a query.

    Args:
        world: where.
        query: its budget and constraints are not looked at.
        rng: where chance comes from.
    """

    def __init__(self, world: World, query: Query, rng: np.random.Generator) -> None:
        self.query, self.rng = query, rng
        party = query.party
        cities = {city.id for city in (query.origin, *query.cities)}
        fits = [
            row
            for table in ("poi", "restaurant", "hotel")
            for row in world.rows[table]
            if row.city in cities
            and (row.step_free or not party.wheelchair)
            and (getattr(row, "kids_ok", 1) or not party.children)
        ]
        self.at: dict[tuple[str, int], list[Any]] = {}
        for row in fits:
            self.at.setdefault((type(row).__name__, row.city), []).append(row)
        self.legs: dict[tuple[int, int, int], list[Leg]] = {}
        for leg in world.rows["leg"]:
            if leg.origin in cities and leg.target in cities and leg.seats >= party.size:
                self.legs.setdefault((leg.origin, leg.target, leg.day), []).append(leg)
        self.rooms = {(room.hotel, room.day, room.type): room for room in world.rows["room"]}
        self.weather = {(row.city, row.day): row.kind for row in world.rows["weather"]}
        self.taste = Taste()

    def draw(self, store: Store) -> tuple[tuple[Item, ...], Trip]:
        """An itinerary that the checker passes, and its trip.

        Raises:
            NoItinerary: none was found in `MAX_TRIES` tries.
        """
        free = replace(self.query, budget=10**12, constraints=(), grounded=False)
        for attempt in range(MAX_TRIES):
            # a taste that nothing in this world meets is given up
            self.taste = self._taste() if attempt < MAX_TRIES // 2 else Taste()
            items = self._attempt()
            if items is None:
                continue
            trip = look_up(items, free, store)
            if all(verdict.ok for verdict in verdicts(trip, free)):
                return trip.items, trip
        raise NoItinerary(f"no itinerary in {MAX_TRIES} tries for {self.query.title()}")

    def _taste(self) -> Taste:
        modes, dry, pets, stars, pace = self.rng.integers(0, (6, 2, 3, 4, 3)).tolist()
        allowed = (MODES, ("train",), ("bus", "train"), ("train",), MODES, ("flight", "train"))[modes]
        return Taste(allowed, bool(dry), pets == 0, stars + 1, 1 + (pace > 0))

    def _attempt(self) -> tuple[Item, ...] | None:
        query = self.query
        order = [query.cities[i] for i in self.rng.permutation(len(query.cities)).tolist()]
        blocks = self._blocks(len(order))
        draft = _Draft(here=query.origin)
        previous: City = query.origin
        for city, (first, last) in zip(order, blocks, strict=True):
            hotel: Hotel | None = None
            for day in range(first, last + 1):
                home = day == query.days
                if day == first and not self._leg(draft, previous, city, day):
                    return None
                if day == first and (nights := min(last, query.days - 1) - first + 1) > 0:
                    hotel = self._stay(draft, city, first, nights)
                    if hotel is None:
                        return None
                back = self._back(city, day) if home else None
                if home and back is None:
                    return None
                limit = back.dep - back.board if back else clock.at(day, _BED_BY)
                if not self._day(draft, city, day, limit):
                    return None
                if back is not None:
                    draft.items.append(Item(kind="leg", id=back.id, day=day, by=self._by(draft.here, city)))
                elif hotel is not None:
                    draft.here, draft.free = hotel, clock.at(day + 1, MORNING)
            previous = city
        return tuple(draft.items)

    def _blocks(self, count: int) -> list[tuple[int, int]]:
        """First and last day in each city."""
        cuts = sorted((1 + self.rng.permutation(self.query.days - 1)[: count - 1]).tolist())
        starts = [1, *(cut + 1 for cut in cuts)]
        return list(zip(starts, [*cuts, self.query.days], strict=True))

    def _leg(self, draft: _Draft, a: City, b: City, day: int) -> bool:
        """A morning leg from ``a`` to ``b``."""
        legs = [
            leg
            for leg in self.legs.get((a.id, b.id, day), ())
            if leg.mode in self.taste.modes and leg.arr <= clock.at(day, _ARRIVE_BY)
        ]
        by = self._by(draft.here, a)
        minutes = geo.way(by, geo.metres(draft.here, a), self.query.party.size).minutes
        legs = [leg for leg in legs if leg.dep - leg.board >= draft.free + minutes]
        leg = self._pick(legs)
        if leg is None:
            return False
        draft.items.append(Item(kind="leg", id=leg.id, day=day, by=by))
        draft.here, draft.free = b, leg.arr
        return True

    def _back(self, city: City, day: int) -> Leg | None:
        """An afternoon or evening leg home."""
        legs = self.legs.get((city.id, self.query.origin.id, day), ())
        return self._pick(leg for leg in legs if leg.mode in self.taste.modes and leg.dep >= clock.at(day, _LEAVE_FROM))

    def _stay(self, draft: _Draft, city: City, day: int, nights: int) -> Hotel | None:
        """A hotel with enough beds for some nights."""
        size = self.query.party.size
        for hotel in self._shuffled(self.at.get(("Hotel", city.id), ())):
            if hotel.min_nights > nights or hotel.stars < self.taste.stars or (self.taste.pets and not hotel.pets):
                continue
            for type in self._shuffled(ROOMS):
                count = -(-size // ROOM_CAPACITY[type])
                if all(self.rooms[hotel.id, night, type].left >= count for night in range(day, day + nights)):
                    by: Any = self._pick(("bus", "taxi", "taxi"))
                    draft.items.append(
                        Item(kind="stay", id=hotel.id, day=day, by=by, nights=nights, room=type, rooms=count)
                    )
                    return hotel
        return None

    def _day(self, draft: _Draft, city: City, day: int, limit: int) -> bool:
        """A visit, a meal and perhaps more visits, over in time for the way back before ``limit``."""
        if not (self._activity(draft, "visit", city, day, limit) and self._activity(draft, "meal", city, day, limit)):
            return False
        for _ in range(self.taste.pace - 1):
            self._activity(draft, "visit", city, day, limit)
        return True

    def _activity(self, draft: _Draft, kind: str, city: City, day: int, limit: int) -> bool:
        weekday = clock.weekday(self.query.first_weekday, day)
        wet = self.weather[city.id, day] in WET
        size = self.query.party.size
        for row in self._shuffled(self.at.get(("Poi" if kind == "visit" else "Restaurant", city.id), ())):
            if row.id in draft.used or row.closed_weekday == weekday:
                continue
            if kind == "visit" and self.taste.dry and wet and not row.indoor:
                continue
            by = self._by(draft.here, row)
            ready = draft.free + geo.way(by, geo.metres(draft.here, row), size).minutes
            earliest = clock.at(day, max(row.open, _LUNCH if kind == "meal" else 0))
            start = 5 * -(-max(ready, earliest) // 5)
            end = start + (row.minutes if kind == "visit" else MEAL_MINUTES)
            slowest = geo.way("walk", geo.metres(row, city), size).minutes
            back = geo.way("bus", geo.metres(row, city), size).minutes if slowest > 20 else slowest
            if end > clock.at(day, row.close) or end + back > limit:
                continue
            draft.items.append(Item(kind=kind, id=row.id, day=day, start=clock.show(start), by=by))  # type: ignore[arg-type]
            draft.used.add(row.id)
            draft.here, draft.free = row, end
            return True
        return False

    def _by(self, a: Any, b: Any) -> Any:
        return "walk" if geo.metres(a, b) <= _WALKABLE else self._pick(("bus", "taxi"))

    def _pick(self, options: Iterable[Any]) -> Any:
        options = list(options)
        return options[int(self.rng.integers(len(options)))] if options else None

    def _shuffled(self, rows: Sequence[Any]) -> list[Any]:
        return [rows[i] for i in self.rng.permutation(len(rows)).tolist()]
