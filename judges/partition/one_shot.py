"""Partitions from one answer about a whole group: check them, ask again, repair them, or say that it failed.

An answer must be an exact partition of the ids that were shown. Responses it forgot are never made singletons: that
would pay full weight to whatever breaks the judge.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import cluster
from .session import PartitionSession
from .types import AskOnce, OneShotOutcome, Pair, PairOutcome


@dataclass(frozen=True, slots=True)
class Problems:
    """What is wrong with an answer; false when it is an exact partition."""

    missing: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.duplicated or self.unknown)


def check_partition(groups: Sequence[Sequence[str]], ids: Sequence[str]) -> Problems:
    """Compare an answer with the ids that were shown.

    >>> check_partition([["a", "b"], ["b", "z"]], ["a", "b", "c"])
    Problems(missing=('c',), duplicated=('b',), unknown=('z',))
    """
    named = [i for members in groups for i in members]
    return Problems(
        missing=tuple(i for i in ids if i not in named),
        duplicated=tuple(i for i in ids if named.count(i) > 1),
        unknown=tuple(dict.fromkeys(i for i in named if i not in ids)),
    )


async def one_shot(
    session: PartitionSession, ask_once: AskOnce, ask: Callable[[Pair], Awaitable[PairOutcome]] | None
) -> tuple[int, str]:
    """Label the items of a session from whole-group answers in several orders, reconciled.

    Returns:
        (number of invalid answers, ``ok`` or the status of the failure). Labels are set only when ``ok``.
    """
    n, options = len(session.items), session.options
    if n < 2:
        return 0, "ok"
    invalid, status = 0, "parse_error"
    answers: list[np.ndarray] = []
    best: Sequence[Sequence[str]] | None = None
    for _ in range(options.one_shot_repeats):
        for _ in range(1 + options.one_shot_retries):
            outcome = await _ask_all(session, ask_once)
            if outcome is None:
                session.out_of_budget = True
                break
            if outcome.status != "ok" or outcome.groups is None:
                session.failed_calls += 1
                status = outcome.status if outcome.status != "ok" else "parse_error"
                continue
            if check_partition(outcome.groups, session.items):
                invalid += 1
                status = "parse_error"
                best = best or outcome.groups
                continue
            answers.append(_labels(session, outcome.groups))
            break
    if answers:
        session.labels = cluster.reconcile(answers, session.rng) if len(answers) > 1 else answers[0]
        return invalid, "ok"
    if best is not None and ask is not None:
        session.labels = await _repair(session, best, ask)
        if session.labels is not None:
            return invalid, "ok"
    return invalid, "budget_exhausted" if session.out_of_budget and not invalid else status


async def _ask_all(session: PartitionSession, ask_once: AskOnce) -> OneShotOutcome | None:
    """One answer about all items in a random order; None when there is no budget for it."""
    return await _ask_in_chunks(
        session, ask_once, [session.items[k] for k in session.rng.permutation(len(session.items))]
    )


async def _ask_in_chunks(session: PartitionSession, ask_once: AskOnce, ids: list[str]) -> OneShotOutcome | None:
    """Ask about chunks, then about the first members of their clusters; a bad answer is handed back as it is."""
    size = session.options.one_shot_chunk
    if len(ids) <= size:
        return await _ask(session, ask_once, ids)
    members_of: dict[str, list[str]] = {}
    for start in range(0, len(ids), size):
        chunk = ids[start : start + size]
        outcome = await _ask(session, ask_once, chunk)
        if outcome is None or outcome.groups is None or check_partition(outcome.groups, chunk):
            return outcome
        members_of.update({members[0]: list(members) for members in outcome.groups if members})
    heads = list(members_of)
    if len(heads) == len(ids):  # nothing merged, smaller questions would not either
        merged = await _ask(session, ask_once, heads)
    else:
        merged = await _ask_in_chunks(session, ask_once, heads)
    if merged is None or merged.groups is None or check_partition(merged.groups, heads):
        return merged
    return OneShotOutcome([[i for head in group for i in members_of[head]] for group in merged.groups if group])


async def _ask(session: PartitionSession, ask_once: AskOnce, ids: Sequence[str]) -> OneShotOutcome | None:
    if session.options.max_calls is not None and session.calls >= session.options.max_calls:
        return None
    session.calls += 1
    try:
        outcome = await ask_once(session.group.id, ids)
        return outcome if outcome.status == "ok" else OneShotOutcome(None, outcome.status, outcome.error)
    except Exception as error:  # the boundary to a judge somebody else wrote
        return OneShotOutcome(status="upstream_error", error=f"{type(error).__name__}: {error}")


async def _repair(
    session: PartitionSession, groups: Sequence[Sequence[str]], ask: Callable[[Pair], Awaitable[PairOutcome]]
) -> np.ndarray | None:
    """Keep what the answer said once and only once; place the rest by pair questions. None if those fail."""
    number = {i: k for k, i in enumerate(session.items)}
    problems = check_partition(groups, session.items)
    unclear = [*problems.missing, *problems.duplicated]
    clusters = [[number[i] for i in members if i in number and i not in unclear] for members in groups]
    clusters = [members for members in clusters if members]
    for response in unclear:
        item, before = number[response], session.calls
        questions = session.vote(item, clusters)
        failed = session.failed_calls
        joined: list[int] | None = None
        try:
            while True:
                for a, b in next(questions):
                    if session.options.max_calls is not None and session.calls >= session.options.max_calls:
                        session.out_of_budget = True
                        return None
                    session.calls += 1
                    session.note(a, b, await ask(Pair(session.group.id, session.items[a], session.items[b])))
        except StopIteration as stop:
            joined = stop.value
        session.repair_calls += session.calls - before
        if joined is None and session.failed_calls > failed:
            return None
        if joined is None:
            clusters.append([item])
        else:
            joined.append(item)
    labels = np.empty(len(session.items), dtype=int)
    for k, members in enumerate(clusters):
        labels[members] = k
    return labels


def _labels(session: PartitionSession, groups: Sequence[Sequence[str]]) -> np.ndarray:
    number = {i: k for k, i in enumerate(session.items)}
    labels = np.empty(len(session.items), dtype=int)
    for k, members in enumerate(groups):
        labels[[number[i] for i in members]] = k
    return labels
