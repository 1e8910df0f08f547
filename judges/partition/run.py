"""Partition groups: drive their sessions with a judge, then turn labels into clusters and rewards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import cluster
from .one_shot import one_shot
from .rewards import cluster_sizes, darling_diversity, uniqueness_weights
from .session import PartitionSession
from .types import (
    AskOnce,
    AskPair,
    Pair,
    PairOutcome,
    PartitionGroup,
    PartitionOptions,
    PartitionResult,
    PartitionStats,
)


@dataclass(frozen=True, slots=True)
class PartitionPlan:
    """Bounds on the cost of a partition: greedy methods stop asking as soon as an item has found its cluster."""

    calls_min: int
    calls_max: int
    rounds_max: int


async def partition_groups(
    groups: Sequence[PartitionGroup],
    ask: AskPair | None,
    options: PartitionOptions | None = None,
    ask_once: AskOnce | None = None,
) -> list[PartitionResult]:
    """Partition each group by asking a judge.

    Args:
        groups: responses, matched by id.
        ask: judge of pairs. An exception it raises is an ``upstream_error`` of that pair alone.
        options: see :class:`PartitionOptions`.
        ask_once: judge of whole groups, for ``method="one_shot"``.

    Returns:
        One result per group, in the same order.

    Raises:
        ValueError: when the method lacks its judge.
    """
    options = options or PartitionOptions()
    if options.method == "one_shot" and ask_once is None:
        raise ValueError("method='one_shot' needs `ask_once`, a judge of whole groups")
    if options.method != "one_shot" and ask is None:
        raise ValueError(f"method={options.method!r} needs `ask`, a judge of pairs")

    async def answer(pair: Pair) -> PairOutcome:
        assert ask is not None
        try:
            return await ask(pair)
        except Exception as error:  # the boundary to a judge somebody else wrote; cancellation passes through
            return PairOutcome(status="upstream_error", error=f"{type(error).__name__}: {error}")

    async def drive(group: PartitionGroup) -> PartitionResult:
        session = PartitionSession(group, options)
        if options.method == "one_shot":
            assert ask_once is not None
            invalid, status = await one_shot(session, ask_once, answer if ask is not None else None)
            return finish(session, invalid, status)
        while pairs := session.next_pairs():
            session.feed(await asyncio.gather(*(answer(pair) for pair in pairs)))
        return finish(session)

    return list(await asyncio.gather(*(drive(group) for group in groups)))


async def partition_group(
    group: PartitionGroup,
    ask: AskPair | None,
    options: PartitionOptions | None = None,
    ask_once: AskOnce | None = None,
) -> PartitionResult:
    """Partition one group; see :func:`partition_groups`."""
    return (await partition_groups([group], ask, options, ask_once))[0]


def partition_groups_sync(
    groups: Sequence[PartitionGroup], judge: Callable[[Pair], PairOutcome], options: PartitionOptions | None = None
) -> list[PartitionResult]:
    """:func:`partition_groups` with a plain function as judge of pairs (not for ``one_shot``)."""
    results = []
    for group in groups:
        session = PartitionSession(group, options or PartitionOptions())
        while pairs := session.next_pairs():
            session.feed([judge(pair) for pair in pairs])
        results.append(finish(session))
    return results


def plan_partition(group: PartitionGroup | int, options: PartitionOptions | None = None) -> PartitionPlan:
    """Bounds on the number of judge calls, without asking anybody.

    Args:
        group: the group, or just its number of distinct responses in scope.
        options: see :class:`PartitionOptions`.
    """
    options = options or PartitionOptions()
    if isinstance(group, int):
        group = PartitionGroup("plan", [str(i) for i in range(group)], correct={str(i): True for i in range(group)})
    session = PartitionSession(group, options)
    n = len(session.items)
    pairs = n * (n - 1) // 2
    repair = options.max_repair_calls
    if n < 2:
        low = high = rounds = 0
    elif session.method == "one_shot":
        chunks = -(-n // options.one_shot_chunk)
        low = options.one_shot_repeats * (chunks + (chunks > 1))
        high = low * (1 + options.one_shot_retries)
        rounds = high
    elif session.method in ("greedy_vote", "greedy_first"):
        low, high, rounds = n - 1, pairs, pairs
    else:
        low, high, rounds = pairs, pairs + repair, 1 + repair
    if options.max_calls is not None:
        low, high, rounds = (min(value, options.max_calls) for value in (low, high, rounds))
    return PartitionPlan(low, high, rounds)


def finish(session: PartitionSession, invalid_answers: int = 0, failure: str = "ok") -> PartitionResult:
    """The result of a finished session.

    Args:
        session: all questions answered.
        invalid_answers: one-shot answers that were no partition.
        failure: why there is no partition at all, ``ok`` if there is one.
    """
    options, group = session.options, session.group
    ids = list(group.ids)
    labels = session.labels
    known = labels is not None and failure == "ok"
    statuses = {i: _status(session, i, failure) for i in ids}
    next_label = 0
    number: dict[tuple[str, int], int] = {}
    label_of: dict[str, int | None] = {}
    for i in ids:  # members of a cluster share its number; responses out of scope or unheard are alone
        member = session.member_of[i]
        if not known or (statuses[i] != "ok" and member is not None):
            label_of[i] = None
            continue
        assert labels is not None
        key = (i, -1) if member is None else ("", int(labels[member]))
        if key not in number:
            number[key] = next_label
            next_label += 1
        label_of[i] = number[key]
    clusters: list[list[str]] = [[] for _ in range(next_label)]
    for i in ids:
        label = label_of[i]
        if label is not None:
            clusters[label].append(i)

    compared = [i for i in ids if session.member_of[i] is not None and label_of[i] is not None]
    names = [label_of[i] for i in compared]
    factor = dict(zip(compared, darling_diversity(cluster_sizes(names), options.floor).tolist(), strict=True))
    weight = dict(zip(compared, uniqueness_weights(names, options.alpha).tolist(), strict=True))
    outside = {i for i in ids if session.member_of[i] is None}
    status = failure if failure != "ok" else "degenerate" if len(compared) < 2 and _all_heard(statuses) else "ok"
    if compared == [] and not outside and len(ids) > 1 and failure == "ok":
        status = "unscored"
    p = session.p_NN
    triangles, _ = cluster.open_triangles(p, options.threshold)
    pairs = [(a, b) for a in range(len(p)) for b in range(a + 1, len(p))]
    answered = [(session.items[a], session.items[b], float(p[a, b])) for a, b in pairs if not np.isnan(p[a, b])]
    unknown = sum(bool(np.isnan(p[a, b]) and session.asked[a, b] > session.failures[a, b]) for a, b in pairs)
    flags = [
        name
        for name, raised in (
            ("budget_exhausted", session.out_of_budget),
            ("contradictions", triangles > 0),
            ("failures", session.failed_calls > 0 or invalid_answers > 0),
        )
        if raised
    ]
    return PartitionResult(
        group=group.id,
        status=status,
        labels=tuple(label_of[i] for i in ids),
        clusters=tuple(tuple(members) for members in clusters),
        p_same=tuple(answered),
        darling=tuple(0.0 if i in outside else factor.get(i, 1.0) for i in ids),
        uniqueness=tuple(weight.get(i, 1.0) for i in ids),
        statuses=tuple(statuses[i] for i in ids),
        stats=PartitionStats(
            n_clusters=next_label,
            calls=session.calls,
            repair_calls=session.repair_calls,
            open_triangles=triangles,
            failed_calls=session.failed_calls,
            unknown_pairs=unknown,
            invalid_answers=invalid_answers,
            method=session.method,
            hubs=tuple(session.items[k] for k in np.flatnonzero(cluster.hubs(p, options.threshold))),
            flags=tuple(flags),
        ),
    )


def _status(session: PartitionSession, response: str, failure: str) -> str:
    """``ok``, unless every question about a response failed or was too expensive to ask."""
    if failure != "ok":
        return failure
    member = session.member_of[response]
    if member is None or session.method == "one_shot" or len(session.items) < 2:
        return "ok"
    asked, failed = int(session.asked[member].sum()), int(session.failures[member].sum())
    if asked == 0:
        return "budget_exhausted" if session.out_of_budget else "ok"
    return session.failure_status.get(member, "unscored") if failed == asked else "ok"


def _all_heard(statuses: dict[str, str]) -> bool:
    return all(status == "ok" for status in statuses.values())
