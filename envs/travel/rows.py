"""The tables of a world: one named tuple a table, in the order of its columns. Everything is an integer but names.

Times are minutes of local time since the midnight before day 1; prices are cents, places metres. Flags are 0 or 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

DAY = 1440

KINDS = ("gallery", "garden", "market", "museum", "park", "theatre", "tower", "zoo")
OUTDOOR_KINDS = ("garden", "market", "park", "zoo")
CUISINES = ("bakery", "curry", "grill", "noodles", "seafood", "vegetarian")
MODES = ("bus", "flight", "train")
ROOMS = ("double", "family", "single")
ROOM_CAPACITY = {"double": 2, "family": 4, "single": 1}
WEATHERS = ("cloud", "rain", "storm", "sun")
WET = ("rain", "storm")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class City(NamedTuple):
    """A city; (x, y) is its station, ``tz`` the minutes its clock is ahead."""

    id: int
    name: str
    x: int
    y: int
    tz: int


class District(NamedTuple):
    """A part of a city; ``noise`` goes from 0 (silent) to 100."""

    id: int
    city: int
    name: str
    x: int
    y: int
    noise: int


class Poi(NamedTuple):
    """A sight. ``open`` and ``close`` are minutes of the day, ``closed_weekday`` is 0 (Monday) to 6, or -1."""

    id: int
    city: int
    district: int
    kind: str
    name: str
    x: int
    y: int
    open: int
    close: int
    closed_weekday: int
    price: int
    minutes: int
    rating: int
    indoor: int
    kids_ok: int
    step_free: int


class Restaurant(NamedTuple):
    """A restaurant; a meal takes 60 minutes."""

    id: int
    city: int
    district: int
    cuisine: str
    name: str
    x: int
    y: int
    open: int
    close: int
    closed_weekday: int
    meal_price: int
    rating: int
    step_free: int


class Hotel(NamedTuple):
    """A hotel; ``pets``, ``kids_ok`` and ``step_free`` are its house rules."""

    id: int
    city: int
    district: int
    name: str
    x: int
    y: int
    stars: int
    pets: int
    kids_ok: int
    step_free: int
    min_nights: int


class Room(NamedTuple):
    """Rooms of one type in one night (of ``day`` to the next day)."""

    hotel: int
    day: int
    type: str
    cap: int
    price: int
    left: int


class Leg(NamedTuple):
    """One departure between two cities; be at the station ``board`` minutes before. ``runs`` is 0 when cancelled."""

    id: int
    mode: str
    origin: int
    target: int
    day: int
    dep: int
    arr: int
    price: int
    seats: int
    board: int
    runs: int


class Weather(NamedTuple):
    """Forecast of one city and day; it comes true."""

    city: int
    day: int
    kind: str


TABLES: dict[str, Any] = {
    "city": City,
    "district": District,
    "poi": Poi,
    "restaurant": Restaurant,
    "hotel": Hotel,
    "room": Room,
    "leg": Leg,
    "weather": Weather,
}
_TEXT = {"name", "kind", "cuisine", "type", "mode"}
_KEYS = {"room": "PRIMARY KEY (hotel, day, type)", "weather": "PRIMARY KEY (city, day)"}

# What an episode writes into its private copy.
_EPISODE = """
CREATE TABLE booking (id INTEGER PRIMARY KEY, kind TEXT, ref INTEGER, day INTEGER, start INTEGER, by TEXT,
                      nights INTEGER, room TEXT, qty INTEGER, paid INTEGER);
CREATE TABLE ledger (id INTEGER PRIMARY KEY, booking INTEGER, amount INTEGER);
CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT);
CREATE INDEX poi_city ON poi (city, kind);
CREATE INDEX restaurant_city ON restaurant (city, cuisine);
CREATE INDEX hotel_city ON hotel (city);
CREATE INDEX leg_pair ON leg (origin, target, day);
"""


def ddl() -> str:
    """The statements that make the empty tables."""
    made = []
    for table, row in TABLES.items():
        columns = [f"{name} {'TEXT' if name in _TEXT else 'INTEGER'} NOT NULL" for name in row._fields]
        key = _KEYS.get(table, "PRIMARY KEY (id)")
        made.append(f"CREATE TABLE {table} ({', '.join(columns)}, {key});")
    return "\n".join(made) + _EPISODE


def insert(table: str) -> str:
    """The parametrised insert of one table."""
    return f"INSERT INTO {table} VALUES ({', '.join('?' * len(TABLES[table]._fields))})"
