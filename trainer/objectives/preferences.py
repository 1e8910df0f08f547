"""Supervised use of rewards: pairs, control texts, quantiles. Pure numpy; which rollouts a supervised loss sees."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .prompts import prefixed
from .teachers import prompt_messages
from .types import Filter, RolloutBatch, TeacherContext


def ones(batch: RolloutBatch) -> np.ndarray:
    """Advantage 1 for every scored rollout: with the score-function loss this is supervised learning."""
    return np.where(batch.scored_B, 1.0, 0.0)


def best_of_n_kl(n: int) -> float:
    """Upper bound log n - (n-1)/n on KL(best-of-n || base), in nats."""
    if n < 1:
        raise ValueError(f"best_of_n needs n >= 1, got {n}")
    return math.log(n) - (n - 1) / n


def best_of_n_law(base: np.ndarray, rewards: np.ndarray, n: int) -> np.ndarray:
    """Distribution of the best of n draws, with equal rewards sharing by their base probability.

    Args:
        base: probabilities [V]; rewards: reward of each outcome [V]; n: draws.
    """
    law = np.zeros_like(base, dtype=float)
    below = 0.0
    for reward in np.unique(rewards):
        tied = rewards == reward
        mass = base[tied].sum()
        if mass > 0:
            law[tied] = ((below + mass) ** n - below**n) * base[tied] / mass
        below += mass
    return law


def preference_pairs(batch: RolloutBatch, flip: float = 0.0, seed: int = 0) -> list[tuple[int, int]]:
    """(winner, loser) of neighbouring scored rollouts of each group, after sorting the group by a hash of its ids.

    Equal rewards make no pair. With probability `flip` the label is turned, decided by a hash of the two ids and the
    seed, so the result does not depend on the order of the batch.
    """
    if not 0 <= flip < 0.5:
        raise ValueError(f"flip {flip} must be in [0, 0.5); from 0.5 on the labels say the opposite")
    pairs = []
    for index in batch.groups():
        scored = sorted(index[batch.scored_B[index]], key=lambda i: _hash(batch.ids[i], seed))
        for a, b in zip(scored[::2], scored[1::2], strict=False):
            if batch.rewards_B[a] == batch.rewards_B[b]:
                continue
            win, lose = (a, b) if batch.rewards_B[a] > batch.rewards_B[b] else (b, a)
            turned = _hash(batch.ids[win] + "|" + batch.ids[lose], seed) < flip
            pairs.append((int(lose), int(win)) if turned else (int(win), int(lose)))
    return pairs


def _hash(text: str, seed: int) -> float:
    """A number in [0, 1) from a text."""
    return int.from_bytes(hashlib.sha256(f"{seed}|{text}".encode()).digest()[:8], "big") / 2**64


def keep_winners(flip: float = 0.0, seed: int = 0) -> Filter:
    """Keep the preferred rollout of each pair (Binary FeedME)."""

    def keep(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
        keep_B = np.zeros(len(batch), bool)
        keep_B[[win for win, _ in preference_pairs(batch, flip, seed)]] = True
        return keep_B

    return keep


def winner_law(base: np.ndarray, rewards: np.ndarray, flip: float = 0.0) -> np.ndarray:
    """Distribution of the preferred one of two independent draws; ties are broken by a coin."""
    better = rewards[:, None] > rewards[None, :]
    tied = rewards[:, None] == rewards[None, :]
    win = better * (1 - flip) + better.T * flip + tied * 0.5
    return 2 * base * (win @ base)


def quantiles(rewards: np.ndarray, k: int) -> np.ndarray:
    """Quantile 0 (best) .. k-1 (worst) of each reward; what does not divide goes to the worst. nan gets -1.

    Equal rewards are split in the order given, which says nothing about them; the caller orders by id.
    """
    if k < 1:
        raise ValueError(f"quantiles must be at least 1, got {k}")
    labels = np.full(len(rewards), -1)
    scored = np.flatnonzero(np.isfinite(rewards))
    order = scored[np.argsort(-rewards[scored], kind="stable")]
    size = max(len(order) // k, 1)
    labels[order] = np.minimum(np.arange(len(order)) // size, k - 1)
    return labels


def batch_quantiles(batch: RolloutBatch, k: int) -> np.ndarray:
    """Quantiles over a batch, ties broken by rollout id."""
    order = np.argsort(np.array(batch.ids))
    labels = np.empty(len(batch), int)
    labels[order] = quantiles(batch.rewards_B[order], k)
    return labels


def keep_best_quantile(k: int) -> Filter:
    """Keep the best of k quantiles of the batch (Quark's default form)."""
    return lambda batch, advantages_B, state: batch_quantiles(batch, k) == 0


def keep_scored(batch: RolloutBatch, advantages_B: np.ndarray, state: dict[str, Any]) -> np.ndarray:
    """Keep every rollout that has a reward."""
    return batch.scored_B


def control_contexts(
    label: Callable[[RolloutBatch], np.ndarray], texts: Sequence[str]
) -> Callable[[RolloutBatch], TeacherContext]:
    """Hindsight prompts: each rollout's prompt with the control text of its label in front; label -1 = as sampled.

    The rollout's own prompt may already carry a control text (the good one, after the first iteration): it is
    replaced, not stacked.
    """

    def contexts(batch: RolloutBatch) -> TeacherContext:
        if len(batch.rollouts) != len(batch):
            raise ValueError("control texts need RolloutBatch.rollouts: they rewrite prompts")
        labels = label(batch)
        messages: list[Any] = []
        for rollout, value in zip(batch.rollouts, labels, strict=True):
            plain = without_control(prompt_messages(rollout), texts)
            messages.append(None if value < 0 else prefixed(texts[int(value)])(plain))
        return TeacherContext(tuple(messages))

    return contexts


def without_control(messages: tuple, texts: Sequence[str]) -> tuple:
    """The messages with a leading control text of the last user turn removed."""
    users = [i for i, message in enumerate(messages) if message.role == "user"]
    if not users:
        return messages
    message = messages[users[-1]]
    for text in texts:
        if text and message.text.startswith(text):
            bare = message.model_copy(update={"content": message.text[len(text) :]})
            return (*messages[: users[-1]], bare, *messages[users[-1] + 1 :])
    return messages
