"""Draws a task: a world, a hidden itinerary in it, and the request that the itinerary answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import constraints, preferences
from .gen import Size, World, world
from .hidden import NoItinerary, Sampler
from .plan import Item
from .query import Party, Query
from .rows import City
from .store import Store

MAX_WORLDS = 20


@dataclass(frozen=True)
class Knobs:
    """How hard a task is; the environment's documentation says what each means."""

    cities: int = 2
    days: int = 3
    travellers: int = 2
    constraints: int = 3
    depth: int = 1
    slack: int = 130
    wishes: int = 2
    distractors: int = 2
    withheld: int = 0
    grounded: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("cities", 1, 4),
            ("days", 1, 7),
            ("travellers", 1, 6),
            ("constraints", 0, 10),
            ("depth", 1, 2),
            ("slack", 100, 300),
            ("wishes", 0, 4),
            ("distractors", 0, 8),
            ("withheld", 0, 8),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name}={value!r}: give a whole number from {low} to {high}")
        if self.cities > self.days:
            raise ValueError(f"cities={self.cities} with days={self.days}: a city needs a day; give days >= cities")


@dataclass(frozen=True)
class TravelTask:
    """A task: where it takes place, what is asked, and the hidden itinerary that answers it (host only)."""

    world: World
    query: Query
    hidden: tuple[Item, ...]


def draw(rng: np.random.Generator, knobs: Knobs) -> TravelTask:
    """A task that its hidden itinerary solves.

    Raises:
        RuntimeError: no world allowed an itinerary; make the task easier.
    """
    size = Size(cities=1 + knobs.cities + knobs.distractors, days=knobs.days, sights=10 + 2 * knobs.distractors)
    for _ in range(MAX_WORLDS):
        made = world(int(rng.integers(2**31)), size)
        frame = _frame(made, rng, knobs)
        store = Store(made.image)
        try:
            items, trip = Sampler(made, frame, rng).draw(store)
            source = constraints.Source(trip, frame, store, rng, knobs.slack)
            added = constraints.derive(source, knobs.constraints, knobs.depth)
        except NoItinerary:
            continue
        finally:
            store.close()
        query = replace(
            frame,
            budget=100 * -(-trip.cost() * knobs.slack // 10_000),
            constraints=added,
            wishes=preferences.draw(rng, knobs.wishes, knobs.days),
            withheld=_withheld(added, knobs.withheld, rng),
        )
        return TravelTask(made, query, items)
    raise RuntimeError(
        f"no itinerary in {MAX_WORLDS} worlds with {knobs}; lower travellers or cities, or raise distractors"
    )


def _frame(made: World, rng: np.random.Generator, knobs: Knobs) -> Query:
    """Places, days and party, still without budget and constraints."""
    order = rng.permutation(len(made.rows["city"]))[: 1 + knobs.cities].tolist()
    chosen: list[City] = [made.rows["city"][i] for i in order]
    with_child, in_wheelchair, weekday = rng.integers(0, (3, 5, 7)).tolist()
    children = int(with_child == 0 and knobs.travellers > 1)
    party = Party(knobs.travellers - children, children, in_wheelchair == 0)
    return Query(chosen[0], tuple(chosen[1:]), knobs.days, weekday, party, 0, grounded=knobs.grounded)


def _withheld(added: tuple[constraints.Constraint, ...], count: int, rng: np.random.Generator) -> frozenset[str]:
    """Kinds the traveller keeps back: constraints first, then the budget."""
    kinds = [added[i].kind for i in rng.permutation(len(added)).tolist()]
    return frozenset([*kinds, "budget"][:count])
