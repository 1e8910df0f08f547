"""Checks a trip: every rule and constraint with pass or fail and the reason, the reward, and the feedback."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...schema import Feedback
from .constraints import KINDS_OF_CONSTRAINT
from .predicates import RULES
from .query import Query
from .trip import Trip

MAX_REASONS = 4
_BUDGET = "budget"


@dataclass(frozen=True)
class Verdict:
    """How one rule or constraint came out.

    Attributes:
        name: the rule's name, or the constraint's kind.
        ok: whether it holds.
        reason: what is wrong; empty when it holds.
        form: whether breaking it makes the plan no plan at all.
        untold: it belongs to a wish that the traveller has not told yet.
    """

    name: str
    ok: bool
    reason: str = ""
    form: bool = False
    untold: bool = False


def verdicts(trip: Trip, query: Query, *, seen: Collection[int] = (), told: Collection[str] = ()) -> list[Verdict]:
    """Check a trip against every rule and constraint.

    Args:
        trip: the plan, looked up.
        query: what was asked for.
        seen: ids that tools returned.
        told: kinds of withheld constraints that the traveller has told by now.
    """
    made = []
    for rule in RULES:
        if not rule.applies(query):
            continue
        reason = rule.check(trip, query)
        made.append(Verdict(rule.name, reason is None, reason or "", rule.form, _untold(rule.name, query, told)))
    for constraint in query.constraints:
        reason = KINDS_OF_CONSTRAINT[constraint.kind].check(trip, query, *constraint.args)
        made.append(
            Verdict(constraint.kind, reason is None, reason or "", False, _untold(constraint.kind, query, told))
        )
    if query.grounded:
        unknown = ungrounded(trip, seen)
        text = f"Id {unknown[0]} was in no tool's answer." if unknown else "" if trip.items else "The plan is empty."
        made.append(Verdict("grounded", not text, text))
    return made


def ungrounded(trip: Trip, seen: Collection[int]) -> list[int]:
    """Ids of the plan that no tool returned, in order, each once."""
    return list(dict.fromkeys(item.id for item in trip.items if item.id not in seen))


def share(found: Sequence[Verdict], trip: Trip, query: Query) -> float:
    """The dense reward: the share of verdicts that hold, times the share of what a trip needs that is there at all.

    Most rules are kept by a plan with hardly anything in it, so rules alone would pay for a single visit. 0 when the
    plan breaks a rule of form.
    """
    if any(verdict.form and not verdict.ok for verdict in found):
        return 0.0
    return sum(verdict.ok for verdict in found) / len(found) * filled(trip, query)


def filled(trip: Trip, query: Query) -> float:
    """The share of slots that are filled: a leg out and one back, a visit in each city, a visit and a meal on each day,
    and a stay for each night but the last."""
    slots = [
        any(part.row.origin == query.origin.id for part in trip.legs),
        any(part.row.target == query.origin.id for part in trip.legs),
        *(any(part.row.city == city.id for part in trip.visits) for city in query.cities),
    ]
    for day in range(1, query.days + 1):
        slots.append(any(part.item.day == day for part in trip.visits))
        slots.append(any(part.item.day == day for part in trip.meals))
    slots += [any(part.start <= night < part.end for part in trip.stays) for night in range(1, query.days)]
    return sum(slots) / len(slots)


def feedback(found: Sequence[Verdict]) -> list[Feedback]:
    """What a policy may read: the first faults. Everything in it can be found out with the tools and the prompt."""
    failed = [verdict for verdict in found if not verdict.ok]
    formal = [verdict for verdict in failed if verdict.form]
    if formal:
        return [Feedback(text=formal[0].reason, kind="constraint", details={"rule": formal[0].name})]
    notes: dict[str, Feedback] = {}
    for verdict in failed:
        text = "A wish of the traveller that you did not ask about is not met." if verdict.untold else verdict.reason
        notes.setdefault(text, Feedback(text=text, kind="constraint", details={"rule": verdict.name}))
    more = len(notes) - MAX_REASONS
    shown = list(notes.values())[:MAX_REASONS]
    return [*shown, Feedback(text=f"{more} more rules are broken.", kind="constraint")] if more > 0 else shown


def _untold(name: str, query: Query, told: Collection[str]) -> bool:
    return name in query.withheld and name not in told
