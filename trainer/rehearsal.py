"""Rehearsal: what the initial policy had mastered, stored once and trained beside the new tasks (`RehearsalSpec`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import write_atomically
from .engines.sampling import seed_of
from .objectives.types import RehearsalSpec
from .rollout import Play
from .rows import Row
from .samples import Sample, samples_of
from .tasks import TaskRef

STAMP = 0x9E4EA

Sampler = Callable[[Sequence[TaskRef], int, int], list[Play]]
"""(tasks, rollouts a task, stamp) -> plays, sampled by the initial policy."""


class Rehearsal:
    """Stored right rollouts of mastered tasks.

    Args:
        spec: what the objective asks for.
        rows: stored rollouts; ``scores["reference"]`` holds the initial policy's log-probabilities.
        mastered: seeds of the mastered tasks.
        seed: run seed; with the step it decides which rows come next.
    """

    def __init__(self, spec: RehearsalSpec, rows: list[Row], mastered: set[int], seed: int) -> None:
        self.spec, self.rows, self.mastered, self.seed = spec, rows, mastered, seed

    @classmethod
    def collect(cls, spec: RehearsalSpec, tasks: Sequence[TaskRef], sample: Sampler, seed: int) -> Rehearsal:
        """Find the mastered tasks of a pool and store one fresh right rollout of each, where one comes.

        Args:
            spec: attempts, threshold and what counts as right.
            tasks: the pool.
            sample: plays tasks with the initial policy.
            seed: run seed.
        """

        def right(reward: float | None) -> bool:
            return reward is not None and reward >= spec.correct

        plays = sample(tasks, spec.attempts, seed_of(STAMP, 0))
        mastered = [
            ref
            for ref, play in zip(tasks, plays, strict=True)
            if sum(right(r.reward) for r in play.group.rollouts) >= spec.threshold
        ]
        rows = []
        for play in sample(mastered, 1, seed_of(STAMP, 1)) if mastered else []:
            rollout = play.group.rollouts[0]
            if right(rollout.reward):
                rows += [_row(part) for part in samples_of(rollout)]
        return cls(spec, rows, {ref.seed for ref in mastered}, seed)

    def chunk(self, step: int) -> list[Row]:
        """The rows of a step: the store in a new random order every round; a function of the step alone."""
        count = len(self.rows)
        places = range(step * self.spec.chunk, (step + 1) * self.spec.chunk) if count else range(0)
        orders: dict[int, np.ndarray] = {}
        chosen = []
        for place in places:
            turn, index = divmod(place, count)
            if turn not in orders:
                orders[turn] = np.random.default_rng(seed_of(self.seed, STAMP, turn)).permutation(count)
            chosen.append(self.rows[int(orders[turn][index])])
        return chosen

    def save(self, path: Path) -> None:
        """Write the store; a run does it once, before its first step."""
        stored = [
            {
                "rollout_id": row.sample.rollout_id,
                "prompt_ids": row.sample.prompt_ids,
                "ids": row.sample.ids_T,
                "mask": row.sample.mask_T.tolist(),
                "logp": row.sample.logp_T.tolist(),
            }
            for row in self.rows
        ]
        write_atomically(path, json.dumps({"mastered": sorted(self.mastered), "rows": stored}))

    @classmethod
    def load(cls, spec: RehearsalSpec, path: Path, seed: int) -> Rehearsal:
        """Read what `save` wrote."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for item in data["rows"]:
            mask = np.array(item["mask"], dtype=bool)
            logp = np.array(item["logp"], dtype=np.float32)
            versions = np.where(mask, 0, -1)
            rows.append(
                _row(Sample(item["rollout_id"], tuple(item["prompt_ids"]), tuple(item["ids"]), mask, logp, versions))
            )
        return cls(spec, rows, set(data["mastered"]), seed)


def _row(sample: Sample) -> Row:
    row = Row(sample, np.zeros(len(sample)))
    row.scores["reference"] = sample.logp_T  # the engine that sampled it ran the initial weights
    return row
