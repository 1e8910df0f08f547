"""Short SQL questions on a small travel database. The query runs in the sandbox, on rows that differ in every test."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import numpy as np

from ..problem import CodeTest, Problem, call
from .common import choice, letters, reply, source, visibility, whole

SCHEMA = (
    "CREATE TABLE city(id INTEGER, name TEXT, population INTEGER);"
    "CREATE TABLE hotel(id INTEGER, city INTEGER, name TEXT, stars INTEGER, price INTEGER);"
    "CREATE TABLE leg(id INTEGER, origin INTEGER, target INTEGER, mode TEXT, minutes INTEGER, price INTEGER);"
)
_HOTELS_OF_CITIES = "FROM city c LEFT JOIN hotel h ON h.city = c.id"
MODES = ("train", "bus", "flight")
_WRAPPER = source("""
    import sqlite3

    QUERY = {query}

    def rows(tables):
        database = sqlite3.connect(":memory:")
        database.executescript({schema})
        for name, content in tables.items():
            for row in content:
                database.execute("INSERT INTO " + name + " VALUES (" + ",".join("?" * len(row)) + ")", row)
        return [list(row) for row in database.execute(QUERY).fetchmany(1000)]
""")


def prepare(query: str) -> str:
    """The program that runs a query; the query is a literal in it and nothing more."""
    return _WRAPPER.replace("{schema}", repr(SCHEMA)).replace("{query}", json.dumps(query))


def tables(rng: np.random.Generator, size: int) -> dict[str, list[list[Any]]]:
    """Rows of a small world."""
    cities: list[list[Any]] = [[i, letters(rng, 5).title(), whole(rng, 10, 900) * 1000] for i in range(1, 4 + size)]
    hotels = [
        [
            i,
            int(cities[whole(rng, 0, len(cities) - 1)][0]),
            letters(rng, 6).title(),
            whole(rng, 1, 5),
            whole(rng, 30, 300),
        ]
        for i in range(1, 8 + 2 * size)
    ]
    legs = []
    for i in range(1, 10 + 3 * size):
        origin, target = (int(cities[int(k)][0]) for k in rng.choice(len(cities), 2, replace=False))
        legs.append([i, origin, target, choice(rng, MODES), whole(rng, 20, 400), whole(rng, 5, 200)])
    return {"city": cities, "hotel": hotels, "leg": legs}


def execute(query: str, content: dict[str, list[list[Any]]]) -> list[list[Any]]:
    """Rows of one of our own queries."""
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    for name, rows in content.items():
        database.executemany(f"INSERT INTO {name} VALUES ({','.join('?' * len(rows[0]))})", rows)
    try:
        return [list(row) for row in database.execute(query)]
    finally:
        database.close()


def _question(rng: np.random.Generator, level: int) -> tuple[str, str, str]:
    """Words, right query, wrong query."""
    stars, price, mode = whole(rng, 2, 4), whole(rng, 90, 200), choice(rng, MODES)
    easy = (
        (
            f"the names of hotels with at least {stars} stars that cost at most {price}, cheapest first, then by name",
            f"SELECT name FROM hotel WHERE stars >= {stars} AND price <= {price} ORDER BY price, name",
            f"SELECT name FROM hotel WHERE stars >= {stars} ORDER BY price, name",
        ),
        (
            f"the number of legs by {mode}",
            f"SELECT count(*) FROM leg WHERE mode = '{mode}'",
            "SELECT count(*) FROM leg",
        ),
    )
    middle = (
        (
            "each city's name and its number of hotels (cities without hotels included), by name",
            f"SELECT c.name, count(h.id) {_HOTELS_OF_CITIES} GROUP BY c.id ORDER BY c.name, c.id",
            f"SELECT c.name, count(*) {_HOTELS_OF_CITIES} GROUP BY c.id ORDER BY c.name DESC, c.id",
        ),
        (
            f"the names of origin and target and the price of all legs by {mode}, dearest first, then by leg id",
            "SELECT a.name, b.name, l.price FROM leg l JOIN city a ON a.id = l.origin JOIN city b ON b.id = l.target "
            f"WHERE l.mode = '{mode}' ORDER BY l.price DESC, l.id",
            "SELECT b.name, a.name, l.price FROM leg l JOIN city a ON a.id = l.origin JOIN city b ON b.id = l.target "
            f"WHERE l.mode = '{mode}' ORDER BY l.price DESC, l.id",
        ),
    )
    hard = (
        (
            "each mode with its average price, rounded down, for modes with at least 2 legs, by mode",
            "SELECT mode, sum(price) / count(*) FROM leg GROUP BY mode HAVING count(*) >= 2 ORDER BY mode",
            "SELECT mode, max(price) FROM leg GROUP BY mode HAVING count(*) >= 2 ORDER BY mode",
        ),
        (
            "for each city with a hotel, its name and the lowest price among its hotels with the most stars, by name",
            "SELECT c.name, min(h.price) FROM city c JOIN hotel h ON h.city = c.id WHERE h.stars = "
            "(SELECT max(stars) FROM hotel WHERE city = c.id) GROUP BY c.id ORDER BY c.name, c.id",
            "SELECT c.name, max(h.price) + 1 FROM city c JOIN hotel h ON h.city = c.id GROUP BY c.id ORDER BY c.name",
        ),
    )
    return choice(rng, (easy, middle, hard)[level - 1])


def sql(rng: np.random.Generator, level: int) -> Problem:
    """Answer a question with one SQL query."""
    while True:
        words, right, wrong = _question(rng, level)
        worlds = [tables(rng, level) for _ in range(5)]
        if sum(execute(right, world) != execute(wrong, world) for world in worlds) >= 3:
            break
    tests = []
    for i, world in enumerate(worlds):
        made = call(str(i + 1), "rows", [world], execute(right, world), visibility(i) if i else "public")
        shown = "\n".join(f"{name}: {json.dumps(content)}" for name, content in world.items())
        tests.append(CodeTest(made.test, "public" if i == 0 else "hidden", shown, json.dumps(execute(right, world))))
    schema = SCHEMA.replace(";", ";\n")
    statement = f"{schema}\nWrite one SQLite query that returns {words}."
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    solutions = {"reference": reply(right, "sql"), "wrong": reply(wrong, "sql"), "slow": reply(endless, "sql")}
    return Problem(statement, tuple(tests), language="sql", prepare=prepare, solutions=solutions)
