"""What judges answered: kept with the step, written one group and call a line, and summed up in its metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..judges.replies import Reply
    from ..schema import Group


@dataclass(frozen=True)
class Answered:
    """One request to a judge server and how it ended.

    Attributes:
        operation: ``rank``, ``partition`` or ``score``.
        groups: what was asked about.
        reply: the server's whole reply, or None.
        error: why there is none.
    """

    operation: str
    groups: tuple[Group, ...]
    reply: Reply | None = None
    error: str | None = None


def records(answers: Iterable[Answered], group_ids: Collection[str]) -> list[dict[str, Any]]:
    """One record a group and request, as JSON knows it.

    Args:
        answers: of one step.
        group_ids: which groups to write about.

    Returns:
        Records with ``group_id``, ``operation`` and either ``error`` or ``call`` (equal for groups of one request),
        ``judge``, ``usage`` (of the whole request), ``warnings`` and ``result``: the group's part of the reply, None
        when the reply leaves it out.
    """
    found: list[dict[str, Any]] = []
    for answer in answers:
        wanted = [group for group in answer.groups if group.id in group_ids]
        if answer.reply is None:
            found += [{"group_id": g.id, "operation": answer.operation, "error": answer.error} for g in wanted]
            continue
        kept = {"judge": True, "usage": True, "warnings": True, "partial": True}
        shared = {
            "operation": answer.operation,
            "call": answer.reply.id,
            **answer.reply.model_dump(mode="json", include=kept),
        }
        parts = {part.id: part for part in getattr(answer.reply, "groups", None) or []}
        items = {item.id: item for item in getattr(answer.reply, "results", None) or []}
        for group in wanted:
            mine = [items[r.id].model_dump(mode="json") for r in group.rollouts if r.id in items]
            whole = parts[group.id].model_dump(mode="json") if group.id in parts else None
            found.append({"group_id": group.id, **shared, "result": whole or ({"results": mine} if mine else None)})
    return found


def questions(answers: Iterable[Answered]) -> int:
    """How many questions the judge answered in a step, the currency of a judge budget.

    The server counts the calls of a model; of judges that are no model, single comparisons and scores are counted. What
    a cache or a verifier knew is none.
    """
    from ..judges.account import Account

    total = 0
    for answer in answers:
        if answer.reply is not None:
            account = Account()
            account.add(answer.reply)
            scored = account.statuses["ok"] if answer.operation == "score" else 0
            total += account.usage.calls or sum(account.comparisons.values()) or scored
    return total


def judge_metrics(answers: Iterable[Answered]) -> dict[str, float]:
    """A step's ``judge/`` metrics: model calls, cost, failures, ties, preference for the first slot."""
    replies = [answer.reply for answer in answers if answer.reply is not None]
    if not replies:
        return {}
    from ..judges.account import Account

    account = Account()
    for reply in replies:
        account.add(reply)
    return account.metrics()
