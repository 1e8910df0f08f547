"""From played and judged groups to training rows: the batch-level half of an objective, called part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..schema import Rollout
from .children import child_rows
from .judging import Verdicts
from .objectives.types import Objective, RolloutBatch
from .rollout import Play
from .rows import Row, spread
from .samples import Sample, samples_of

Render = Callable[[Any], tuple[int, ...]]
"""Messages of a context -> prompt token ids."""


def gather(plays: Sequence[Play], verdicts: Verdicts, max_length: int) -> tuple[RolloutBatch, dict[str, list[Sample]]]:
    """Align rollouts, rewards and judgements.

    Args:
        plays: the groups of this step.
        verdicts: what judges said, by rollout id.
        max_length: cap on sampled tokens of a rollout.

    Returns:
        The batch, and the training samples of each rollout by id.
    """
    rollouts: list[Rollout] = []
    labels: list[int] = []
    rewards: list[float] = []
    types: list[str] = []
    for label, play in enumerate(plays):
        lost = play.group.id in verdicts.failed_groups
        for rollout in play.group.rollouts:
            reward = rollout.reward if verdicts.rewards is None else verdicts.rewards.get(rollout.id)
            rollouts.append(rollout if verdicts.rewards is None else rollout.with_reward(reward))
            labels.append(label)
            rewards.append(np.nan if reward is None or lost else float(reward))
            types.append(str(play.group.task.metadata.get("task_type", rollout.env_id)))
    samples = {rollout.id: samples_of(rollout) for rollout in rollouts}
    batch = RolloutBatch(
        ids=tuple(rollout.id for rollout in rollouts),
        group_ids_B=np.array(labels, dtype=np.int64),
        rewards_B=np.array(rewards, dtype=np.float64),
        task_types=tuple(types),
        logp_sums_B=np.array([sum(float(s.logp_T.sum(dtype=np.float64)) for s in samples[r.id]) for r in rollouts]),
        lengths_B=np.array([sum(int(s.mask_T.sum()) for s in samples[r.id]) for r in rollouts]),
        max_length=max_length,
        clusters_B=_aligned(verdicts.clusters, rollouts, -1, np.int64),
        ranks_B=_aligned(verdicts.ranks, rollouts, np.nan, np.float64),
        diversity_B=_aligned(verdicts.diversity, rollouts, np.nan, np.float64),
        rollouts=tuple(rollouts),
    )
    return batch, samples


def _aligned(values: dict[str, Any] | None, rollouts: list[Rollout], missing: Any, dtype: Any) -> np.ndarray | None:
    return None if values is None else np.array([values.get(r.id, missing) for r in rollouts], dtype=dtype)


def decide(
    objective: Objective,
    batch: RolloutBatch,
    samples: dict[str, list[Sample]],
    state: dict[str, Any],
    render: Render,
) -> tuple[list[Row], dict[str, float]]:
    """Run shape, advantage, gates, filters, relabelling and teacher contexts.

    Args:
        objective: the method.
        batch: from `gather`.
        samples: from `gather`.
        state: JSON-able memory of gates and filters, kept in checkpoints; changed in place.
        render: makes prompt ids of context messages.

    Returns:
        The rows that stay in the loss, and metrics. Unscored rollouts are in no row, unless the objective trains
        without rewards.
    """
    if objective.shape is not None:
        shaped = batch.rewards_B.copy()
        for index in batch.groups():
            shaped[index] = np.where(batch.scored_B[index], objective.shape(batch.take(index)), np.nan)
        batch = batch.with_rewards(shaped)
    advantages = np.asarray(objective.advantage(batch), dtype=np.float64)
    for number, gate in enumerate(objective.gates):
        advantages = gate(batch, advantages, state.setdefault(f"gate-{number}", {}))
    alive = np.ones(len(batch), bool) if not objective.uses_rewards else batch.scored_B.copy()
    alive &= np.isfinite(advantages).reshape(len(batch), -1).all(-1)
    kept = np.flatnonzero(alive)
    for number, rule in enumerate(objective.filters):
        if len(kept):
            keep = rule(batch.take(kept), advantages[kept], state.setdefault(f"filter-{number}", {}))
            kept = kept[np.asarray(keep, bool)]
    relabelled = objective.relabel(batch).messages if objective.relabel else None
    spec = objective.teacher
    taught = spec.contexts(batch).messages if spec is not None and spec.contexts is not None else None
    rows: list[Row] = []
    for i in kept:
        mine = samples[batch.ids[i]]
        for part, (sample, values) in enumerate(zip(mine, spread(mine, advantages[i]), strict=True)):
            row = Row(sample, values, group=int(batch.group_ids_B[i]))
            if relabelled is not None and relabelled[i] is not None and part == 0:
                row = replace(row, prompt_ids=render(relabelled[i]))
            if spec is not None:
                if taught is None:
                    row.taught = True
                elif taught[i] is not None and part == 0:
                    row.teacher_prompt_ids, row.taught = render(taught[i]), True
            rows.append(row)
        if batch.rollouts and batch.rollouts[i].children:
            rows += child_rows(batch.rollouts[i], advantages[i], int(batch.group_ids_B[i]))
    metrics = _describe(batch, advantages, kept, rows)
    metrics["prefix_breaks"] = float(np.mean([len(parts) > 1 for parts in samples.values()])) if samples else 0.0
    if spec is not None:
        count = sum(row.taught for row in rows)
        metrics |= {"taught": count / max(len(rows), 1), "empty_target_batch": float(count == 0)}
    return rows, metrics


def _describe(batch: RolloutBatch, advantages: np.ndarray, kept: np.ndarray, rows: list[Row]) -> dict[str, float]:
    live = 0
    for index in batch.groups():
        rewards = batch.rewards_B[index][batch.scored_B[index]]
        live += bool(len(rewards) > 1 and np.ptp(rewards) > 1e-12)
    groups = max(len(batch.groups()), 1)
    return {
        "live_groups": live / groups,
        "kept": len(kept) / max(len(batch), 1),
        "rows": float(len(rows)),
        "zero_advantage": float(np.mean([not np.any(row.advantage_T) for row in rows])) if rows else 0.0,
        "advantage_abs": float(np.abs(advantages[kept]).mean()) if len(kept) else 0.0,
    }


def describe_rollouts(batch: RolloutBatch) -> dict[str, float]:
    """Means over scored rollouts, and how many were not scored."""
    scored = batch.rewards_B[batch.scored_B]
    lengths = batch.lengths_B if batch.lengths_B is not None else np.zeros(len(batch))
    tokens = float(lengths.sum())
    logp = batch.logp_sums_B if batch.logp_sums_B is not None else np.zeros(len(batch))
    return {
        **({"reward": float(scored.mean()), "reward_std": float(scored.std())} if len(scored) else {}),
        "unscored": float(len(batch) - len(scored)),
        "unscored_share": 1 - len(scored) / max(len(batch), 1),
        "rollouts": float(len(batch)),
        "tokens": tokens,
        "length": tokens / max(len(batch), 1),
        "entropy": -float(logp.sum()) / max(tokens, 1.0),  # the mean surprisal estimates it without another pass
        "truncated": float(np.mean([r.truncated for r in batch.rollouts])) if len(batch) else 0.0,
    }
