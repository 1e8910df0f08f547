"""Worlds from a seed. Each table has its own generator, seeded by SHA-256 of (version, seed, size, table).

The same seed gives the same bytes: only integers are drawn, and rows are inserted in the order they are made.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .geo import metres
from .names import words
from .rows import (
    CUISINES,
    KINDS,
    OUTDOOR_KINDS,
    ROOM_CAPACITY,
    ROOMS,
    TABLES,
    WEATHERS,
    City,
    District,
    Hotel,
    Leg,
    Poi,
    Restaurant,
    Room,
    Weather,
    ddl,
    insert,
)

VERSION = 1

_REGION, _TOWN, _DISTRICT = 240_000, 3_200, 900  # metres
_FIRST_ID = {"city": 1, "district": 2, "poi": 3, "restaurant": 4, "hotel": 5, "leg": 6}
_ID_RANGE = 100_000
# (mode, metres a minute, minutes added, fare of a departure, cents a kilometre, minutes to board, departures)
_SERVICES = (
    ("train", 2500, 10, 400, 14, 10, (410, 490, 660, 900, 1000, 1110)),
    ("bus", 1500, 10, 200, 8, 5, (395, 600, 960, 1040)),
    ("flight", 8000, 40, 3000, 15, 60, (440, 520, 930, 1080)),
)


@dataclass(frozen=True)
class Size:
    """How large a world is.

    Attributes:
        cities: cities in all.
        days: days with departures, weather and rooms.
        sights: sights a city; restaurants and hotels follow from it.
    """

    cities: int = 5
    days: int = 3
    sights: int = 14


@dataclass(frozen=True)
class World:
    """A built world: the rows by table, and the database as bytes.

    Attributes:
        seed: names the world together with its size.
        size: how large it is.
        rows: the rows of each table.
        image: the serialised SQLite database; every episode opens its own copy.
    """

    seed: int
    size: Size
    rows: dict[str, tuple[Any, ...]]
    image: bytes


@lru_cache(maxsize=64)
def world(seed: int, size: Size) -> World:
    """The world of a seed; the last 64 are kept."""
    rows = tables(seed, size)
    return World(seed, size, rows, image(rows))


def tables(seed: int, size: Size) -> dict[str, tuple[Any, ...]]:
    """The rows of every table."""

    def rng(table: str) -> np.random.Generator:
        key = f"travel:{VERSION}:{seed}:{size.cities}:{size.days}:{size.sights}:{table}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))

    cities = _cities(rng("city"), size)
    districts = _districts(rng("district"), cities)
    hotels = _hotels(rng("hotel"), districts, max(4, size.sights // 2))
    made: dict[str, list[Any]] = {
        "city": cities,
        "district": districts,
        "poi": _pois(rng("poi"), districts, size.sights),
        "restaurant": _restaurants(rng("restaurant"), districts, max(6, 3 * size.sights // 4)),
        "hotel": hotels,
        "room": _rooms(rng("room"), hotels, size.days),
        "leg": _legs(rng("leg"), cities, size.days),
        "weather": _weather(rng("weather"), cities, size.days),
    }
    return {table: tuple(rows) for table, rows in made.items()}


def image(rows: dict[str, tuple[Any, ...]]) -> bytes:
    """The rows as a serialised SQLite database."""
    db = sqlite3.connect(":memory:")
    try:
        db.executescript(ddl())
        for table in TABLES:
            db.executemany(insert(table), rows[table])
        db.commit()
        return db.serialize()
    finally:
        db.close()


def _ids(rng: np.random.Generator, table: str, count: int) -> list[int]:
    """Six-digit ids that cannot be guessed from one another; the first digit tells the table."""
    return (_FIRST_ID[table] * _ID_RANGE + rng.choice(_ID_RANGE, count, replace=False)).tolist()


def _cities(rng: np.random.Generator, size: Size) -> list[City]:
    places = rng.integers(0, _REGION, (size.cities, 2)).tolist()
    zones = (60 * (rng.integers(0, 4, size.cities) == 0)).tolist()
    rows = zip(_ids(rng, "city", size.cities), words(rng, size.cities), places, zones, strict=True)
    return [City(id, name, x, y, tz) for id, name, (x, y), tz in rows]


def _districts(rng: np.random.Generator, cities: list[City]) -> list[District]:
    count = 4 * len(cities)
    offsets = rng.integers(-_TOWN, _TOWN + 1, (count, 2)).tolist()
    noise = rng.integers(0, 101, count).tolist()
    made = []
    for n, (id, name) in enumerate(zip(_ids(rng, "district", count), words(rng, count), strict=True)):
        city = cities[n // 4]
        made.append(District(id, city.id, name, city.x + offsets[n][0], city.y + offsets[n][1], noise[n]))
    return made


def _spread(
    rng: np.random.Generator, table: str, districts: list[District], each: int
) -> list[tuple[int, str, District, int, int]]:
    """Id, name, district and place of ``each`` rows a city."""
    cities = len(districts) // 4
    count = cities * each
    drawn = rng.integers((0, -_DISTRICT, -_DISTRICT), (4, _DISTRICT + 1, _DISTRICT + 1), (count, 3)).tolist()
    made = []
    for n, (id, name) in enumerate(zip(_ids(rng, table, count), words(rng, count), strict=True)):
        place = districts[4 * (n // each) + drawn[n][0]]
        made.append((id, name, place, place.x + drawn[n][1], place.y + drawn[n][2]))
    return made


def _pois(rng: np.random.Generator, districts: list[District], each: int) -> list[Poi]:
    spread = _spread(rng, "poi", districts, each)
    # kind, opens, hours open, closed weekday, price, minutes, rating, children, step-free
    high = (len(KINDS), 5, 5, 14, 25, 6, 51, 4, 3)
    drawn = rng.integers(0, high, (len(spread), len(high))).tolist()
    made = []
    for (id, name, place, x, y), (kind, opens, hours, closed, price, minutes, rating, kids, steps) in zip(
        spread, drawn, strict=True
    ):
        word = KINDS[kind]
        start = 480 + 30 * opens
        made.append(
            Poi(
                id,
                place.city,
                place.id,
                word,
                f"{name} {word.capitalize()}",
                x,
                y,
                start,
                start + 60 * (7 + hours),
                closed if closed < 7 else -1,
                100 * price,
                45 + 15 * minutes,
                rating,
                int(word not in OUTDOOR_KINDS),
                int(kids > 0),
                int(steps > 0),
            )
        )
    return made


def _restaurants(rng: np.random.Generator, districts: list[District], each: int) -> list[Restaurant]:
    spread = _spread(rng, "restaurant", districts, each)
    high = (len(CUISINES), 3, 4, 14, 31, 51, 3)
    drawn = rng.integers(0, high, (len(spread), len(high))).tolist()
    return [
        Restaurant(
            id,
            place.city,
            place.id,
            CUISINES[cuisine],
            f"{name} {CUISINES[cuisine].capitalize()}",
            x,
            y,
            660 + 30 * opens,
            1260 + 30 * closes,
            closed if closed < 7 else -1,
            800 + 100 * price,
            rating,
            int(steps > 0),
        )
        for (id, name, place, x, y), (cuisine, opens, closes, closed, price, rating, steps) in zip(
            spread, drawn, strict=True
        )
    ]


def _hotels(rng: np.random.Generator, districts: list[District], each: int) -> list[Hotel]:
    spread = _spread(rng, "hotel", districts, each)
    high = (5, 2, 4, 3, 6)
    drawn = rng.integers(0, high, (len(spread), len(high))).tolist()
    return [
        Hotel(
            id,
            place.city,
            place.id,
            f"Hotel {name}",
            x,
            y,
            stars + 1,
            pets,
            int(kids > 0),
            int(steps > 0),
            2 if nights == 0 else 1,
        )
        for (id, name, place, x, y), (stars, pets, kids, steps, nights) in zip(spread, drawn, strict=True)
    ]


def _rooms(rng: np.random.Generator, hotels: list[Hotel], days: int) -> list[Room]:
    drawn = iter(rng.integers(0, (16, 7), (len(hotels) * days * len(ROOMS), 2)).tolist())
    made = []
    for hotel in hotels:
        for day in range(1, days + 1):
            for type in ROOMS:
                extra, left = next(drawn)
                price = (2500 + 1500 * hotel.stars) * (1 + ROOM_CAPACITY[type]) // 2 + 100 * extra
                made.append(Room(hotel.id, day, type, ROOM_CAPACITY[type], price, left))
    return made


def _legs(rng: np.random.Generator, cities: list[City], days: int) -> list[Leg]:
    pairs = [(a, b) for a in cities for b in cities if a.id != b.id]
    each = sum(len(times) for *_, times in _SERVICES)
    count = len(pairs) * days * each
    ids = iter(_ids(rng, "leg", count))
    drawn = iter(rng.integers((-5, 0, 0), (6, 21, 24), (count, 3)).tolist())
    made = []
    for a, b in pairs:
        distance = metres(a, b)
        for day in range(1, days + 1):
            for mode, speed, extra, base, rate, board, times in _SERVICES:
                minutes = 5 * -(-max(65, extra + distance // speed) // 5)
                for time in times:
                    id, (shift, fare, seats) = next(ids), next(drawn)
                    dep = 1440 * (day - 1) + time + 5 * shift
                    arr = dep + minutes + b.tz - a.tz
                    if arr < 1440 * day - 10:
                        price = base + rate * distance // 1000 + 25 * fare
                        made.append(Leg(id, mode, a.id, b.id, day, dep, arr, price, seats, board, 1))
    return made


def _weather(rng: np.random.Generator, cities: list[City], days: int) -> list[Weather]:
    drawn = iter(rng.integers(0, len(WEATHERS), len(cities) * days).tolist())
    return [Weather(city.id, day, WEATHERS[next(drawn)]) for city in cities for day in range(1, days + 1)]
