"""Requests and replies of the judge client: from the trainer's nouns to bodies, and from replies to results by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from ..schema import Feedback, Group, RewardResult, RewardStatus
from .convert import items_of, responses_of
from .errors import JudgeProtocolError
from .types import GroupPartition, ItemResult, RankedResponse, ResponseGroup, UsageInfo


@dataclass(frozen=True)
class Partition:
    """Clusters of one group by rollout id. A rollout that could not be placed has None everywhere.

    Attributes:
        labels: cluster number of each rollout, from 0.
        clusters: rollout ids of each cluster.
        darling: DARLING's diversity factor of each rollout.
        uniqueness: weight 1 / (size of the rollout's cluster) ** alpha.
        results: one `RewardResult` a rollout with status and cluster; they carry no reward.
        stats: calls, contradictions and the like.
        usage: what it took (of the whole request).
    """

    group_id: str
    labels: dict[str, int | None]
    clusters: list[list[str]]
    darling: dict[str, float | None]
    uniqueness: dict[str, float | None]
    results: list[RewardResult]
    stats: dict[str, Any] = field(default_factory=dict)
    usage: UsageInfo = field(default_factory=UsageInfo)

    def diversity(self) -> dict[str, float | None]:
        """DARLING's factor by rollout id."""
        return dict(self.darling)


def plain(value: Any) -> Any:
    return (
        value.model_dump(mode="json")
        if isinstance(value, BaseModel)
        else dict(value)
        if isinstance(value, Mapping)
        else value
    )


def as_list(groups: Any) -> list[Any]:
    return list(groups) if isinstance(groups, Sequence) else [groups]


def group_body(group: Any) -> dict[str, Any]:
    if isinstance(group, Group):
        return responses_of(group).model_dump(mode="json")
    read = group if isinstance(group, ResponseGroup) else ResponseGroup.model_validate(group)
    return read.model_dump(mode="json")


def item_bodies(items: Any) -> list[dict[str, Any]]:
    if isinstance(items, Group):
        items = [items]
    rows: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, Group):
            rows += [row.model_dump(mode="json") for row in items_of(item)]
        else:
            rows.append(plain(item))
    missing = next((i for i, row in enumerate(rows) if not row.get("id")), None)
    if missing is not None:
        raise ValueError(f"items[{missing}] has no id; results are matched by id")
    return rows


def by_id(rows: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows:
        if row.id in found:
            raise JudgeProtocolError(f"the reply holds id {row.id!r} twice")
        found[row.id] = row
    return found


def _lost(rollout_id: str) -> RewardResult:
    return RewardResult(
        rollout_id=rollout_id, status=RewardStatus.UNSCORED, error="the judge's reply says nothing of it"
    )


def scored(rollout_id: str, row: ItemResult | None) -> RewardResult:
    if row is None:
        return _lost(rollout_id)
    feedback = tuple(row.feedback) + tuple(
        Feedback(text=f"{c.name}: {c.evidence}", kind="info")
        for c in row.criteria
        if c.evidence and c.score is not None
    )
    return RewardResult(
        rollout_id=rollout_id, status=row.status, reward=row.reward, scores={c.name: c.score for c in row.criteria},
        feedback=feedback, error=row.error.message if row.error else None,
    )  # fmt: skip


def ranked(rollout_id: str, row: RankedResponse | None) -> RewardResult:
    return _lost(rollout_id) if row is None else row.result()


def partitioned(group: dict[str, Any], found: GroupPartition | None, usage: UsageInfo) -> Partition:
    ids = [row["id"] for row in group["responses"]]
    if found is not None and found.error is not None:
        nobody = GroupPartition(id=found.id, labels=[None] * len(ids), clusters=[])
        partition = partitioned(group, nobody, usage)
        results = [
            RewardResult(rollout_id=key, status=RewardStatus.INVALID_INPUT, error=found.error.message) for key in ids
        ]
        return replace(partition, results=results)
    if found is None or len(found.labels) != len(ids):
        raise JudgeProtocolError(f"the reply holds no partition of group {group['id']!r}")
    # Labels come in the order that was sent; the clusters name ids, so the two must agree.
    named = {key: number for number, cluster in enumerate(found.clusters) for key in cluster}
    if set(named) - set(ids):
        raise JudgeProtocolError(
            f"clusters of group {group['id']!r} name unknown ids {sorted(set(named) - set(ids))[:3]}"
        )
    items = by_id(found.items)
    rewards = {name: dict(zip(ids, values, strict=True)) for name, values in found.rewards.items()}
    labels = dict(zip(ids, found.labels, strict=True))
    results = []
    for key in ids:
        item = items.get(key)
        status = item.status if item else RewardStatus.OK if labels[key] is not None else RewardStatus.UNSCORED
        error = item.error.message if item and item.error else None
        results.append(RewardResult(rollout_id=key, status=status, cluster=labels[key], error=error))
    none: dict[str, float | None] = dict.fromkeys(ids)
    return Partition(
        group["id"], labels, found.clusters, rewards.get("darling", none), rewards.get("uniqueness", none), results,
        found.stats, usage,
    )  # fmt: skip
