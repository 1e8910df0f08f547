"""Ways within a city: minutes and fares from coordinates, in integers. Streets form a grid, so distances add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WAYS = ("walk", "bus", "taxi")
BUS_FROM, BUS_TO = 6 * 60, 23 * 60  # departures, minutes of the day

_WALK, _BUS, _TAXI = 80, 300, 500  # metres a minute
_BUS_WAIT, _TAXI_WAIT = 6, 3
_BUS_FARE = 250  # a person
_TAXI_BASE, _TAXI_KM = 400, 150  # a car of up to four
_TAXI_SEATS = 4


@dataclass(frozen=True)
class Way:
    """How long a way takes and what it costs the whole party."""

    mode: str
    metres: int
    minutes: int
    cost: int


def metres(a: Any, b: Any) -> int:
    """The distance of two places with ``x`` and ``y``, along the grid."""
    return abs(a.x - b.x) + abs(a.y - b.y)


def way(mode: str, distance: int, party: int) -> Way:
    """A way of ``distance`` metres by ``walk``, ``bus`` or ``taxi`` for ``party`` people.

    Example:
        >>> way("walk", 800, 2).minutes, way("taxi", 5000, 5).cost
        (10, 2300)
    """
    if distance == 0:
        return Way(mode, 0, 0, 0)
    if mode == "walk":
        return Way(mode, distance, -(-distance // _WALK), 0)
    if mode == "bus":
        return Way(mode, distance, _BUS_WAIT - (-distance // _BUS), _BUS_FARE * party)
    cars = -(-party // _TAXI_SEATS)
    return Way(mode, distance, _TAXI_WAIT - (-distance // _TAXI), cars * (_TAXI_BASE + _TAXI_KM * distance // 1000))


def runs(mode: str, minute_of_day: int) -> bool:
    """Whether one can leave by ``mode`` at this minute of the day."""
    return mode != "bus" or BUS_FROM <= minute_of_day <= BUS_TO
