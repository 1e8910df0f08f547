"""What bookings cost, and when the desk refuses them."""

from __future__ import annotations

from .plan import Item
from .store import Store


class Refused(Exception):
    """The desk cannot do that; the text says why. The policy sees it and goes on."""


def price(item: Item, size: int, store: Store) -> int:
    """What a booking costs now, in cents for ``size`` people.

    Raises:
        Refused: it is not to be had.
    """
    table = {"leg": "leg", "stay": "hotel", "visit": "poi", "meal": "restaurant"}[item.kind]
    row = store.row(table, item.id)
    if row is None:
        raise Refused(f"there is no {item.kind} with id {item.id}")
    if item.kind == "leg":
        if not row.runs:
            raise Refused(f"leg {item.id} is cancelled")
        if row.day != item.day:
            raise Refused(f"leg {item.id} departs on day {row.day}")
        if row.seats < size:
            raise Refused(f"leg {item.id} has {row.seats} seats left")
        return row.price * size
    if item.kind == "stay":
        if item.nights < row.min_nights:
            raise Refused(f"hotel {item.id} takes guests for at least {row.min_nights} nights")
        rooms = [store.room(item.id, day, item.room) for day in range(item.day, item.day + item.nights)]
        if any(room is None or room.left < item.rooms for room in rooms):
            raise Refused(f"hotel {item.id} has not {item.rooms} {item.room} rooms left in every night")
        return sum(room.price * item.rooms for room in rooms if room)
    if item.minute is None:
        raise Refused("a visit or meal needs start as HH:MM")
    return (row.price if item.kind == "visit" else row.meal_price) * size
