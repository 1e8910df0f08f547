"""Ranking logged comparisons again, with another estimator or reward, without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .ranking import Outcome, RankGroup, RankOptions, RankResult, Session, conclude
from .ranking.types import Record
from .replay import read_log

Key = tuple[str, str]


def logged_comparisons(path: str | Path) -> dict[Key, dict[tuple[str, str], Outcome]]:
    """Outcomes by (request id, group id) and by (shown first, shown second); the last record of a call counts."""
    found: dict[Key, dict[tuple[str, str], Outcome]] = {}
    for record in read_log(path):
        tag = record.get("tag") or {}
        if tag.get("op") != "rank":
            continue
        calls = found.setdefault((str(record.get("request_id") or ""), str(tag["group"])), {})
        verdict = record.get("verdict") if record.get("status") == "ok" else None
        if verdict is None:
            outcome = Outcome(status=record.get("status") or "upstream_error", error=record.get("error"))
        else:
            winner = {"1": "first", "2": "second"}.get(verdict["winner"], "tie")
            outcome = Outcome(
                winner=winner,  # type: ignore[arg-type]
                score_first=verdict.get("score_1"), score_second=verdict.get("score_2"),
            )  # fmt: skip
        calls[(tag["first"], tag["second"])] = outcome
    return found


def rescore(path: str | Path, *, estimator: str = "auto", reward: str = "quantile_z") -> list[dict[str, Any]]:
    """Rank every group of a log again from its stored calls.

    The stored calls are taken as they are, whatever design they came from. Responses that shared a call with an equal
    one do not occur in the log, nor here.

    Raises:
        ValueError: the log holds no comparisons, or an option is unknown.
    """
    groups = logged_comparisons(path)
    if not groups:
        raise ValueError(f"{path} holds no comparisons of a ranking; only /v1/rank by pairs can be ranked again")
    results = []
    for (request, group), calls in groups.items():
        result = rank_calls(group, calls.items(), estimator=estimator, reward=reward)
        results.append({"request_id": request, **asdict(result)})
    return results


def rank_calls(
    group: str, calls: Iterable[tuple[tuple[str, str], Outcome]], *, estimator: str = "auto", reward: str = "quantile_z"
) -> RankResult:
    """A ranking from calls that were made already."""
    rows = list(calls)
    ids = sorted({key for (first, second), _ in rows for key in (first, second)})
    if len(ids) < 2:
        raise ValueError(f"group {group!r} has no comparison")
    session = Session(RankGroup(group, ids), RankOptions(estimator=estimator, reward=reward))  # type: ignore[arg-type]
    number = {key: index for index, key in enumerate(session.items)}
    session.records = [Record(number[first], number[second], 0, outcome) for (first, second), outcome in rows]
    by_pair: dict[tuple[int, int], list[Record]] = {}
    for record in session.records:
        by_pair.setdefault((min(record.first, record.second), max(record.first, record.second)), []).append(record)
    session.played = [(pair, totals_of(pair, records)) for pair, records in by_pair.items()]
    session.calls, session.rounds = len(rows), 1
    return conclude([session])[0]


def totals_of(pair: tuple[int, int], records: Iterable[Record]) -> tuple[float, float] | None:
    """Summed scores of a pair over its calls; None when one of them failed, for half a comparison is none."""
    rows = list(records)
    if not all(record.outcome.valid for record in rows):
        return None
    totals = dict.fromkeys(pair, 0.0)
    for record in rows:
        for item, score in zip((record.first, record.second), record.outcome.scores, strict=True):
            totals[item] += score
    return totals[pair[0]], totals[pair[1]]
