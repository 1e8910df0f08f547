"""The hard rules every trip obeys. Each is one function from (trip, query) to what is wrong, or None.

Nothing passes by absence: a rule about all hotels fails when there is no hotel to look at and one is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from . import clock, geo
from .clock import money, show
from .query import Query
from .rows import WEEKDAYS
from .trip import Part, Trip

Check = Callable[[Trip, Query], str | None]


@dataclass(frozen=True)
class Rule:
    """A hard rule.

    Attributes:
        name: what its verdict is called.
        text: the rule in words, as in the prompt; empty when it goes without saying.
        check: gives the first fault, or None.
        form: whether a plan that breaks it is no plan at all, so that it earns nothing even in the dense reward.
        applies: whether a request needs it; a rule that nobody needs is not counted as kept.
    """

    name: str
    text: str
    check: Check
    form: bool
    applies: Callable[[Query], bool]


RULES: list[Rule] = []


def _always(query: Query) -> bool:
    return True


def _has_nights(query: Query) -> bool:
    return query.days > 1


def _has_children(query: Query) -> bool:
    return query.party.children > 0


def _has_wheelchair(query: Query) -> bool:
    return query.party.wheelchair


def rule(
    name: str, text: str = "", *, form: bool = False, applies: Callable[[Query], bool] = _always
) -> Callable[[Check], Check]:
    """Register a rule; the order here is the order of reports."""

    def add(check: Check) -> Check:
        RULES.append(Rule(name, text, check, form, applies))
        return check

    return add


def label(part: Part) -> str:
    """How feedback names a part: by the policy's own words."""
    word = {"leg": "Leg", "stay": "Hotel", "visit": "Poi", "meal": "Restaurant"}[part.item.kind]
    return f"{word} {part.item.id}"


@rule("ids_exist", form=True)
def ids_exist(trip: Trip, query: Query) -> str | None:
    if not trip.items:
        return "The plan is empty."
    if trip.missing:
        item = trip.missing[0]
        return f"Day {item.day}: there is no {item.kind} with id {item.id}."
    return None


@rule("times_given", form=True)
def times_given(trip: Trip, query: Query) -> str | None:
    if not trip.timeline:
        return "The plan has no timed item."
    if trip.untimed:
        item = trip.untimed[0]
        return f"Day {item.day}: {item.kind} {item.id} needs a start as HH:MM."
    return None


@rule("no_overlap", "Activities and legs do not overlap.", form=True)
def no_overlap(trip: Trip, query: Query) -> str | None:
    if not trip.timeline:
        return "The plan has no timed item."
    for before, after in zip(trip.timeline, trip.timeline[1:], strict=False):
        if after.start < before.end:
            over = f"before {label(before)} is over at {show(before.end)}"
            return f"Day {after.item.day}: {label(after)} begins at {show(after.start)}, {over}."
    return None


@rule("no_repeats", "No sight and no restaurant twice.", form=True)
def no_repeats(trip: Trip, query: Query) -> str | None:
    parts = [part for part in trip.timeline if part.item.kind != "leg"]
    if not parts:
        return "The plan has no visit and no meal."
    counts = Counter(part.item.id for part in trip.timeline)
    twice = [part for part in trip.timeline if counts[part.item.id] > 1]
    return f"{label(twice[0])} appears more than once." if twice else None


@rule("in_trip", "Everything happens within the days of the trip; a leg stands on the day it departs.")
def in_trip(trip: Trip, query: Query) -> str | None:
    if not trip.timeline:
        return "The plan has no timed item."
    for part in trip.timeline:
        last = clock.day_of(part.end - 1)
        if part.item.day > query.days or last > query.days:
            return f"Day {max(part.item.day, last)} is after the end of the trip."
        if part.item.kind == "leg" and part.row.day != part.item.day:
            return f"Leg {part.item.id} departs on day {part.row.day}, the plan has it on day {part.item.day}."
    return None


@rule("closed_route", "The trip starts and ends in the origin: the first and last things are legs.")
def closed_route(trip: Trip, query: Query) -> str | None:
    if not trip.legs:
        return "The plan has no leg."
    first, last = trip.timeline[0], trip.timeline[-1]
    if first.item.kind != "leg" or first.row.origin != query.origin.id:
        return "The trip does not start with a leg from the origin."
    if last.item.kind != "leg" or last.row.target != query.origin.id:
        return "The trip does not end with a leg to the origin."
    return None


@rule("all_cities", "Every city asked for has at least one visit, and no other city is visited.")
def all_cities(trip: Trip, query: Query) -> str | None:
    visited = {part.row.city for part in trip.visits}
    for city in query.cities:
        if city.id not in visited:
            return f"There is no visit in {city.name}."
    if visited - {city.id for city in query.cities}:
        return "A visit lies in a city that was not asked for."
    return None


@rule("right_city", "Everything happens in the city where you are.")
def right_city(trip: Trip, query: Query) -> str | None:
    if not trip.moves:
        return "The plan has no timed item."
    for move in trip.moves:
        if move.way is None:
            return f"Day {move.day}: {label(move.part)} is in another city than you are."
    return None


@rule("reachable", "Ways take the time that `route` gives; be at the station the boarding minutes before.")
def reachable(trip: Trip, query: Query) -> str | None:
    if not any(move.way for move in trip.moves):
        return "The plan has no timed item."
    for move in trip.moves:
        if move.way and move.arrive > move.due and not move.overlap:
            need, have = move.way.minutes, max(0, move.due - move.leave)
            if move.evening:
                return f"Day {move.day}: {label(move.part)} is not reached by midnight (needs {need} min, have {have})."
            if move.part.item.kind == "leg":
                return (
                    f"Day {move.day}: {label(move.part)} departs before you can board it (the way needs {need} min, "
                    f"have {have})."
                )
            return (
                f"Day {move.day}: {label(move.part)} begins before you can be there (needs {need} min by "
                f"{move.way.mode}, have {have})."
            )
    return None


@rule("bus_hours", "City buses leave from 06:00 to 23:00.")
def bus_hours(trip: Trip, query: Query) -> str | None:
    if not any(move.way for move in trip.moves):
        return "The plan has no timed item."
    for move in trip.moves:
        if move.way and move.way.metres and not geo.runs(move.way.mode, move.leave % 1440):
            return f"Day {move.day}: no bus at {show(move.leave)} to {label(move.part)}."
    return None


@rule("open_hours", "Sights and restaurants are open from start to end; a visit takes its minutes, a meal 60.")
def open_hours(trip: Trip, query: Query) -> str | None:
    parts = [*trip.visits, *trip.meals]
    if not parts:
        return "The plan has no visit and no meal."
    for part in parts:
        opens, closes = clock.at(part.item.day, part.row.open), clock.at(part.item.day, part.row.close)
        if part.start < opens:
            return f"Day {part.item.day}: {label(part)} opens at {show(opens)}, you come at {show(part.start)}."
        if part.end > closes:
            return f"Day {part.item.day}: {label(part)} closes at {show(closes)}, you stay until {show(part.end)}."
    return None


@rule("open_days", "Not on their closed weekday.")
def open_days(trip: Trip, query: Query) -> str | None:
    parts = [*trip.visits, *trip.meals]
    if not parts:
        return "The plan has no visit and no meal."
    for part in parts:
        weekday = clock.weekday(query.first_weekday, part.item.day)
        if part.row.closed_weekday == weekday:
            return f"Day {part.item.day}: {label(part)} is closed on {WEEKDAYS[weekday]}s."
    return None


@rule("days_covered", "Every day has at least one visit and one meal.")
def days_covered(trip: Trip, query: Query) -> str | None:
    for day in range(1, query.days + 1):
        if all(part.item.day != day for part in trip.visits):
            return f"Day {day} has no visit."
        if all(part.item.day != day for part in trip.meals):
            return f"Day {day} has no meal."
    return None


@rule("every_night", "Every night but the last has exactly one stay, in the city where the day ends.")
def every_night(trip: Trip, query: Query) -> str | None:
    if query.days == 1:
        if not trip.timeline:
            return "The plan has no timed item."
        return "A trip of one day has no night." if trip.stays else None
    for day in range(1, query.days):
        hotels = [part for part in trip.stays if part.start <= day < part.end]
        if len(hotels) != 1:
            return f"The night of day {day} has {len(hotels)} stays and not one."
        if hotels[0].row.city != trip.ends_at[day - 1]:
            return f"The night of day {day}: {label(hotels[0])} is not in the city where the day ends."
    late = [part for part in trip.stays if part.end > query.days]
    return f"{label(late[0])} is kept longer than the trip." if late else None


@rule("beds", "The rooms of a stay have a bed for everyone.", applies=_has_nights)
def beds(trip: Trip, query: Query) -> str | None:
    if not trip.stays:
        return "The plan has no stay."
    for day, part, room in trip.nights():
        if room is not None and room.cap * part.item.rooms < query.party.size:
            return (
                f"The night of day {day}: {label(part)} has {room.cap * part.item.rooms} beds for {query.party.size}."
            )
    return None


@rule("rooms_left", "Enough rooms of the type are left in every night.", applies=_has_nights)
def rooms_left(trip: Trip, query: Query) -> str | None:
    if not trip.stays:
        return "The plan has no stay."
    for day, part, room in trip.nights():
        left = room.left if room else 0
        if left < part.item.rooms:
            return (
                f"The night of day {day}: {label(part)} has {left} {part.item.room} rooms left, not {part.item.rooms}."
            )
    return None


@rule("min_stay", "Hotels may ask for a minimum of nights.", applies=_has_nights)
def min_stay(trip: Trip, query: Query) -> str | None:
    if not trip.stays:
        return "The plan has no stay."
    for part in trip.stays:
        if part.item.nights < part.row.min_nights:
            return f"{label(part)} takes guests for at least {part.row.min_nights} nights."
    return None


@rule("seats", "Every leg has a seat for everyone.")
def seats(trip: Trip, query: Query) -> str | None:
    if not trip.legs:
        return "The plan has no leg."
    for part in trip.legs:
        if part.row.seats < query.party.size:
            return f"{label(part)} has {part.row.seats} seats for {query.party.size}."
    return None


@rule("running", "Legs are not cancelled.")
def running(trip: Trip, query: Query) -> str | None:
    if not trip.legs:
        return "The plan has no leg."
    cancelled = [part for part in trip.legs if not part.row.runs]
    return f"{label(cancelled[0])} is cancelled." if cancelled else None


@rule("budget")
def budget(trip: Trip, query: Query) -> str | None:
    if not trip.timeline:
        return "The plan has no timed item."
    cost = trip.cost()
    return f"Total {money(cost)} over the budget {money(query.budget)}." if cost > query.budget else None


@rule("children", applies=_has_children)
def children(trip: Trip, query: Query) -> str | None:
    if not trip.visits:
        return "The plan has no visit."
    for part in (*trip.visits, *trip.stays):
        if not part.row.kids_ok:
            return f"{label(part)} does not admit children."
    return None


@rule("step_free", applies=_has_wheelchair)
def step_free(trip: Trip, query: Query) -> str | None:
    if not trip.visits:
        return "The plan has no visit."
    for part in (*trip.visits, *trip.meals, *trip.stays):
        if not part.row.step_free:
            return f"{label(part)} is not step-free."
    return None
