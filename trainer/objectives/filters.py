"""Filters and gates: which rollouts train. Pure numpy; state lives in a JSON-able dict the loop keeps in checkpoints.

A filter removes rollouts from the loss and from its normaliser; a gate sets advantages to 0 and keeps them counted.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...schema import StopReason
from .types import Filter, Gate, RolloutBatch


def drop_constant_groups(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
    """DAPO's dynamic sampling: keep groups whose *unshaped* rewards are not all equal (arXiv 2503.14476).

    Shaped rewards would not do: a length penalty makes every group "not constant".
    """
    keep_B = np.zeros(len(batch), bool)
    for index in batch.groups():
        rewards = batch.accuracy_B[index]
        rewards = rewards[np.isfinite(rewards)]
        keep_B[index] = len(rewards) > 1 and np.ptp(rewards) > 1e-12
    state["kept"] = state.get("kept", 0) + int(keep_B.sum())
    state["seen"] = state.get("seen", 0) + len(batch)
    return keep_B


def drop_overlong(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
    """DAPO's overlong filter: leave out responses that were cut at the length limit."""
    if batch.rollouts:
        return np.array([rollout.stop_reason is not StopReason.LENGTH for rollout in batch.rollouts])
    if batch.lengths_B is None or batch.max_length is None:
        raise ValueError("overlong_filter needs RolloutBatch.rollouts, or lengths_B and max_length")
    return batch.lengths_B < batch.max_length


def keep_sign(sign: Literal["positive", "negative"]) -> Filter:
    """Keep rollouts with advantages of one sign (PSR drops the wrong ones, NSR the correct ones)."""

    def keep(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        return advantages_B > 0 if sign == "positive" else advantages_B < 0

    return keep


def ema_std_filter(beta: float, ratio: float = 0.99, collect_from: int = 6, filter_from: int = 11) -> Filter:
    """RLPR's filter: drop groups whose reward std is under beta times a running mean of stds (arXiv 2506.18254).

    The running mean starts as the mean over the collected steps before filtering. Steps count from 1. Groups with
    fewer than two scored rollouts have no std: they are dropped and not averaged.
    """
    if not 0 < ratio < 1 or beta < 0 or not 1 <= collect_from < filter_from:
        raise ValueError(
            f"ema_std_filter(beta={beta}, ratio={ratio}, collect_from={collect_from}, filter_from={filter_from}): "
            "use beta >= 0, 0 < ratio < 1 and 1 <= collect_from < filter_from"
        )

    def keep(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        step = state["step"] = state.get("step", 0) + 1
        stds = []
        for index in batch.groups():
            rewards = batch.rewards_B[index][batch.scored_B[index]]
            stds.append(float(np.std(rewards, ddof=1)) if len(rewards) > 1 else float("nan"))
        finite = [std for std in stds if np.isfinite(std)]
        keep_B = np.ones(len(batch), bool)
        if step >= filter_from and state.get("ema") is not None:
            for index, std in zip(batch.groups(), stds, strict=True):
                keep_B[index] = bool(np.isfinite(std) and std >= beta * state["ema"])
        if finite and step >= collect_from:
            mean = float(np.mean(finite))
            if step < filter_from:
                state.setdefault("collected", []).append(mean)
                state["ema"] = float(np.mean(state["collected"]))
            else:
                state["ema"] = ema_update(state.get("ema"), mean, ratio)
        return keep_B

    return keep


def ema_update(ema: float | None, value: float, ratio: float) -> float:
    """ratio * ema + (1 - ratio) * value, starting at the first value."""
    return value if ema is None else ratio * ema + (1 - ratio) * value


def batch_entropy(batch: RolloutBatch) -> float | None:
    """Mean over rollouts of each one's mean token entropy (nats); None when nothing was measured."""
    if batch.entropies_B is None:
        raise ValueError("this gate needs RolloutBatch.entropies_B, the learner's exact entropies")
    finite = batch.entropies_B[np.isfinite(batch.entropies_B)]
    return float(finite.mean()) if len(finite) else None


def aepo_gate(low: float, high: float) -> Gate:
    """Switch negative advantages off above `high` batch entropy and on again below `low` (QwenLong-L1.5 AEPO).

    Inside the band the switch stays as it is. A gated batch without positives would be an empty update from which the
    entropy could never fall, so it passes whole and the switch is turned back on.

    Raises:
        ValueError: if low >= high.
    """
    if not low < high:
        raise ValueError(f"aepo thresholds are out of order: h_low {low} must be below h_high {high}")

    def gate(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        keep_negatives = state.get("keep_negatives", True)
        entropy = batch_entropy(batch)
        if entropy is not None:
            keep_negatives = False if entropy > high else True if entropy < low else keep_negatives
        if not keep_negatives and not (advantages_B > 0).any():
            keep_negatives = True
        state.update(keep_negatives=keep_negatives, entropy=entropy)
        return advantages_B if keep_negatives else np.where(advantages_B < 0, 0.0, advantages_B)

    return gate


def clip_negative_sequences(tau: float) -> Gate:
    """Switch off negative advantages of rollouts whose mean entropy exceeds tau (the static sequence form)."""

    def gate(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        if batch.entropies_B is None:
            raise ValueError("tau_seq needs RolloutBatch.entropies_B, the learner's exact entropies")
        return np.where((advantages_B < 0) & (batch.entropies_B > tau), 0.0, advantages_B)

    return gate


def best_of_group(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
    """Keep the best scored rollout of each group; ties are broken by rollout id, not by position."""
    keep_B = np.zeros(len(batch), bool)
    for index in batch.groups():
        scored = index[batch.scored_B[index]]
        if len(scored):
            best = batch.rewards_B[scored].max()
            winners = [i for i in scored if batch.rewards_B[i] == best]
            keep_B[min(winners, key=lambda i: batch.ids[i])] = True
    return keep_B


def keep_correct(threshold: float = 1.0) -> Filter:
    """Keep rollouts whose unshaped reward reaches a threshold."""

    def keep(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        return np.nan_to_num(batch.accuracy_B, nan=-np.inf) >= threshold

    return keep


def keep_rate(p: float, group_size: int) -> float:
    """Expected share of groups dynamic sampling keeps when each rollout is right with probability p."""
    return 1 - p**group_size - (1 - p) ** group_size
