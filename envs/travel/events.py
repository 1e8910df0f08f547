"""A leg of the submitted plan is cancelled while the trip is under way, and the plan must be repaired.

The event is built so that it can be repaired: if no other departure fits into the plan, a relief service is added. What
happened before the day of the cancelled leg cannot be changed any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import clock
from .check import verdicts
from .plan import Item, in_order
from .query import Query
from .store import Store
from .trip import look_up

_OTHERS = "SELECT * FROM leg WHERE origin = ? AND target = ? AND day = ? AND runs = 1 ORDER BY dep, id"
_IDS_FROM, _ID_RANGE = 600_000, 100_000


@dataclass(frozen=True)
class Event:
    """A cancelled leg.

    Attributes:
        leg: the id of the leg that does not run.
        day: its day; earlier days are fixed.
        before: the plan that was under way.
        query: the request with the budget that now holds.
        repair: a plan that solves it (host only).
    """

    leg: int
    day: int
    before: tuple[Item, ...]
    query: Query
    repair: tuple[Item, ...]

    def text(self) -> str:
        """What the policy is told."""
        fixed = f" Days 1 to {self.day - 1} are over and must stay as they were." if self.day > 1 else ""
        return (
            f"The plan is good, but on day {self.day} leg {self.leg} was cancelled.{fixed} Repair the plan and hand in "
            f"the whole of it again. Everything may now cost {clock.money(self.query.budget)} "
            f"({self.query.budget} cents)."
        )


def cancel(items: Sequence[Item], query: Query, store: Store) -> Event:
    """Cancel the last leg of a good plan, in the store too."""
    before = in_order(items)
    item = max((item for item in before if item.kind == "leg"), key=lambda item: store.row("leg", item.id).dep)
    leg = store.row("leg", item.id)
    store.cancel_leg(leg.id)
    generous = replace(query, budget=10**12, grounded=False)
    options = store.select("leg", _OTHERS, (leg.origin, leg.target, leg.day))
    repairs = []
    for option in options:
        repaired = in_order([replace_id(other, option.id) if other is item else other for other in before])
        trip = look_up(repaired, generous, store)
        if all(verdict.ok for verdict in verdicts(trip, generous)):
            repairs.append((trip.cost(), option.id, repaired))
    if not repairs:
        id = next(
            id
            for step in range(_ID_RANGE)
            if store.row("leg", id := _IDS_FROM + (leg.id - _IDS_FROM + 1 + step) % _ID_RANGE) is None
        )
        store.add_leg(leg._replace(id=id, runs=1))
        repaired = in_order([replace_id(other, id) if other is item else other for other in before])
        repairs.append((look_up(repaired, generous, store).cost(), id, repaired))
    cost, _, repaired = min(repairs, key=lambda repair: repair[:2])
    after = replace(query, budget=max(query.budget, cost))
    return Event(leg.id, leg.day, before, after, repaired)


def replace_id(item: Item, id: int) -> Item:
    """The same item with another row."""
    return item.model_copy(update={"id": id})


def past_changed(items: Sequence[Item], event: Event) -> str | None:
    """What is wrong when the days before the event differ from the plan that was under way."""

    def past(plan: Sequence[Item]) -> list[tuple]:
        return [item.key for item in in_order(plan) if item.day < event.day]

    if past(items) != past(event.before):
        return f"The days before day {event.day} are over, but the new plan changes them."
    return None
