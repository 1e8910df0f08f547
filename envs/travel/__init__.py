"""Travel: an offline world in SQLite, a desk of tools, a checker with about forty rules, soft wishes, events.

draw(rng, Knobs(...)) -> TravelTask             world, request and the hidden itinerary that answers it
look_up(items, query, store) -> Trip            a plan resolved against the database
verdicts(trip, query) -> list[Verdict]          every rule with pass or fail and the reason
compare, ranking, rubric, describe              the oracle for pairwise judges (`preferences`)
"""

from __future__ import annotations

from ..registry import register
from .check import Verdict, verdicts
from .env import TravelEnv
from .plan import Item
from .preferences import compare, describe, ranking, rubric
from .query import Constraint, Party, Query
from .store import Store
from .task import Knobs, TravelTask, draw
from .trip import Trip, look_up

register("palaestra/Travel-v0", TravelEnv)

__all__ = [
    "Constraint",
    "Item",
    "Knobs",
    "Party",
    "Query",
    "Store",
    "TravelEnv",
    "TravelTask",
    "Trip",
    "Verdict",
    "compare",
    "describe",
    "draw",
    "look_up",
    "ranking",
    "rubric",
    "verdicts",
]
