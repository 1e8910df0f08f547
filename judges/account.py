"""What a client's judges have cost and how they behaved, added up over replies; for a trainer's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .replies import CompareReply, PairResult, PartitionReply, RankReply, Reply, ScoreReply, UsageInfo, VerifyReply


@dataclass
class Account:
    """Sums over the replies a client has had since it was made or last cleared.

    Attributes:
        requests: replies received.
        usage: model calls, cache hits, tokens and dollars.
        statuses: results by status; everything but ``ok`` and ``gated`` is a judgement that did not take place.
        comparisons: single comparisons by ``first``, ``second`` (the slot that won), ``tie`` and ``failed``.
        pairs: pairs asked in both orders by ``agree`` and ``disagree``.
    """

    requests: int = 0
    usage: UsageInfo = field(default_factory=UsageInfo)
    statuses: Counter[str] = field(default_factory=Counter)
    comparisons: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)

    def add(self, reply: Reply) -> None:
        """Add one reply of any operation."""
        self.requests += 1
        self.usage.add(reply.usage)
        if isinstance(reply, (ScoreReply, VerifyReply)):
            self.statuses.update(row.status.value for row in reply.results)
        elif isinstance(reply, CompareReply):
            for pair in reply.results:
                self._pair(pair)
        elif isinstance(reply, RankReply):
            for ranking in reply.groups or []:
                self.statuses.update(row.status.value for row in ranking.ranking)
                self._matches(ranking)
        elif isinstance(reply, PartitionReply):
            self.statuses.update(item.status.value for group in reply.groups or [] for item in group.items)

    def metrics(self, prefix: str = "judge/") -> dict[str, float]:
        """Plain numbers for a metrics file; shares of nothing are left out."""
        judged = sum(self.statuses.values())
        done = self.statuses["ok"] + self.statuses["gated"] + self.statuses["degenerate"]
        decisive = self.comparisons["first"] + self.comparisons["second"]
        found: dict[str, float | None] = {
            "requests": self.requests,
            "calls": self.usage.calls,
            "cache_hits": self.usage.cache_hits,
            "tokens": self.usage.prompt_tokens + self.usage.completion_tokens,
            "cost_usd": self.usage.cost_usd,
            "failed": judged - done,
            "failed_share": _share(judged - done, judged),
            "p_first": _share(self.comparisons["first"], decisive),
            "tie_rate": _share(self.comparisons["tie"], decisive + self.comparisons["tie"]),
            "failed_comparisons": self.comparisons["failed"],
            "inconsistent_rate": _share(self.pairs["disagree"], sum(self.pairs.values())),
        }
        return {prefix + name: float(value) for name, value in found.items() if value is not None}

    def clear(self) -> None:
        """Start again from nothing."""
        self.__init__()  # type: ignore[misc]

    def to_dict(self) -> Mapping[str, Any]:
        """Everything as JSON knows it."""
        counters = {name: dict(getattr(self, name)) for name in ("statuses", "comparisons", "pairs")}
        return {"requests": self.requests, "usage": self.usage.model_dump(), **counters}

    def _pair(self, pair: PairResult) -> None:
        self.statuses[pair.status.value] += 1
        for order in pair.orders:
            self.comparisons[_slot(order.winner, order.first)] += 1
        if pair.consistent is not None:
            self.pairs["agree" if pair.consistent else "disagree"] += 1

    def _matches(self, ranking: Any) -> None:
        winners: dict[int, list[str]] = {}
        for match in ranking.matches:
            if match.status.value == "budget_exhausted" and match.calls == 0:
                continue  # planned and never asked
            self.comparisons[_slot(match.winner, match.first)] += 1
            if match.winner is not None:
                winners.setdefault(match.comparison, []).append(match.winner)
        for found in winners.values():
            if len(found) == 2:
                self.pairs["agree" if found[0] == found[1] else "disagree"] += 1


def _slot(winner: str | None, first: str) -> str:
    if winner is None:
        return "failed"
    return "tie" if winner == "tie" else "first" if winner == first else "second"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
