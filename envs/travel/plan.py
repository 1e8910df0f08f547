"""What a policy submits: items with ids, days and times. No names, no prices: those are looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from . import clock

MAX_ITEMS = 80

Kind = Literal["leg", "stay", "visit", "meal"]
Way = Literal["walk", "bus", "taxi"]
RoomType = Literal["single", "double", "family"]
Time = Annotated[str, Field(max_length=5, description="HH:MM")]


class Item(BaseModel):
    """One part of an itinerary.

    Attributes:
        kind: ``leg`` (a departure between cities), ``stay`` (a hotel), ``visit`` (a sight) or ``meal``.
        id: the row's id in the tools' answers.
        day: day of the trip, from 1; of a stay, the day of arrival.
        start: when a visit or meal begins; legs and stays have no start.
        by: how to get there from the place before; of a stay, how to get back to it in the evenings.
        nights: nights of a stay.
        room: room type of a stay.
        rooms: rooms of a stay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Kind
    id: Annotated[int, Field(ge=0, le=10**9)]
    day: Annotated[int, Field(ge=1, le=30)]
    start: Time | None = None
    by: Way = "walk"
    nights: Annotated[int, Field(ge=1, le=30)] = 1
    room: RoomType = "double"
    rooms: Annotated[int, Field(ge=1, le=10)] = 1

    @property
    def minute(self) -> int | None:
        """The start as a minute of the day; None when there is none or it is not ``HH:MM``."""
        return clock.parse(self.start) if self.start is not None else None

    @property
    def key(self) -> tuple:
        """What the item says, for comparing and sorting; what does not apply to its kind is left out."""
        start = self.minute if self.kind in ("visit", "meal") and self.minute is not None else -1
        stay = (self.nights, self.room, self.rooms) if self.kind == "stay" else (0, "", 0)
        return (self.day, start, self.kind, self.id, self.by, *stay)


def in_order(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items in one order, so that plans that say the same are equal."""
    return tuple(sorted(items, key=lambda item: item.key))
