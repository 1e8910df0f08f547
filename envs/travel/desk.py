"""The tools: a travel desk that searches an episode's database, and keeps notes and bookings.

Every statement is a constant and values travel as parameters; no tool reads the hidden itinerary, the constraints or
the seed. Prices are in cents, times local ``HH:MM``, ratings from 0 to 50.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..arithmetic import evaluate
from ..arithmetic import parse as parse_expression
from ..tools import Tool
from ..turns import Result
from . import clock, geo, statements
from .plan import MAX_ITEMS, Item, Kind, RoomType, Time, Way
from .prices import Refused, price
from .query import Query
from .store import Store
from .user import Traveller

PAGE = 20
MAX_NOTE, MAX_NOTES, MAX_BOOKINGS = 500, 20, MAX_ITEMS

Day = Annotated[int, Field(ge=1, le=30)]
Limit = Annotated[int, Field(ge=1, le=PAGE)]
Offset = Annotated[int, Field(ge=0, le=10_000)]
Id = Annotated[int, Field(ge=0, le=10**9)]
Sight = Literal["gallery", "garden", "market", "museum", "park", "theatre", "tower", "zoo"]
Food = Literal["bakery", "curry", "grill", "noodles", "seafood", "vegetarian"]
Mode = Literal["bus", "flight", "train"]
Table = Literal["city", "poi", "restaurant", "hotel", "leg"]

_READ = (
    "search_cities",
    "search_pois",
    "search_restaurants",
    "search_hotels",
    "search_legs",
    "around",
    "get",
    "route",
    "weather",
    "calc",
    "notes",
)


class TimedOut(Exception):
    """The desk did not answer in time (drawn with the seed); the same call may work the next time."""


class Desk:
    """The tools of one episode.

    Args:
        store: the episode's database.
        query: for the weekday of day 1 and the number of people.
        traveller: whom ``ask_user`` asks.
        rng: draws which calls time out.
        noise: per cent of calls that time out.
        page: most rows of an answer.
        submit: called with the items of a submitted plan, or with None in book style.
    """

    def __init__(
        self,
        store: Store,
        query: Query,
        traveller: Traveller,
        rng: np.random.Generator,
        *,
        noise: int = 0,
        page: int = PAGE,
        submit: Callable[[Sequence[Item] | None], str | Result],
    ) -> None:
        self.store, self.query, self.traveller = store, query, traveller
        self.rng, self.noise, self.page = rng, noise, page
        self.submit = submit
        self.seen: set[int] = {query.origin.id, *(city.id for city in query.cities)}
        self._notes: list[str] = []

    # ---- reading -----------------------------------------------------------------------------------------------

    def search_cities(self, limit: Limit = PAGE, offset: Offset = 0) -> dict[str, Any]:
        """List the cities."""
        return self._page("city", statements.CITIES, {}, limit, offset)

    def search_pois(
        self,
        city: Id,
        kind: Sight | None = None,
        day: Day | None = None,
        open_at: Time | None = None,
        max_price: Annotated[int, Field(ge=0)] | None = None,
        near: Id | None = None,
        limit: Limit = PAGE,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Search the sights of a city.

        Args:
            city: id of the city
            kind: only this kind
            day: only those not closed on this day of the trip
            open_at: only those open at this time, HH:MM
            max_price: highest ticket in cents
            near: id of a place; the nearest come first, else those next to the station
            limit: rows in the answer
            offset: rows to skip
        """
        values = self._filters(city, kind, day, open_at, max_price, near)
        return self._page("poi", statements.POIS, values, limit, offset)

    def search_restaurants(
        self,
        city: Id,
        cuisine: Food | None = None,
        day: Day | None = None,
        open_at: Time | None = None,
        max_price: Annotated[int, Field(ge=0)] | None = None,
        near: Id | None = None,
        limit: Limit = PAGE,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Search the restaurants of a city; the arguments are as in search_pois.

        Args:
            cuisine: only this cuisine
            max_price: highest meal price in cents a person
        """
        values = self._filters(city, cuisine, day, open_at, max_price, near)
        return self._page("restaurant", statements.RESTAURANTS, values, limit, offset)

    def search_hotels(
        self,
        city: Id,
        day_in: Day,
        nights: Annotated[int, Field(ge=1, le=30)],
        guests: Annotated[int, Field(ge=1, le=20)],
        min_stars: Annotated[int, Field(ge=1, le=5)] = 1,
        limit: Limit = PAGE,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Search hotels that have beds for all guests in one room type in every night, with their rooms by night.

        Args:
            city: id of the city
            day_in: day of arrival
            nights: number of nights
            guests: number of people
            min_stars: fewest stars
        """
        self._city(city)
        values = {"city": city, "stars": min_stars, "day": day_in, "nights": nights, "guests": guests}
        answer = self._page("hotel", statements.HOTELS, values, limit, offset)
        for row in answer["rows"]:
            rooms = self.store.select("room", statements.ROOMS, (row["id"], day_in, day_in + nights))
            row["rooms"] = [
                {"night": r.day, "room": r.type, "beds": r.cap, "price": r.price, "left": r.left} for r in rooms
            ]
        return answer

    def search_legs(
        self,
        origin: Id,
        target: Id,
        day: Day,
        mode: Mode | None = None,
        limit: Limit = PAGE,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Search departures between two cities on a day.

        Args:
            origin: id of the city it leaves from
            target: id of the city it goes to
            day: day of the trip
            mode: only this mode
        """
        self._city(origin)
        self._city(target)
        values = {"origin": origin, "target": target, "day": day, "mode": mode}
        return self._page("leg", statements.LEGS, values, limit, offset)

    def around(
        self,
        id: Id,
        radius_m: Annotated[int, Field(ge=0, le=100_000)],
        kind: Literal["poi", "restaurant", "hotel"] = "poi",
        limit: Limit = PAGE,
        offset: Offset = 0,
    ) -> dict[str, Any]:
        """Places near a place of the same city.

        Args:
            id: a sight, restaurant, hotel, or city (its station)
            radius_m: metres along the streets
            kind: what to look for
        """
        place = self._place(id)
        values = {"city": getattr(place, "city", place.id), "id": id, "x": place.x, "y": place.y, "radius": radius_m}
        return self._page(kind, statements.AROUND[kind], values, limit, offset, place)

    def get(self, kind: Table, id: Id) -> dict[str, Any]:
        """One row by its id, all columns.

        Args:
            kind: what it is
            id: its id
        """
        row = self.store.row(kind, id)
        if row is None:
            raise Refused(f"there is no {kind} with id {id}")
        return self._show(kind, row)

    def route(self, from_id: Id, to_id: Id, mode: Way, depart: Time) -> dict[str, Any]:
        """Minutes, metres and cost (for everyone) of a way within a city.

        Args:
            from_id: a sight, restaurant, hotel, or city (its station)
            to_id: likewise, in the same city
            mode: how
            depart: HH:MM
        """
        a, b = self._place(from_id), self._place(to_id)
        if getattr(a, "city", a.id) != getattr(b, "city", b.id):
            raise Refused("the two places are in different cities; see search_legs")
        way = geo.way(mode, geo.metres(a, b), self.query.party.size)
        minute = self._minute(depart)
        if not geo.runs(mode, minute):
            raise Refused(f"no city bus at {depart}; they leave from 06:00 to 23:00")
        return {
            "minutes": way.minutes,
            "metres": way.metres,
            "cost": way.cost,
            "arrive": clock.show(minute + way.minutes),
        }

    def weather(self, city: Id, day: Day) -> dict[str, Any]:
        """The forecast, which comes true.

        Args:
            city: id of the city
            day: day of the trip
        """
        self._city(city)
        kind = self.store.weather(city, day)
        if kind is None:
            raise Refused(f"there is no forecast for day {day}")
        return {"day": day, "weekday": clock.weekday_name(self.query.first_weekday, day), "weather": kind}

    def calc(self, expression: Annotated[str, Field(max_length=500)]) -> str:
        """Exact value of an arithmetic expression with + - * / and parentheses.

        Args:
            expression: for example (1250+300)*2
        """
        return str(evaluate(parse_expression(expression)))

    def notes(self, text: Annotated[str, Field(max_length=MAX_NOTE)] = "") -> dict[str, Any]:
        """Write a note, and read all notes.

        Args:
            text: what to remember; leave it out to read only
        """
        if text:
            if len(self._notes) >= MAX_NOTES:
                raise Refused(f"the book holds {MAX_NOTES} notes and is full")
            self._notes.append(text)
        return {"notes": list(self._notes)}

    def ask_user(self, question: Annotated[str, Field(max_length=1000)]) -> str:
        """Ask the traveller one thing at a time.

        Args:
            question: about one topic
        """
        return self.traveller.answer(question)

    # ---- acting ------------------------------------------------------------------------------------------------

    def book(
        self,
        kind: Kind,
        id: Id,
        day: Day,
        start: Time | None = None,
        by: Way = "walk",
        nights: Annotated[int, Field(ge=1, le=30)] = 1,
        room: RoomType = "double",
        rooms: Annotated[int, Field(ge=1, le=10)] = 1,
    ) -> dict[str, Any]:
        """Book a leg, stay, visit or meal for everyone.

        Args:
            kind: what to book
            id: its id
            day: day of the trip; of a stay, the day of arrival
            start: HH:MM, for visits and meals
            by: how to get there; of a stay, how to get back in the evenings
            nights: nights of a stay
            room: room type of a stay
            rooms: rooms of a stay
        """
        item = Item(kind=kind, id=id, day=day, start=start, by=by, nights=nights, room=room, rooms=rooms)
        booked = self.store.bookings()
        if len(booked) >= MAX_BOOKINGS:
            raise Refused(f"there are {MAX_BOOKINGS} bookings already; cancel some")
        if any(other.key == item.key for _, other, _ in booked):
            raise Refused("that is booked already")
        paid = price(item, self.query.party.size, self.store)
        return {"booking": self.store.book(item, paid), "paid": paid}

    def cancel(self, booking: Id) -> dict[str, Any]:
        """Cancel a booking; the money comes back.

        Args:
            booking: its number
        """
        amount = self.store.unbook(booking)
        if amount is None:
            raise Refused(f"there is no booking {booking}")
        return {"cancelled": booking, "refund": amount}

    def bookings(self) -> dict[str, Any]:
        """Your bookings in the order of the trip, and what is paid so far."""
        rows = [
            {"booking": id, "paid": paid, **item.model_dump(exclude_none=True)}
            for id, item, paid in self.store.bookings()
        ]
        return {"rows": rows, "paid": -self.store.balance()}

    def submit_plan(self, items: Annotated[list[Item], Field(max_length=MAX_ITEMS)]) -> Any:
        """Hand in the itinerary. It counts at once and there is no second try.

        Args:
            items: all legs, stays, visits and meals
        """
        plan = [item if isinstance(item, Item) else Item.model_validate(item) for item in items]
        return self.submit(plan)

    def finish(self) -> Any:
        """Say that everything is booked. It counts at once and there is no second try."""
        return self.submit(None)

    # ---- inside ------------------------------------------------------------------------------------------------

    def tools(self, style: str) -> tuple[Tool, ...]:
        """The tools of a style, bound to this desk."""
        return tuple(
            Tool(tool.name, tool.description, tool.parameters, _Call(self, tool.name))
            for tool in _templates(style, bool(self.query.withheld))
        )

    def may_time_out(self) -> None:
        """Draw whether a reading call times out.

        Raises:
            TimedOut: it does.
        """
        if self.noise and int(self.rng.integers(100)) < self.noise:
            raise TimedOut("the service did not answer in time; try again")

    def _filters(
        self, city: int, kind: str | None, day: int | None, open_at: str | None, max_price: int | None, near: int | None
    ) -> dict[str, Any]:
        centre = self._city(city) if near is None else self._place(near)
        self._city(city)
        return {
            "city": city,
            "kind": kind,
            "weekday": None if day is None else clock.weekday(self.query.first_weekday, day),
            "minute": None if open_at is None else self._minute(open_at),
            "max_price": 10**9 if max_price is None else min(max_price, 10**9),
            "x": centre.x,
            "y": centre.y,
            "_near": centre,
        }

    def _page(
        self, table: str, sql: str, values: dict[str, Any], limit: int, offset: int, near: Any = None
    ) -> dict[str, Any]:
        near = values.pop("_near", near)
        limit = min(limit, self.page)
        rows = self.store.select(table, sql, {**values, "limit": limit + 1, "offset": offset})
        return {"rows": [self._show(table, row, near) for row in rows[:limit]], "more": len(rows) > limit}

    def _show(self, table: str, row: Any, near: Any = None) -> dict[str, Any]:
        """A row as the policy sees it: times as ``HH:MM``, weekdays as words."""
        self.seen.add(row.id)
        shown = row._asdict()
        for name in ("open", "close", "dep", "arr"):
            if name in shown:
                shown[name] = clock.show(shown[name])
        if "closed_weekday" in shown:
            number = shown.pop("closed_weekday")
            shown["closed"] = clock.WEEKDAYS[number] if number >= 0 else None
        if table == "hotel":
            shown["noise"] = self.store.row("district", row.district).noise
        if near is not None:
            shown["metres"] = geo.metres(row, near)
        for name in ("x", "y", "district"):
            shown.pop(name, None)
        return shown

    def _city(self, id: int) -> Any:
        row = self.store.row("city", id)
        if row is None:
            raise Refused(f"there is no city with id {id}")
        return row

    def _place(self, id: int) -> Any:
        row = self.store.place(id)
        if row is None:
            raise Refused(f"there is no place with id {id}")
        return row

    def _minute(self, text: str) -> int:
        minute = clock.parse(text)
        if minute is None:
            raise Refused("write times as HH:MM, for example 09:30")
        return minute


class _Call:
    """Runs one tool of a desk; reading tools may time out."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk, self.name = desk, name

    def __call__(self, **arguments: Any) -> Any:
        if self.name in _READ:
            self.desk.may_time_out()
        return getattr(self.desk, self.name)(**arguments)


@cache
def _templates(style: str, asks: bool) -> tuple[Tool, ...]:
    """The tools of a style, made once: schemas from hints and docstrings. Their calls are replaced for each desk."""
    unbound = Desk.__new__(Desk)
    names = [*_READ, *(["ask_user"] if asks else [])]
    names += ["submit_plan"] if style == "plan" else ["book", "cancel", "bookings", "finish"]
    return tuple(Tool.of(getattr(unbound, name)) for name in names)
