"""What the rollout files say about a rollout besides the rollout itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .objectives.types import RolloutBatch
from .rows import Row

DIGITS = 5  # of the log-probabilities kept for the viewer


def training_record(batch: RolloutBatch, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Advantage, cluster and the learner's log-probabilities of each rollout of a step.

    Args:
        batch: the step's rollouts.
        rows: what was trained on; sub-calls stand inside their root's record and are left out.

    Returns:
        By rollout id: ``advantage`` (mean over its tokens; None = not trained), ``advantages`` (one a sampled token and
        turn, where they differ inside the rollout), ``learner_logprobs`` (before the step's first update, where the
        learner saw the rollout), ``cluster``, ``rank_reward``, and, where a judge changed it, the ``reward`` that was
        trained on beside the environment's (which the folder keeps as ``env_reward``).
    """
    extra: dict[str, dict[str, Any]] = {rollout_id: {"advantage": None} for rollout_id in batch.ids}
    for rollout, used in zip(batch.rollouts, batch.rewards_B.tolist(), strict=True):
        extra[rollout.id]["reward"] = None if np.isnan(used) else used
    parts: dict[str, list[Row]] = {}
    for row in rows:
        if row.sample.rollout_id in extra:
            parts.setdefault(row.sample.rollout_id, []).append(row)
    turns = {rollout.id: [len(turn.completion_ids) for turn in rollout.turns] for rollout in batch.rollouts}
    for rollout_id, mine in parts.items():
        advantage_T = np.concatenate([row.advantage_T[row.sample.mask_T] for row in mine])
        extra[rollout_id]["advantage"] = float(advantage_T.mean()) if len(advantage_T) else 0.0
        lengths = turns.get(rollout_id, [])
        if sum(lengths) != len(advantage_T):
            continue  # part of the rollout was not trained, so that tokens cannot be told from one another
        if len(advantage_T) and np.ptp(advantage_T):
            extra[rollout_id]["advantages"] = _by_turn(advantage_T, lengths)
        if all("old" in row.scores for row in mine):
            learner_T = np.concatenate([row.scores["old"][row.sample.mask_T] for row in mine])
            extra[rollout_id]["learner_logprobs"] = _by_turn(learner_T, lengths)
    if batch.clusters_B is not None:
        for rollout_id, label in zip(batch.ids, batch.clusters_B.tolist(), strict=True):
            extra[rollout_id]["cluster"] = label if label >= 0 else None
    if batch.ranks_B is not None:
        for rollout_id, value in zip(batch.ids, batch.ranks_B.tolist(), strict=True):
            extra[rollout_id]["rank_reward"] = None if np.isnan(value) else value
    return extra


def _by_turn(values_T: np.ndarray, lengths: Sequence[int]) -> list[list[float]]:
    return [
        [round(float(value), DIGITS) for value in part]
        for part in np.split(values_T, np.cumsum(lengths)[:-1].astype(int))
    ]
