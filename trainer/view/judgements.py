"""What judges answered in a run: records by group, and their statistics added up while they are read."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

from .lines import LinesFolder
from .rollouts import number_of

SHOWN_FAILURES = 50
Z = 1.959963984540054  # 95 %


class JudgementIndex:
    """Places of the records of judgements/*.jsonl by group id, and sums over all of them."""

    def __init__(self, folder: Path) -> None:
        self.files = LinesFolder(folder)
        self._clear()

    def _clear(self) -> None:
        self.places: dict[str, list[tuple[int, int, int]]] = {}
        self.judges: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.usage: Counter[str] = Counter()
        self.cost: float | None = None
        self.slots: Counter[str] = Counter()
        self.pairs: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []
        self.flags: Counter[str] = Counter()
        self._calls: set[str] = set()

    def __len__(self) -> int:
        return sum(self.operations.values())

    def refresh(self, deadline: float | None = None) -> None:
        """Read records written since the last call, until `deadline`."""
        if self.files.look():  # a resumed run has dropped some: count again
            self.__init__(self.files.folder)  # type: ignore[misc]
            self.files.look()
        for number, offset, length, record in self.files.new(deadline):
            self.places.setdefault(str(record.get("group_id", "")), []).append((number, offset, length))
            self._count(record)

    def of_group(self, group: str) -> list[dict[str, Any]]:
        """The records of one group; what can no longer be read is left out."""
        found = []
        for place in self.places.get(group, ()):
            try:
                found.append(self.files.load(*place))
            except (OSError, ValueError):
                continue
        return found

    def _count(self, record: dict[str, Any]) -> None:
        operation = str(record.get("operation", "?"))
        self.operations[operation] += 1
        group, step = str(record.get("group_id", "")), record.get("step")
        if record.get("error"):
            self.statuses["request failed"] += 1
            self._failure(step, group, operation, record["error"])
        judge = _dict(record.get("judge"))
        if judge:
            self.judges.setdefault(f"{judge.get('name')} {judge.get('model')}", judge)
        call = str(record.get("call", ""))
        if call and call not in self._calls:
            self._calls.add(call)
            used = _dict(record.get("usage"))
            for name in ("calls", "cache_hits", "prompt_tokens", "completion_tokens"):
                self.usage[name] += int(number_of(used.get(name)) or 0)
            cost = number_of(used.get("cost_usd"))
            self.cost = self.cost if cost is None else (self.cost or 0.0) + cost
        result = _dict(record.get("result"))
        for row in [*_rows(result.get("ranking")), *_rows(result.get("results")), *_rows(result.get("items"))]:
            status = str(row.get("status", "?"))
            self.statuses[status] += 1
            self.flags.update(str(flag) for flag in row.get("flags") or () if isinstance(flag, str))
            if status not in ("ok", "gated", "degenerate"):
                self._failure(step, group, operation, _dict(row.get("error")).get("message") or status, row.get("id"))
        self._matches(_rows(result.get("matches")))

    def _matches(self, matches: list[dict[str, Any]]) -> None:
        winners: dict[Any, list[Any]] = {}
        for match in matches:
            winner = match.get("winner")
            if winner is None:
                unasked = match.get("status") == "budget_exhausted" and not match.get("calls")
                self.slots["unasked" if unasked else "failed"] += 1
                continue
            self.slots["tie" if winner == "tie" else "first" if winner == match.get("first") else "second"] += 1
            winners.setdefault(str(match.get("comparison")), []).append(winner)
        for found in winners.values():
            if len(found) == 2:
                self.pairs["agree" if found[0] == found[1] else "disagree"] += 1

    def _failure(self, step: Any, group: str, operation: str, why: Any, rollout: Any = None) -> None:
        self.failures.append(
            {"step": step, "group": group, "operation": operation, "why": str(why)[:500], "rollout": rollout}
        )
        del self.failures[:-SHOWN_FAILURES]

    def summary(self) -> dict[str, Any]:
        """What the page of the judge shows; shares come with their counts and a 95 % interval."""
        decisive = self.slots["first"] + self.slots["second"]
        return {
            "records": len(self),
            "judges": list(self.judges.values()),
            "operations": dict(self.operations),
            "requests": len(self._calls),
            "usage": {**self.usage, "cost_usd": self.cost},
            "statuses": dict(self.statuses),
            "flags": dict(self.flags),
            "matches": dict(self.slots),
            "first": share(self.slots["first"], decisive),
            "ties": share(self.slots["tie"], decisive + self.slots["tie"]),
            "failed": share(self.slots["failed"], decisive + self.slots["tie"] + self.slots["failed"]),
            "disagree": share(self.pairs["disagree"], sum(self.pairs.values())),
            "failures": self.failures[::-1],
            "notes": self.files.notes,
        }


def share(part: int, whole: int) -> dict[str, float | int] | None:
    """A share with its counts and Wilson's 95 % interval; None of nothing."""
    if not whole:
        return None
    p = part / whole
    middle = (p + Z**2 / (2 * whole)) / (1 + Z**2 / whole)
    half = Z / (1 + Z**2 / whole) * math.sqrt(p * (1 - p) / whole + Z**2 / (4 * whole**2))
    return {"value": p, "low": max(0.0, middle - half), "high": min(1.0, middle + half), "part": part, "n": whole}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
