"""Constraints a traveller may add. Each kind derives its arguments from a trip that fulfils it, with some slack.

A kind is three functions: ``derive`` (arguments that the given trip meets, or None), ``text`` (as the traveller says
it), and ``check`` (what is wrong, or None). A further kind is one class here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import clock, geo
from .predicates import label
from .query import Constraint, Query
from .rows import CUISINES, KINDS, MODES, WET
from .store import Store
from .trip import Trip

KINDS_OF_CONSTRAINT: dict[str, Any] = {}
_MODES = ("only_mode", "no_mode")


@dataclass(frozen=True)
class Source:
    """What a constraint is derived from."""

    trip: Trip
    query: Query
    store: Store
    rng: np.random.Generator
    slack: int

    def pick(self, options: Any) -> Any:
        """One of a sequence, or None when it is empty."""
        options = list(options)
        return options[int(self.rng.integers(len(options)))] if options else None

    def loosened(self, value: int, step: int) -> int:
        """A limit that ``value`` meets with the slack, rounded up to ``step``."""
        return step * -(-value * self.slack // (100 * step))


class Kind:
    """A kind of constraint.

    Attributes:
        name: its name in verdicts.
        topic: what the traveller must be asked about to hear it.
        depth: 1 for one concept, 2 for a count or a combination of concepts.
    """

    name = ""
    topic = ""
    depth = 1

    def __init_subclass__(cls) -> None:
        KINDS_OF_CONSTRAINT[cls.name] = cls()

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        """Arguments that the trip meets; None when it does not fit."""
        raise NotImplementedError

    def text(self, *args: Any, **kwargs: Any) -> str:
        """The constraint as the traveller says it."""
        raise NotImplementedError

    def check(self, trip: Trip, query: Query, *args: Any, **kwargs: Any) -> str | None:
        """What is wrong, or None."""
        raise NotImplementedError


class OnlyMode(Kind):
    name, topic = "only_mode", "transport"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        modes = {part.row.mode for part in source.trip.legs}
        return (modes.pop(),) if len(modes) == 1 else None

    def text(self, mode: str) -> str:
        return f"Between cities we travel by {mode} only."

    def check(self, trip: Trip, query: Query, mode: str) -> str | None:
        if not trip.legs:
            return "The plan has no leg."
        other = [part for part in trip.legs if part.row.mode != mode]
        return f"{label(other[0])} is a {other[0].row.mode}; only {mode} was asked for." if other else None


class NoMode(Kind):
    name, topic = "no_mode", "transport"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        unused = [mode for mode in MODES if all(part.row.mode != mode for part in source.trip.legs)]
        return (source.pick(unused),) if unused else None

    def text(self, mode: str) -> str:
        return f"We never take a {mode} between cities."

    def check(self, trip: Trip, query: Query, mode: str) -> str | None:
        if not trip.legs:
            return "The plan has no leg."
        bad = [part for part in trip.legs if part.row.mode == mode]
        return f"{label(bad[0])} is a {mode}." if bad else None


class HomeBy(Kind):
    name, topic = "home_by", "return"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        arrival = source.trip.legs[-1].end - clock.at(source.query.days, 0)
        limit = 30 * -(-(arrival + 15) // 30)
        return (limit,) if limit < 1440 else None

    def text(self, minute: int) -> str:
        return f"On the last day we must be home by {clock.show(minute)}."

    def check(self, trip: Trip, query: Query, minute: int) -> str | None:
        if not trip.legs:
            return "The plan has no leg."
        last = trip.legs[-1]
        if last.end > clock.at(query.days, minute):
            when = f"on day {clock.day_of(last.end)} at {clock.show(last.end)}"
            return f"{label(last)} arrives {when}, after {clock.show(minute)}."
        return None


class Cuisine(Kind):
    name, topic = "cuisine", "food"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        eaten = sorted({part.row.cuisine for part in source.trip.meals})
        return (source.pick(eaten),)

    def text(self, cuisine: str) -> str:
        return f"At least one meal must be of the cuisine {cuisine!r}."

    def check(self, trip: Trip, query: Query, cuisine: str) -> str | None:
        eaten = any(part.row.cuisine == cuisine for part in trip.meals)
        return None if eaten else f"No meal is of the cuisine {cuisine}."


class NoCuisine(Kind):
    name, topic = "no_cuisine", "food"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        eaten = {part.row.cuisine for part in source.trip.meals}
        return (source.pick([c for c in CUISINES if c not in eaten]),)

    def text(self, cuisine: str) -> str:
        return f"No meal of the cuisine {cuisine!r}, please."

    def check(self, trip: Trip, query: Query, cuisine: str) -> str | None:
        if not trip.meals:
            return "The plan has no meal."
        bad = [part for part in trip.meals if part.row.cuisine == cuisine]
        return f"{label(bad[0])} serves {cuisine}." if bad else None


class MealPrice(Kind):
    name, topic = "meal_price", "food"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        return (source.loosened(max(part.row.meal_price for part in source.trip.meals), 100),)

    def text(self, cents: int) -> str:
        return f"No meal may cost more than {clock.money(cents)} a person."

    def check(self, trip: Trip, query: Query, cents: int) -> str | None:
        if not trip.meals:
            return "The plan has no meal."
        dear = [part for part in trip.meals if part.row.meal_price > cents]
        return f"{label(dear[0])} costs {clock.money(dear[0].row.meal_price)} a person." if dear else None


class Stars(Kind):
    name, topic = "stars", "hotel"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        least = min((part.row.stars for part in source.trip.stays), default=0)
        return (least,) if least >= 2 else None

    def text(self, stars: int) -> str:
        return f"Every hotel must have at least {stars} stars."

    def check(self, trip: Trip, query: Query, stars: int) -> str | None:
        if not trip.stays:
            return "The plan has no stay."
        poor = [part for part in trip.stays if part.row.stars < stars]
        return f"{label(poor[0])} has {poor[0].row.stars} stars; at least {stars} were asked for." if poor else None


class Pets(Kind):
    name, topic = "pets", "hotel"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        stays = source.trip.stays
        return () if stays and all(part.row.pets for part in stays) else None

    def text(self) -> str:
        return "We bring a dog, so every hotel must take pets."

    def check(self, trip: Trip, query: Query) -> str | None:
        if not trip.stays:
            return "The plan has no stay."
        bad = [part for part in trip.stays if not part.row.pets]
        return f"{label(bad[0])} takes no pets." if bad else None


class MustVisit(Kind):
    name, topic = "must_visit", "sights"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        row = source.pick(source.trip.visits).row
        return row.id, row.name, source.store.row("city", row.city).name

    def text(self, id: int, name: str, city: str) -> str:
        return f"We must see {name} in {city}."

    def check(self, trip: Trip, query: Query, id: int, name: str, city: str) -> str | None:
        return None if any(part.row.id == id for part in trip.visits) else f"{name} is not visited."


class NoKind(Kind):
    name, topic = "no_kind", "sights"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        seen = {part.row.kind for part in source.trip.visits}
        return (source.pick([kind for kind in KINDS if kind not in seen]),) if len(seen) < len(KINDS) else None

    def text(self, kind: str) -> str:
        return f"No {kind}, please."

    def check(self, trip: Trip, query: Query, kind: str) -> str | None:
        if not trip.visits:
            return "The plan has no visit."
        bad = [part for part in trip.visits if part.row.kind == kind]
        return f"{label(bad[0])} is a {kind}." if bad else None


class Dry(Kind):
    name, topic = "dry", "weather"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        return () if self.check(source.trip, source.query) is None else None

    def text(self) -> str:
        return "On days with rain or storm we visit only indoor sights."

    def check(self, trip: Trip, query: Query) -> str | None:
        if not trip.visits:
            return "The plan has no visit."
        for part in trip.visits:
            kind = trip.weather[part.row.city, part.item.day]
            if kind in WET and not part.row.indoor:
                return f"Day {part.item.day}: {label(part)} is outdoors and the forecast is {kind}."
        return None


class Walking(Kind):
    name, topic = "walking", "walking"

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        most = max(source.trip.walked().values(), default=0)
        return (max(1000, source.loosened(most, 500)),)

    def text(self, metres: int) -> str:
        return f"We walk at most {metres} metres a day."

    def check(self, trip: Trip, query: Query, metres: int) -> str | None:
        if not trip.timeline:
            return "The plan has no timed item."
        for day, walked in sorted(trip.walked().items()):
            if walked > metres:
                return f"Day {day}: {walked} metres on foot, at most {metres} were asked for."
        return None


class Visits(Kind):
    name, topic, depth = "visits", "sights", 2

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        count = len(source.trip.visits)
        return (count,) if count > source.query.days else None

    def text(self, count: int) -> str:
        return f"We want to see at least {count} sights in all."

    def check(self, trip: Trip, query: Query, count: int) -> str | None:
        seen = len(trip.visits)
        return f"{seen} sights, at least {count} were asked for." if seen < count else None


class KindCount(Kind):
    name, topic, depth = "kind_count", "sights", 2

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        counts = Counter(part.row.kind for part in source.trip.visits)
        kind = source.pick(sorted(counts))
        return kind, counts[kind]

    def text(self, kind: str, count: int) -> str:
        return f"At least {count} of the sights must be of the kind {kind!r}."

    def check(self, trip: Trip, query: Query, kind: str, count: int) -> str | None:
        seen = sum(part.row.kind == kind for part in trip.visits)
        return f"{seen} sights of the kind {kind}, at least {count} were asked for." if seen < count else None


class NearStation(Kind):
    name, topic, depth = "near_station", "hotel", 2

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        far = max((self._metres(part, source.query) for part in source.trip.stays), default=0)
        return (source.loosened(far, 100),) if far else None

    def text(self, metres: int) -> str:
        return f"Every hotel must be within {metres} metres of its city's station."

    def check(self, trip: Trip, query: Query, metres: int) -> str | None:
        if not trip.stays:
            return "The plan has no stay."
        for part in trip.stays:
            far = self._metres(part, query)
            if far > metres:
                return f"{label(part)} is {far} metres from the station, at most {metres} were asked for."
        return None

    @staticmethod
    def _metres(part: Any, query: Query) -> int:
        cities = {city.id: city for city in (query.origin, *query.cities)}
        city = cities.get(part.row.city)
        return geo.metres(part.row, city) if city else 10**9


class EarlyMeal(Kind):
    name, topic, depth = "early_meals", "food", 2

    def derive(self, source: Source) -> tuple[Any, ...] | None:
        latest = max(part.start % 1440 for part in source.trip.meals)
        limit = 30 * -(-(latest + 15) // 30)
        return (limit,) if limit < 1440 else None

    def text(self, minute: int) -> str:
        return f"Every day we must sit down for a meal by {clock.show(minute)}."

    def check(self, trip: Trip, query: Query, minute: int) -> str | None:
        for day in range(1, query.days + 1):
            if not any(part.item.day == day and part.start <= clock.at(day, minute) for part in trip.meals):
                return f"Day {day} has no meal by {clock.show(minute)}."
        return None


def text(constraint: Constraint) -> str:
    """A constraint as the traveller says it."""
    return KINDS_OF_CONSTRAINT[constraint.kind].text(*constraint.args)


def topic(kind: str) -> str:
    """What to ask about to hear constraints of a kind."""
    return "money" if kind == "budget" else KINDS_OF_CONSTRAINT[kind].topic


def derive(source: Source, count: int, depth: int) -> tuple[Constraint, ...]:
    """Up to ``count`` constraints of different kinds that the trip meets, in an order drawn from the rng."""
    names = [name for name, kind in KINDS_OF_CONSTRAINT.items() if kind.depth <= depth]
    made: list[Constraint] = []
    for index in source.rng.permutation(len(names)).tolist():
        if len(made) == count:
            break
        if names[index] in _MODES and any(c.kind in _MODES for c in made):
            continue  # one of the two says it all
        args = KINDS_OF_CONSTRAINT[names[index]].derive(source)
        if args is not None:
            made.append(Constraint(names[index], args))
    return tuple(made)
