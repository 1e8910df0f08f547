"""The cheapest plan of the easiest level (one city, one day), by search, so that regret can be measured.

A plan with one visit and one meal is enough there, and whatever is added to it only costs more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from typing import Any

from . import clock, geo
from .check import verdicts
from .constraints import KINDS_OF_CONSTRAINT
from .gen import World
from .plan import Item
from .query import Query
from .rows import City
from .store import Store
from .trip import MEAL_MINUTES, look_up

MAX_CHECKS = 400


def cheapest(world: World, query: Query, store: Store) -> int | None:
    """Cents of the cheapest plan with one visit and one meal.

    Returns:
        None beyond the easiest level, when constraints ask for more than one visit, or when the search is given up.
    """
    if query.days != 1 or len(query.cities) != 1:
        return None
    free = replace(query, budget=10**12, grounded=False)
    city, size = query.cities[0], query.party.size
    best: int | None = None
    checks = 0
    for price, out, poi, meal, back in _combinations(world, query, city, store):
        if best is not None and price * size >= best:
            break
        for items, cost in _schedules(out, poi, meal, back, city, size):
            if best is not None and price * size + cost >= best:
                continue
            checks += 1
            if checks > MAX_CHECKS:
                return None
            trip = look_up(items, free, store)
            if all(verdict.ok for verdict in verdicts(trip, free)):
                best = trip.cost()
    return best


def _combinations(world: World, query: Query, city: City, store: Store) -> Iterator[tuple[int, Any, Any, Any, Any]]:
    """Legs, sight and restaurant, from the cheapest up; only such as no constraint rules out by themselves."""
    weekday = clock.weekday(query.first_weekday, 1)
    party = query.party

    def fits(topics: tuple[str, ...], *items: Item) -> bool:
        trip = look_up(items, query, store)
        wanted = [(KINDS_OF_CONSTRAINT[c.kind], c.args) for c in query.constraints if c.kind != "early_meals"]
        return all(kind.check(trip, query, *args) is None for kind, args in wanted if kind.topic in topics)

    def welcome(row: Any) -> bool:
        return (
            row.city == city.id
            and row.closed_weekday != weekday
            and (row.step_free or not party.wheelchair)
            and (getattr(row, "kids_ok", 1) or not party.children)
        )

    def at_noon(kind: Any, row: Any) -> Item:
        return Item(kind=kind, id=row.id, day=1, start="12:00")

    legs = [leg for leg in world.rows["leg"] if leg.day == 1 and leg.seats >= party.size]
    outs = [leg for leg in legs if (leg.origin, leg.target) == (query.origin.id, city.id)]
    backs = [leg for leg in legs if (leg.origin, leg.target) == (city.id, query.origin.id)]
    ways = [
        (out, back)
        for out, back in product(outs, backs)
        if back.dep - out.arr >= MEAL_MINUTES
        and fits(("transport", "return"), *(Item(kind="leg", id=leg.id, day=1) for leg in (out, back)))
    ]
    pois = [r for r in world.rows["poi"] if welcome(r) and fits(("sights", "weather"), at_noon("visit", r))]
    meals = [r for r in world.rows["restaurant"] if welcome(r) and fits(("food",), at_noon("meal", r))]
    found = [
        (out.price + poi.price + meal.meal_price + back.price, n, out, poi, meal, back)
        for n, ((out, back), poi, meal) in enumerate(product(ways, pois, meals))
        if out.arr + poi.minutes + MEAL_MINUTES <= back.dep - back.board
    ]
    for price, _, out, poi, meal, back in sorted(found, key=lambda row: row[:2]):
        yield price, out, poi, meal, back


def _schedules(out: Any, poi: Any, meal: Any, back: Any, city: City, size: int) -> Iterator[tuple[list[Item], int]]:
    """Both orders and all ways, each as early as it can be, with the cost of the ways."""
    for stops in permutations((("visit", poi, poi.minutes), ("meal", meal, MEAL_MINUTES))):
        for modes in product(geo.WAYS, repeat=3):
            items = [Item(kind="leg", id=out.id, day=1)]
            here, free, cost = city, out.arr, 0
            for (kind, row, minutes), mode in zip(stops, modes, strict=False):
                way = geo.way(mode, geo.metres(here, row), size)
                start = max(free + way.minutes, row.open)
                if start + minutes > row.close or start + minutes >= 1440:
                    break
                cost += way.cost
                items.append(Item(kind=kind, id=row.id, day=1, start=clock.show(start), by=mode))  # type: ignore[arg-type]
                here, free = row, start + minutes
            else:
                way = geo.way(modes[2], geo.metres(here, city), size)
                if free + way.minutes <= back.dep - back.board:
                    items.append(Item(kind="leg", id=back.id, day=1, by=modes[2]))  # type: ignore[arg-type]
                    yield items, cost + way.cost
