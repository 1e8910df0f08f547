"""The opening message: the request, the rules in words, and how to hand in."""

from __future__ import annotations

from . import constraints, preferences
from .predicates import RULES
from .query import Query
from .user import budget_text

_GENERAL = (
    "Use the tools; the world is invented, so nothing can be known beforehand. Prices are in cents a person (rooms: a "
    "room and night; route: everyone). Times are local HH:MM, days count from 1. Refer to everything by id."
)
_ITEMS = (
    "Items: legs (kind 'leg', day, by: how you get to the station), visits and meals (start, by: how you get there "
    "from the place before), stays (day of arrival, nights, room, rooms, by: how you get back to the hotel in the "
    "evening). The trip begins at the origin's station; on later days you leave the hotel at 07:00 or later, and you "
    "are back by midnight."
)
_HAND_IN = {
    "plan": "When the itinerary is complete, call submit_plan once with all items.",
    "book": "Book every item with `book`, correct with `cancel`, and call finish once when everything is booked.",
}


def write(query: Query, style: str) -> str:
    """The opening message of a task."""
    told = [constraints.text(c) for c in query.constraints if c.kind not in query.withheld]
    wanted = [*told, *([] if "budget" in query.withheld else [budget_text(query)])]
    if query.party.children:
        wanted.append("Sights and hotels must admit children.")
    if query.party.wheelchair:
        wanted.append("Sights, restaurants and hotels must be step-free.")
    if query.withheld:
        wanted.append("I have not told you everything that matters to me; ask me, one thing at a time.")
    soft = [preferences.WISHES[name].text for name, _ in query.wishes]
    rules = [rule.text for rule in RULES if rule.text]
    if query.grounded:
        rules.append("Only ids that a tool has shown you count.")
    parts = [query.title(), " ".join(wanted)]
    if soft:
        parts.append("If it can be had: " + " ".join(soft))
    parts += ["Rules:\n" + "\n".join(f"- {rule}" for rule in rules), _GENERAL, _ITEMS, _HAND_IN[style]]
    return "\n\n".join(parts)
