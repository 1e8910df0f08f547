"""`palaestra/Travel-v0`: plan or book a trip in an invented world that lies in a private SQLite database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...schema import Feedback
from ..forms import ToolEnv
from ..turns import Ask, Result
from . import check, events, preferences
from .check import Verdict
from .desk import Desk
from .optimum import cheapest
from .plan import Item
from .prompt import write
from .query import Query
from .store import Store
from .task import Knobs, TravelTask, draw
from .trip import Trip, look_up
from .user import TOPICS, Traveller

STYLES = ("plan", "book")
BATCH = 12
_TABLE = {"leg": "leg", "stay": "hotel", "visit": "poi", "meal": "restaurant"}


class TravelEnv(ToolEnv):
    """Plan a trip with tools; a program checks every rule, and hidden points rank what passes."""

    max_turns = 60
    blocking = True  # a reset builds a world

    _store: Store | None = None

    def start(  # type: ignore[override]  # the knobs by name
        self,
        rng: np.random.Generator,
        style: str = "plan",
        dense: bool = False,
        cities: int = 2,
        days: int = 3,
        travellers: int = 2,
        constraints: int = 3,
        depth: int = 1,
        slack: int = 130,
        wishes: int = 2,
        distractors: int = 2,
        page: int = 20,
        withheld: int = 0,
        event: bool = False,
        noise: int = 0,
        grounded: bool = False,
    ) -> Ask:
        """Draw a task.

        Args:
            rng: drawn from by ``reset(seed=)``.
            style: ``plan`` (submit a JSON itinerary) or ``book`` (the final bookings count).
            dense: reward the share of rules that hold, times the share of slots that are filled, instead of all or
                nothing; a plan that breaks a rule of form earns 0 all the same.
            cities: cities to visit, 1 to 4.
            days: days, 1 to 7.
            travellers: people, 1 to 6.
            constraints: hard constraints besides the rules, up to 10.
            depth: 2 adds constraints that count or combine.
            slack: limits and budget in per cent of what the hidden itinerary needs; 150 is easy, 102 tight.
            wishes: soft wishes, up to 4.
            distractors: cities that are not asked for, up to 8; cities have more rows too.
            page: rows a tool answers at most, 1 to 20.
            withheld: constraints that the traveller tells only when asked; the budget comes last.
            event: a leg of a good plan is cancelled once, and the plan must be repaired.
            noise: per cent of reading calls that time out.
            grounded: a plan fails when it holds an id that no tool returned.
        """
        if style not in STYLES:
            raise ValueError(f"style={style!r}: choose one of {', '.join(STYLES)}")
        if not 1 <= page <= 20:
            raise ValueError(f"page={page}: give 1 to 20 rows")
        if not 0 <= noise <= 90:
            raise ValueError(f"noise={noise}: give 0 to 90 per cent")
        self._end()
        self._style, self._dense, self._wants_event = style, dense, event
        self._drawn: TravelTask = draw(
            rng,
            Knobs(cities, days, travellers, constraints, depth, slack, wishes, distractors, withheld, grounded),
        )
        query = self._drawn.query
        self._event: events.Event | None = None
        self._store = Store(self._drawn.world.image)
        self._traveller = Traveller(query)
        noise_rng = np.random.default_rng(int(rng.integers(2**63)))
        self._desk = Desk(
            self._store, query, self._traveller, noise_rng, noise=noise, page=page, submit=self._submitted
        )
        # The world's seed decides the side of the split, so train and test never share a world.
        return Ask(write(query, style), info={"split_key": ["world", self._drawn.world.seed]})

    def tools(self) -> Sequence[Any]:
        """The desk's tools for this style."""
        return self._desk.tools(self._style)

    def secrets(self) -> list[Any]:
        """The ids of the hidden itinerary."""
        return sorted({item.id for item in self._drawn.hidden})

    def _end(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    # ---- grading -----------------------------------------------------------------------------------------------

    def _submitted(self, items: Sequence[Item] | None) -> Result | str:
        """Check what was handed in; in book style, what is booked."""
        assert self._store is not None
        plan = [item for _, item, _ in self._store.bookings()] if items is None else list(items)
        query = self._event.query if self._event else self._drawn.query
        trip = look_up(plan, query, self._store)
        found = check.verdicts(trip, query, seen=self._desk.seen, told=self._traveller.told)
        if self._event is not None:
            reason = events.past_changed(plan, self._event) or ""
            found.append(Verdict("past_unchanged", not reason, reason))
        if self._wants_event and self._event is None and all(verdict.ok for verdict in found):
            self._event = events.cancel(plan, query, self._store)
            return self._event.text()
        return self._result(trip, found, query)

    def _result(self, trip: Trip, found: Sequence[Verdict], query: Query) -> Result:
        assert self._store is not None
        failed = [verdict for verdict in found if not verdict.ok]
        reward = check.share(found, trip, query) if self._dense else float(not failed)
        scores = {f"hard/{verdict.name}": float(verdict.ok) for verdict in found}
        scores |= {
            "hard": sum(verdict.ok for verdict in found) / len(found),
            "cost": trip.cost() / 100,
            "ungrounded_ids": float(len(check.ungrounded(trip, self._desk.seen))),
        }
        scores |= {f"wish/{name}": float(value) for name, value in preferences.points(trip, query).items()}
        if query.wishes:
            scores["utility"] = float(preferences.utility(trip, query))
        if not failed and (best := cheapest(self._drawn.world, query, self._store)) is not None:
            scores["regret"] = (trip.cost() - best) / 100
        info: dict[str, Any] = {"itinerary": preferences.describe(trip)}
        if query.wishes:
            info["rubric"] = preferences.rubric(query)
        if self._style == "book":
            info["state_hash"] = self._store.final_hash()
        notes = check.feedback(found) if failed else [Feedback(text="Every rule is met.", kind="correct")]
        return Result(reward, notes, failed[0].name if failed else "correct", scores, info=info)

    # ---- the oracle --------------------------------------------------------------------------------------------

    def oracle(self) -> Iterator[str]:
        """Looks up and hands in the hidden itinerary, and repairs it when a leg is cancelled."""
        if self._drawn.query.withheld:
            for topic in TOPICS:
                yield _calls([("ask_user", {"question": f"What do you wish about {topic}?"})])
        yield from self._hand_in(self._drawn.hidden)
        if self._event is not None:
            yield from self._hand_in(self._event.repair)

    def _hand_in(self, items: Sequence[Item]) -> Iterator[str]:
        for _ in range(20):  # calls may time out
            unseen = [item for item in items if item.id not in self._desk.seen]
            if not unseen:
                break
            for batch in _batches(unseen):
                yield _calls([("get", {"kind": _TABLE[item.kind], "id": item.id}) for item in batch])
        if self._style == "plan":
            yield _calls([("submit_plan", {"items": [_dump(item) for item in items]})])
            return
        assert self._store is not None
        wanted = {item.key for item in items}
        booked = self._store.bookings()
        kept = {item.key for _, item, _ in booked}
        changes: list[tuple[str, dict[str, Any]]] = [
            ("cancel", {"booking": id}) for id, item, _ in booked if item.key not in wanted
        ]
        changes += [("book", _dump(item)) for item in items if item.key not in kept]
        for start in range(0, len(changes), BATCH):
            yield _calls(changes[start : start + BATCH])
        yield _calls([("finish", {})])


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _dump(item: Item) -> dict[str, Any]:
    return item.model_dump(exclude_none=True, exclude_defaults=True)


def _calls(calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """A reply with some tool calls."""
    return "\n".join(
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>" for name, arguments in calls
    )
