"""Reward shaping: one group's rewards in, shaped rewards out. Pure numpy; nan (unscored) stays nan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from .types import RolloutBatch, Shape


def chain(shapes: Iterable[Shape]) -> Shape | None:
    """Apply shapes one after another to a group; None for no shape at all."""
    steps = tuple(shapes)
    if not steps:
        return None

    def shaped(group: RolloutBatch) -> np.ndarray:
        for step in steps:
            group = group.with_rewards(step(group))
        return group.rewards_B

    return shaped


def judge_ranks(group: RolloutBatch) -> np.ndarray:
    """Replace rewards by a judge's rank rewards (ArenaRL); unranked rollouts become unscored."""
    if group.ranks_B is None:
        raise ValueError("arena needs RolloutBatch.ranks_B: configure [judge] so that groups can be ranked")
    return np.where(np.isfinite(group.ranks_B), group.ranks_B, np.nan)


def soft_overlong(lengths_B: np.ndarray, max_length: int, cache: int) -> np.ndarray:
    """DAPO's soft length penalty (arXiv 2503.14476): 0 up to max-cache, linear to -1 at max_length, then -1.

    Raises:
        ValueError: if the cache is not inside (0, max_length].
    """
    if not 0 < cache <= max_length:
        raise ValueError(f"overlong cache {cache} must be in 1..max_length = {max_length}")
    return np.clip(((max_length - cache) - np.asarray(lengths_B, float)) / cache, -1.0, 0.0)


def overlong_penalty(factor: float, cache: int) -> Shape:
    """Add `factor` times the soft overlong penalty; needs lengths_B and max_length."""

    def shape(group: RolloutBatch) -> np.ndarray:
        if group.lengths_B is None or group.max_length is None:
            raise ValueError("the overlong penalty needs RolloutBatch.lengths_B and max_length")
        return group.rewards_B + factor * soft_overlong(group.lengths_B, group.max_length, cache)

    return shape


def unlikeliness(beta: float, gate: bool = True) -> Shape:
    """Shrink the reward of likely correct rollouts: r (1 - beta rank / G) (arXiv 2506.02355).

    Ranks go from 0 for the lowest mean old log-probability to G-1, tied ones share their average. Only positive
    rewards are touched.

    Args:
        beta: size of the effect, 0 to 1.
        gate: leave groups without a failure alone; dividing their tiny spread by its own standard deviation would
            blow it up to full-size advantages.
    """

    def shape(group: RolloutBatch) -> np.ndarray:
        if group.logp_sums_B is None:
            raise ValueError("unlikeliness needs RolloutBatch.logp_sums_B")
        rewards = group.rewards_B.copy()
        scored = np.flatnonzero(group.scored_B)
        if len(scored) < 2 or (gate and (rewards[scored] > 0).all()):
            return rewards
        lengths = np.ones(len(group)) if group.lengths_B is None else np.maximum(group.lengths_B, 1)
        ranks = average_ranks((group.logp_sums_B / lengths)[scored])
        factor = 1 - beta * ranks / len(scored)
        rewards[scored] = np.where(rewards[scored] > 0, rewards[scored] * factor, rewards[scored])
        return rewards

    return shape


def average_ranks(values: np.ndarray) -> np.ndarray:
    """0-based ascending ranks, ties sharing their mean rank."""
    below = (values[:, None] > values[None, :]).sum(1)
    tied = (values[:, None] == values[None, :]).sum(1)
    return below + (tied - 1) / 2


def darling(
    combine: Literal["multiply", "add"] = "multiply",
    floor: float = 0.0,
    negative: Literal["shift", "raise"] = "shift",
    source: Literal["clusters", "diversity"] = "clusters",
) -> Shape:
    """Fuse quality and diversity (DARLING, arXiv 2509.02534): r' = r D, or r + D.

    Args:
        combine: multiply (as published) or add (its ablation).
        floor: least diversity; the authors' code uses 0.1, their formula none.
        negative: what to do with negative quality, whose product would punish diversity: shift the group by its
            minimum, once a rollout, or raise.
        source: cluster labels (union-find of pairs) or the judge's own diversity values.

    A rollout without a label or a diversity value has D = 1: the judge failed, and nobody is paid for that.
    """
    from ...judges.partition.rewards import cluster_sizes, darling_diversity

    def shape(group: RolloutBatch) -> np.ndarray:
        scored = np.flatnonzero(group.scored_B)
        diversity = np.ones(len(group))
        if source == "diversity":
            if group.diversity_B is None:
                raise ValueError("darling.source = 'diversity' needs RolloutBatch.diversity_B from a judge server")
            diversity = np.where(np.isfinite(group.diversity_B), np.maximum(group.diversity_B, floor), 1.0)
        else:
            if group.clusters_B is None:
                raise ValueError("darling needs RolloutBatch.clusters_B: a judge's partition or environment labels")
            labels = group.clusters_B[scored]
            if not (labels < 0).any():
                diversity[scored] = darling_diversity(cluster_sizes(labels.tolist()), floor)
        quality = group.rewards_B
        lowest = quality[scored].min(initial=0.0)
        if lowest < 0 and combine == "multiply":
            if negative == "raise":
                raise ValueError(f"darling needs rewards >= 0, found {lowest:g}; use darling.negative = 'shift'")
            quality = quality - lowest
        return quality * diversity if combine == "multiply" else quality + diversity

    return shape


def rlpr_reward(
    with_reasoning: np.ndarray, without: np.ndarray, format_ok: bool = True, format_weight: float = 0.1
) -> float:
    """RLPR's reward (arXiv 2506.18254): how much likelier the reference answer's tokens became, and the format.

    Args:
        with_reasoning: probabilities of the reference tokens after the sampled reasoning; empty = no answer span.
        without: the same without any reasoning.
        format_ok: the answer tags were there.
        format_weight: share of the format in the reward.

    Returns:
        The reward; nan if a probability is nan (the probe failed).
    """
    if np.isnan(with_reasoning).any() or np.isnan(without).any():
        return float("nan")
    gain = 0.0
    if len(with_reasoning):
        gain = max(0.0, float(np.mean(with_reasoning)) - (float(np.mean(without)) if len(without) else 0.0))
    return (1 - format_weight) * gain + format_weight * float(format_ok)


def rlpr(format_weight: float = 0.1) -> Shape:
    """Replace rewards by RLPR's; a rollout without an answer span gets 0, one that was not probed stays unscored."""

    def shape(group: RolloutBatch) -> np.ndarray:
        if not group.answer_probs:
            raise ValueError("rlpr needs RolloutBatch.answer_probs; the loop fills it by probes.answer_probs")
        return np.array(
            [
                0.0 if probs is None else rlpr_reward(probs[0], probs[1], True, format_weight)
                for probs in group.answer_probs
            ]
        )

    return shape
