"""Groups of a run: one line each for the list, made from the rollout index."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .rollouts import Entry, RolloutIndex


@dataclass
class Line:
    """What the list says about a group."""

    id: str
    step: int | None
    task_id: str
    rewards: list[float] = field(default_factory=list)
    size: int = 0
    clusters: set[int] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        self.size += 1
        if entry.reward is not None:
            self.rewards.append(entry.reward)
        if entry.cluster is not None:
            self.clusters.add(entry.cluster)

    def row(self) -> dict[str, Any]:
        scored = self.rewards
        return {
            "id": self.id,
            "step": self.step,
            "task_id": self.task_id,
            "size": self.size,
            "scored": len(scored),
            "mean": sum(scored) / len(scored) if scored else None,
            "low": min(scored, default=None),
            "high": max(scored, default=None),
            "clusters": len(self.clusters) or None,
        }


def list_groups(index: RolloutIndex, task: str = "", start: int = 0, limit: int = 100) -> dict[str, Any]:
    """A page of groups, newest first; rollouts without a group id are left out."""
    groups: dict[str, Line] = {}
    for entry in index.known():
        if entry.group_id and task in entry.task_id:
            line = groups.get(entry.group_id)
            if line is None:
                line = groups[entry.group_id] = Line(entry.group_id, entry.step, entry.task_id)
            line.add(entry)
    newest = list(groups.values())[::-1]
    more = start + limit if start + limit < len(newest) else None
    return {"groups": [line.row() for line in newest[start : start + limit]], "next": more, "total": len(newest)}
