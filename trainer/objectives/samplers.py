"""Which tasks go into a batch. Pure numpy, seeded, with a JSON-able state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class BalancedSampler:
    """The same number of tasks of every type in every batch (QwenLong-L1.5, arXiv 2512.12967).

    A remainder rotates over the types. A type that runs out is shuffled again; nothing is borrowed from another type.

    Args:
        task_ids_by_type: the task ids of each type, none empty.
        seed: of the shuffles.
    """

    def __init__(self, task_ids_by_type: dict[str, Sequence[str]], seed: int = 0) -> None:
        empty = [name for name, ids in task_ids_by_type.items() if not len(ids)]
        if empty or not task_ids_by_type:
            raise ValueError(f"task types without tasks: {empty or 'all'}; give every type at least one task id")
        self._tasks = {name: list(ids) for name, ids in task_ids_by_type.items()}
        self._seed = seed
        self.state: dict[str, Any] = {"turn": 0, "drawn": dict.fromkeys(self._tasks, 0)}

    def counts(self, n: int) -> dict[str, int]:
        """How many tasks of each type the next batch of n takes."""
        types = list(self._tasks)
        share, extra = divmod(n, len(types))
        lucky = {types[(self.state["turn"] + i) % len(types)] for i in range(extra)}
        return {name: share + (name in lucky) for name in types}

    def next(self, n: int) -> list[tuple[str, str]]:
        """(type, task id) of the next batch, types interleaved."""
        counts = self.counts(n)
        drawn = {name: [self._draw(name) for _ in range(count)] for name, count in counts.items()}
        self.state["turn"] = (self.state["turn"] + n) % len(self._tasks)
        widest = max(counts.values(), default=0)
        return [(name, ids[i]) for i in range(widest) for name, ids in drawn.items() if i < len(ids)]

    def _draw(self, name: str) -> str:
        number = self.state["drawn"][name]
        self.state["drawn"][name] += 1
        epoch, place = divmod(number, len(self._tasks[name]))
        kind = list(self._tasks).index(name)
        order = np.random.default_rng([self._seed, kind, epoch]).permutation(len(self._tasks[name]))
        return self._tasks[name][int(order[place])]


def completion_weights(target: dict[str, float], completed: dict[str, int], clamp: float = 4.0) -> dict[str, float]:
    """Sampling weights target/actual of task types that finish at different speeds, clamped and summing to 1."""
    total = sum(completed.values())
    goal = sum(target.values())
    raw = {}
    for name, share in target.items():
        actual = completed.get(name, 0) / total if total else share / goal
        ratio = clamp if actual == 0 else share / goal / actual
        raw[name] = share / goal * min(max(ratio, 1 / clamp), clamp)
    return {name: weight / sum(raw.values()) for name, weight in raw.items()}


def difficulty_bins(scores: dict[str, float], bins: int, per_bin: int, seed: int = 0) -> list[str]:
    """Draw equally from equal-width bins of the base model's pass rate, without replacement; small bins give all."""
    rng = np.random.default_rng(seed)
    chosen: list[str] = []
    for b in range(bins):
        members = sorted(k for k, s in scores.items() if min(int(s * bins), bins - 1) == b)
        chosen += [members[int(i)] for i in rng.permutation(len(members))[:per_bin]]
    return chosen
