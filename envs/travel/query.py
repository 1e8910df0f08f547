"""What a traveller asks for: the party, the places, the days, the budget, hard constraints and soft wishes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import clock
from .rows import City


@dataclass(frozen=True)
class Party:
    """Who travels.

    Attributes:
        adults: people from 12 years on.
        children: younger ones; every sight and hotel must then admit children.
        wheelchair: every sight, restaurant and hotel must then be step-free.
    """

    adults: int
    children: int = 0
    wheelchair: bool = False

    @property
    def size(self) -> int:
        """Seats, tickets, meals and beds needed."""
        return self.adults + self.children

    def text(self) -> str:
        """The party in words."""
        parts = [f"{self.adults} adult{'s' if self.adults > 1 else ''}"]
        if self.children:
            parts.append(f"{self.children} child{'ren' if self.children > 1 else ''}")
        return " and ".join(parts) + (", one of us in a wheelchair" if self.wheelchair else "")


@dataclass(frozen=True)
class Constraint:
    """A hard constraint: its kind in `constraints.KINDS` and its arguments."""

    kind: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Query:
    """One request.

    Attributes:
        origin: where the trip starts and ends.
        cities: where it goes, in any order.
        days: days of the trip.
        first_weekday: weekday of day 1 (0 is Monday).
        party: who travels.
        budget: cents for everything.
        constraints: hard constraints.
        wishes: names of soft wishes in `preferences.WISHES`, with their weights.
        withheld: kinds of constraints (or ``budget``) that are told only when asked for.
        grounded: whether ids that no tool returned make a plan fail.
    """

    origin: City
    cities: tuple[City, ...]
    days: int
    first_weekday: int
    party: Party
    budget: int
    constraints: tuple[Constraint, ...] = ()
    wishes: tuple[tuple[str, int], ...] = ()
    withheld: frozenset[str] = frozenset()
    grounded: bool = False

    def title(self) -> str:
        """Places, days and people in a sentence."""
        names = " and ".join(f"{city.name} (city id {city.id})" for city in self.cities)
        order = ", in any order" if len(self.cities) > 1 else ""
        length = f"{self.days} days" if self.days > 1 else "1 day"
        return (
            f"Plan a trip of {length} from {self.origin.name} (city id {self.origin.id}) to {names}{order}, and back "
            f"to {self.origin.name}, for {self.party.text()}. Day 1 is a {clock.weekday_name(self.first_weekday, 1)}."
        )
