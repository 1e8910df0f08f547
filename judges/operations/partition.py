"""Clusters of equivalent responses, and the diversity rewards that follow from them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...schema import RewardStatus
from ..answers import compare_answers, final_answer
from ..base import Judge, PairQuestion
from ..context import Context
from ..partition import (
    OneShotOutcome,
    Pair,
    PairOutcome,
    PartitionGroup,
    PartitionOptions,
    PartitionResult,
    partition_groups,
    plan_partition,
)
from ..problems import Problem
from ..textprep import suspicion_flags
from ..types import (
    BadItem,
    ErrorInfo,
    GroupPartition,
    PartitionItem,
    PartitionReply,
    PartitionRequest,
    ResponseGroup,
    as_text,
    unread,
)

if TYPE_CHECKING:
    from ..service import JudgeService


async def partition(service: JudgeService, request: PartitionRequest, context: Context) -> PartitionReply:
    """Partition every group. Scope ``answer`` asks a model only where exact comparison cannot tell."""
    judge = service.judge_for(request)
    groups = request.all_groups
    options = options_of(request, judge, context.meter.calls_left() if judge.paid else None)
    responses = {g.id: {r.id: r.response for r in g.responses} for g in groups}
    texts = {name: {key: as_text(r) for key, r in rows.items()} for name, rows in responses.items()}
    answers: dict[str, dict[str, str]] = {}
    if request.scope == "answer":
        answers = await asyncio.to_thread(
            lambda: {g: {k: final_answer(t) for k, t in rows.items()} for g, rows in texts.items()}
        )
    prompts = {g.id: as_text(g.prompt) for g in groups}

    async def ask(pair: Pair) -> PairOutcome:
        if request.scope == "answer":
            first, second = answers[pair.group][pair.first], answers[pair.group][pair.second]
            verdict, certain = await asyncio.to_thread(compare_answers, first, second)
            if certain or not judge.paid:
                return PairOutcome(p_same=None if verdict is None else float(verdict))
        question = PairQuestion(
            prompt=prompts[pair.group], first=texts[pair.group][pair.first], second=texts[pair.group][pair.second],
            sources=(responses[pair.group][pair.first], responses[pair.group][pair.second]),
            tag={"op": "partition", "group": pair.group, "first": pair.first, "second": pair.second,
                 "scope": request.scope},
        )  # fmt: skip
        found = await judge.same(question, request.scope, context)
        if not found.ok or found.values is None:
            return PairOutcome(status=found.status.value, error=found.error.message if found.error else None)
        return PairOutcome(p_same=found.values["p_same"])

    async def ask_once(group: str, ids: Sequence[str]) -> OneShotOutcome:
        shown = {key: texts[group][key] for key in ids}
        found = await judge.cluster(prompts[group], shown, request.scope, context)
        if not found.ok or found.values is None:
            return OneShotOutcome(status=found.status.value, error=found.error.message if found.error else None)
        return OneShotOutcome(groups=found.values["clusters"])

    inputs = [_input(group, request, answers.get(group.id) or texts[group.id]) for group in groups]
    try:
        results = await partition_groups(inputs, ask, options, ask_once)
    except ValueError as error:
        raise Problem(422, "invalid_options", str(error)) from error
    placed = [_wire(group, result) for group, result in zip(groups, results, strict=True)]
    for group, found in zip(groups, placed, strict=True):
        for response, row in zip(group.responses, found.items, strict=True):
            row.flags += ["truncated"] if judge.cuts(response.response) else []
    placed = request.in_place([_with_unread(g, row) for g, row in zip(groups, placed, strict=True)], _unread_group)
    for result in placed:
        context.finished(result)
    if request.groups is not None:
        return PartitionReply(groups=placed)
    only = placed[0]
    return PartitionReply(
        labels=only.labels, clusters=only.clusters, p_same=only.p_same, rewards=only.rewards, items=only.items,
        stats=only.stats,
    )  # fmt: skip


def options_of(request: PartitionRequest, judge: Judge, budget: int | None) -> PartitionOptions:
    """Partition options of a request. A threshold belongs to its judge and may be overruled by the request.

    Raises:
        Problem: 422 with the reason.
    """
    defaults = PartitionOptions()
    threshold: float = getattr(judge, "threshold", defaults.threshold)
    alpha = defaults.alpha if request.alpha is None else request.alpha
    exact = request.scope == "answer" and not judge.paid
    method = "corr_cluster" if request.method == "auto" and exact else request.method  # comparing costs nothing
    try:
        return PartitionOptions(
            scope=request.scope, method=method, alpha=alpha, seed=request.seed or 0,
            threshold=request.threshold or threshold,
            max_repair_calls=request.max_repair_calls,
            max_calls=None if budget is None else budget // max(1, len(request.all_groups)),
        )  # fmt: skip
    except ValueError as error:
        raise Problem(422, "invalid_options", str(error)) from error


def _input(group: ResponseGroup, request: PartitionRequest, contents: dict[str, str]) -> PartitionGroup:
    correct = None
    if request.correct is not None:
        correct = {r.id: request.correct[place] for r, place in zip(group.responses, group.places(), strict=True)}
    elif request.scope == "strategy":
        correct = {r.id: r.correct is not False for r in group.responses}
    return PartitionGroup(group.id, list(contents), contents, correct)


def _wire(group: ResponseGroup, result: PartitionResult) -> GroupPartition:
    ok = (RewardStatus.OK, RewardStatus.DEGENERATE)
    statuses = [RewardStatus(s) for s in result.statuses]
    if len(statuses) == 1 and statuses[0] is RewardStatus.OK:
        statuses = [RewardStatus.DEGENERATE]  # a group of one has no diversity to speak of
    index = {r.id: i for i, r in enumerate(group.responses)}

    def judged(values: Sequence[float]) -> list[float | None]:
        return [v if s in ok else None for v, s in zip(values, statuses, strict=True)]

    items = []
    for response, status in zip(group.responses, statuses, strict=True):
        error = None if status in ok else ErrorInfo(code=status.value, message="could not be compared with the others")
        items.append(
            PartitionItem(id=response.id, status=status, flags=suspicion_flags(as_text(response.response)), error=error)
        )
    labels = [label if s in ok else None for label, s in zip(result.labels, statuses, strict=True)]
    return GroupPartition(
        id=group.id, labels=labels,
        clusters=[list(cluster) for cluster in result.clusters],
        p_same=[(index[a], index[b], p) for a, b, p in result.p_same],
        rewards={"darling": judged(result.darling), "uniqueness": judged(result.uniqueness)},
        items=items, stats={"status": result.status, **asdict(result.stats)},
    )  # fmt: skip


def _with_unread(group: ResponseGroup, found: GroupPartition) -> GroupPartition:
    """Responses that could not be read, back in their places with neither label nor reward."""
    if not group.unread:
        return found
    place = group.places()

    def nothing(row: BadItem) -> None:
        return None

    def failed(row: BadItem) -> PartitionItem:
        return PartitionItem(id=row.id, status=RewardStatus.INVALID_INPUT, error=unread(row.message))

    return found.model_copy(
        update={
            "labels": group.in_place(found.labels, nothing),
            "p_same": [(place[i], place[j], p) for i, j, p in found.p_same or []],
            "rewards": {name: group.in_place(values, nothing) for name, values in found.rewards.items()},
            "items": group.in_place(found.items, failed),
        }
    )


def _unread_group(row: BadItem) -> GroupPartition:
    return GroupPartition(id=row.id, labels=[], clusters=[], error=unread(row.message))


def plan_of(judge: Judge, request: PartitionRequest) -> tuple[int, int]:
    """Most calls and rounds of a request."""
    if request.scope == "answer" and not judge.paid:
        return 0, 0
    options = options_of(request, judge, request.budget.max_calls if request.budget else None)
    plans = [
        plan_partition(_input(g, request, {r.id: as_text(r.response) for r in g.responses}), options)
        for g in request.all_groups
    ]
    return sum(p.calls_max for p in plans), max((p.rounds_max for p in plans), default=0)
